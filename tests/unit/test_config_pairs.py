"""What a block cannot mean of image fusion is one clear sentence: of pairs, gray scales and sets of pictures."""

import copy
import json
from pathlib import Path

import pytest

from diffufuse.errors import BadInput
from diffufuse.study.dataset_values import check_alike, check_dataset
from diffufuse.study.forms import check_form
from diffufuse.study.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
BLOCKS = json.loads(json.dumps(read_yaml(ROOT / "config/datasets.yaml")["datasets"]))
SCHEMA = read_yaml(ROOT / "workflow/schemas/datasets.schema.yaml")
MISSING = object()


def check(place, value):
    """Check all blocks with another value at a place like `phantom/pair/structure`, as a study does."""
    blocks = copy.deepcopy(BLOCKS)
    *steps, last = place.split("/")
    inner = blocks
    for step in steps:
        inner = inner[step]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    check_form(blocks, SCHEMA, where="datasets")
    for name, block in blocks.items():
        check_dataset(name, block)
    check_alike(blocks)


def named_anew(block, **names):
    """A block of pairs, with other names of its modalities."""
    pair = {role: names.get(name, name) for role, name in block["pair"].items()}
    return {**block, "pair": pair, "modalities": {names.get(key, key): one for key, one in block["modalities"].items()}}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (
            "phantom/pair/structure",
            "t11",
            "datasets.phantom.pair.structure: 't11' is not in datasets.phantom.modalities, did",
        ),
        ("phantom/pair", {"structure": "t1"}, "datasets.phantom.pair: 'function' is a required property; add it."),
        ("phantom/pair/function", "t1", "datasets.phantom.pair: expected two modalities, got t1 twice"),
        ("phantom/pair/functoin", "ct", "did you mean 'function'?"),
        (
            "phantom/pair/function",
            "t2fs",
            "pair.function: expected a modality with a gray scale to be fused on, but t2fs",
        ),
        (
            "phantom/modalities/pet/display/white",
            -1,
            "modalities.pet.display: expected white above black, got -1 and 0",
        ),
        ("phantom/modalities/pet/display/white_sd", 4, "expected either of white and white_sd, got both"),
        ("phantom/modalities/pet/display", {"black": 0}, "expected either of white and white_sd, got none"),
        (
            "phantom/modalities/t1/display/white_sd",
            0,
            "datasets.phantom.modalities.t1.display.white_sd: 0 is less than",
        ),
        ("phantom/modalities/pet/kind", "picture", "datasets.phantom.modalities.pet.kind: 'picture' is not one of"),
        ("phantom/modalities/pet/normalization", MISSING, "'normalization' is a required property"),
        ("phantom/reference", MISSING, "datasets.phantom: 'reference' is a required property"),
        ("phantom/prefix", "ph", "datasets.phantom.prefix: expected a key that is read with format dicom, got one"),
        ("gfp_pc/pair", MISSING, "datasets.gfp_pc: 'pair' is a required property"),
        ("gfp_pc/reference", "pc", "datasets.gfp_pc.reference: expected a key that is read with format pairs, got one"),
        ("gfp_pc/labels", {"cell": 1}, "datasets.gfp_pc.labels: expected a key that is read with format pairs"),
        ("gfp_pc/prefix", "A_", "datasets.gfp_pc.prefix: 'A_' does not match"),
        ("gfp_pc/modalities/pc/kind", "mr", "datasets.gfp_pc.modalities.pc.kind: 'mr' is not one of ['picture']"),
        ("gfp_pc/modalities/pc/display", MISSING, "'display' is a required property"),
        ("gfp_pc/modalities/pc/display/white", 255, "pc.display.white: expected 0 to 1, as the gray levels of a"),
        ("gfp_pc/modalities/pc/display/black", -1, "pc.display.black: expected 0 to 1, as the gray levels of a"),
        (
            "gfp_pc/modalities/pc/normalization",
            {"method": "zscore"},
            "modalities.pc.normalization: expected one of kind",
        ),
        ("gfp_pc/modalities/pc/file", ["PC/{case}.tif"], "got another ending than .png or .jpg or .jpeg or .bmp"),
        ("gfp_pc/modalities/pc/file", ["PC/{case}.nii.gz"], "got another ending than .png or .jpg"),
        ("gfp_pc/modalities/pc/file", ["GFP/{case}.jpg"], "expected an image of its own, got that of modalities.pc"),
        (
            "gfp_pc/modalities/pc/file",
            ["A/{case}.jpg", "B/{case}.jpg"],
            "gfp.file: expected a pattern for each of the 2",
        ),
        ("gfp_pc/modalities/third", BLOCKS["gfp_pc"]["modalities"]["pc"], "third: expected the two modalities of"),
        ("brats/modalities/t1/file", ["{case}.png"], "got another ending than .nii or .nii.gz"),
        (
            "phantom/source",
            {"kind": "phantom"},
            "phantom.source: expected patients to be made for the format dicom, got none",
        ),
        ("phantom/source/pairs", 3, "expected patients to be made for the format dicom, got patients and pairs"),
        ("phantom_pairs/source", {"kind": "phantom", "patients": 3}, "expected pairs to be made for the format pairs"),
        ("phantom/format", "pairs", "datasets.phantom"),
        (
            "gfp_pc",
            named_anew(BLOCKS["gfp_pc"], pc="fused"),
            "datasets.gfp_pc.modalities.fused: expected a name that no fused image has, got 'fused'",
        ),
        ("gfp_pc", named_anew(BLOCKS["gfp_pc"], gfp="structure"), "modalities.structure: expected the structure of"),
        ("phantom/regions/image", [1], "datasets.phantom.regions.image: expected a name that no fused image has"),
        ("phantom/regions/fused", [1], "datasets.phantom.regions.fused: expected a name that no fused image has"),
    ],
)
def test_a_block_that_cannot_be_fused_is_refused(place, value, sentence):
    with pytest.raises(BadInput) as refusal:
        check(place, value)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("phantom/pair", MISSING),
        ("phantom/pair", {"structure": "ct", "function": "pet"}),
        ("sts_ibsi/modalities/ct/display", MISSING),
        ("gfp_pc/prefix", "gfp"),
        ("gfp_pc/modalities/pc/file", ["PC/{case}.bmp"]),
    ],
)
def test_a_block_that_can_be_fused_passes(place, value):
    check(place, value)


def test_what_may_not_be_passed_on_comes_from_a_copy_of_the_users_own():
    kept = [block for block in BLOCKS.values() if block["license"].startswith("none")]
    assert len(kept) == 4
    assert all(block["source"]["kind"] == "copy" and not block["shareable"] for block in kept)
