import pytest

from diffufuse.files.atomic import atomic_folder, atomic_path
from diffufuse.files.digests import sha256_of


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    target = tmp_path / "folder"
    with atomic_folder(target) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target) as partial:
        (partial / "b").write_text("half")
        raise RuntimeError
    assert [file.name for file in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / name).write_text(name)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["new"]


def test_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
