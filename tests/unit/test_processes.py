import pytest

from diffufuse import processes
from diffufuse.errors import BadInput


def test_a_training_has_one_process_unless_the_machine_is_said_to_have_more(monkeypatch):
    for text, number in {"": 1, "1": 1, "4": 4}.items():
        monkeypatch.setenv("DIFFUFUSE_PROCESSES", text)
        assert processes.asked() == number
    monkeypatch.delenv("DIFFUFUSE_PROCESSES")
    assert processes.asked() == 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_another_number_is_refused_with_the_name_of_its_variable(monkeypatch, text):
    monkeypatch.setenv("DIFFUFUSE_PROCESSES", text)
    with pytest.raises(BadInput, match="DIFFUFUSE_PROCESSES: expected how many processes"):
        processes.asked()


def test_the_process_that_was_started_first_speaks_for_all(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")  # another program's
    monkeypatch.delenv("DIFFUFUSE_PROCESSES", raising=False)
    assert processes.is_first()
    monkeypatch.setenv("DIFFUFUSE_PROCESSES", "2")
    assert not processes.is_first()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert processes.is_first()
