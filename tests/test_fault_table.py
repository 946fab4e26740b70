"""The table of faults: every bad input is refused in one sentence, or read right; nothing in between."""

from importlib import import_module

import pytest

from diffufuse.errors import BadInput

FAMILIES = (
    *("geometry", "headers", "completeness", "choice", "belonging", "suv", "structures", "contours", "segments"),
    *("nifti", "nifti_headers", "records", "fetching", "folders", "sheets"),
    *("store", "registration", "preparing", "pairs"),
)
FAULTS = [fault for family in FAMILIES for fault in import_module(f"faults.{family}").FAULTS]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
def test_a_fault_is_refused_in_one_sentence_or_read_right(fault, tmp_path):
    fault.make(tmp_path)
    if fault.refused is None:
        assert fault.right(fault.read(tmp_path))
        return
    with pytest.raises(BadInput, match=fault.refused) as refusal:
        fault.read(tmp_path)
    assert "\n" not in str(refusal.value)
