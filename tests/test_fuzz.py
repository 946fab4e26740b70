"""Damaged files are refused in one sentence, read the same, or differ in bytes that nothing protects."""

import pytest
from fuzz import CHANGED, TRACEBACK, outcomes, targets

TRIES = 200


@pytest.mark.parametrize("target", [pytest.param(target, id=target.name) for target in targets()])
def test_a_damaged_file_gives_no_traceback_and_no_unsaid_change(target, tmp_path):
    wrong = [
        f"{damage}: {outcome}"
        for damage, outcome in outcomes(target, tmp_path, tries=TRIES)
        if outcome.startswith((CHANGED, TRACEBACK))
    ]
    assert not wrong, "\n".join(wrong[:10])
