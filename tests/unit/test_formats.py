"""Formats: files found by their patterns, read as the datasets' blocks say; on real patients where they are at hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from diffufuse.errors import BadInput
from diffufuse.ingest.formats import FORMATS, nifti

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "datasets.yaml").read_text())["datasets"]


def block_of(*patterns, labels="{case}_seg.nii.gz"):
    return {
        "reference": "t1",
        "modalities": {"t1": {"kind": "mr", "file": list(patterns)}},
        "annotation": {"file": [labels], "values": {1: "mass"}},
        "labels": {"mass": 1},
    }


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


@pytest.mark.parametrize(
    ("patterns", "files", "cases"),
    [
        (["{case}/{case}-t1n.nii.gz"], ["A_1/A_1-t1n.nii.gz", "A_2/B-t1n.nii.gz", "A_2/A_2-t1c.nii.gz"], ["A-1"]),
        (["imagesTr/{case}.nii.gz"], ["imagesTr/BRATS_002.nii.gz", "imagesTr/._BRATS_001.nii.gz"], ["BRATS-002"]),
        (["*/volume-{case}.nii", "volume-{case}.nii"], ["Batch 1/volume-0.nii", "volume-10.nii"], ["0", "10"]),
        (["img/img{case}.nii.gz"], ["img/img0001.nii.gz", "label/label0001.nii.gz"], ["0001"]),
    ],
)
def test_cases_are_found_by_the_patterns_of_their_files(tmp_path, patterns, files, cases):
    touch(tmp_path, *files)
    assert nifti.list_cases(tmp_path, block_of(*patterns)).names == cases


def test_the_first_pattern_that_has_a_file_is_taken(tmp_path):
    touch(tmp_path, "A_1/A_1_t1.nii.gz", "A_1/A_1-t1n.nii.gz")
    opened = nifti.open_case(tmp_path, "A-1", block_of("{case}/{case}-t1n.nii.gz", "{case}/{case}_t1.nii.gz"))
    assert [path.name for path in opened.files] == ["A_1-t1n.nii.gz"]


def test_two_files_of_one_pattern_are_refused(tmp_path):
    touch(tmp_path, "one/volume-0.nii", "two/volume-0.nii")
    with pytest.raises(BadInput, match=r"expected one file like \*/volume-\{case\}\.nii, got one/.*, two/"):
        nifti.open_case(tmp_path, "0", block_of("*/volume-{case}.nii"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_case_that_is_not_there_is_told_with_what_to_do(tmp_path, format):
    with pytest.raises(BadInput, match=r"expected the case STS-999, .* correct the cohort sheet"):
        FORMATS[format].open_case(tmp_path, "STS-999", block_of("{case}.nii.gz"))


def test_a_channel_of_a_4d_file_is_read_alone(tmp_path):
    array = np.stack([np.full((3, 4, 5), value, np.int16) for value in (7, 8, 9)], axis=-1)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "A.nii.gz")
    block = block_of("{case}.nii.gz")
    block["modalities"]["t1"]["channel"] = 1
    assert np.unique(nifti.open_case(tmp_path, "A", block).read_image("t1")[0].array) == [8]
    block["modalities"]["t1"]["channel"] = 3
    with pytest.raises(BadInput, match="the file has 3"):
        nifti.open_case(tmp_path, "A", block).read_image("t1")


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "folder", "case", "numbers"),
    [
        ("brats", "brats", "BraTS-GLI-00000-000", {"ncr": 1, "edema": 2, "et": 3}),
        ("msd_brats", "brats/MSD_Task01", "BRATS-001", {"ncr": 2, "edema": 1, "et": 3}),
        ("sts_ibsi", "sts_ibsi/nifti", "STS-002", {"mass": 1}),
    ],
)
def test_every_nifti_dataset_with_a_real_patient_is_read(shared_data, dataset, folder, case, numbers):
    raw, block = shared_data / folder, BLOCKS[dataset]
    assert case in nifti.list_cases(raw, block).names
    opened = nifti.open_case(raw, case, block)
    images = {name: opened.read_image(name)[0] for name in block["modalities"]}
    assert len({image.array.tobytes() for image in images.values()}) == len(images)
    labels, _ = opened.read_labels(images[block["reference"]])
    stored = np.asanyarray(nib.load(opened.annotation).dataobj)
    for name, number in numbers.items():
        assert np.count_nonzero(labels.array == block["labels"][name]) == np.count_nonzero(stored == number) > 0
