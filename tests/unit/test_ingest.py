"""Ingesting one case: what is written, and what a faulty one is answered with."""

import csv
import gzip
from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from diffufuse.errors import BadInput
from diffufuse.fetch.manifest import contents_of, write_manifest
from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record, write_record
from diffufuse.ingest.case import ingest_case
from diffufuse.ingest.formats import FORMATS, nifti
from diffufuse.ingest.ingested import read_ingested
from diffufuse.space.resampling import resample
from diffufuse.space.volumes import read_volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
MODALITIES = ("pet", "ct", "t1")
BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "datasets.yaml").read_text())["datasets"]


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def raw(tmp_path):
    """One sarcoma patient as the source lays files out."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "raw" / "STS_001"
    for name in ("CT", "MR_T1", "PET"):
        save(folder / f"{name}_image.nii.gz", draw.normal(10, 2, (6, 5, 4)).astype(np.float32))
        save(folder / f"{name}_mask.nii.gz", (draw.random((6, 5, 4)) > 0.5).astype(np.uint8))
    return tmp_path / "raw"


def ingest(raw, tmp_path, case="STS-001", *, described=True):
    """Ingest a case; its manifest describes the files as they are now, unless it was written before."""
    manifest = raw.with_name("raw.manifest.tsv")
    if described:
        write_manifest(manifest, contents_of(raw), address="copy")
    written = {"folder": tmp_path / "out" / case, "record": tmp_path / "out" / f"{case}.json"}
    ingest_case(nifti, manifest, case, block=BLOCKS["sts_ibsi"], **written)
    return read_ingested(written["record"], modalities=MODALITIES)


def test_every_image_and_the_mask_on_t1_are_written(raw, tmp_path):
    images, labels = ingest(raw, tmp_path)
    assert list(images) == list(MODALITIES)
    drawn = nib.load(raw / "STS_001" / "MR_T1_mask.nii.gz").get_fdata()
    assert np.array_equal(labels.array, drawn)


def test_a_modality_that_the_case_lacks_is_not_written(raw, tmp_path):
    (raw / "STS_001" / "PET_image.nii.gz").unlink()
    images, _ = ingest(raw, tmp_path)
    assert list(images) == ["ct", "t1"]


def lose_the_reference(folder):
    (folder / "MR_T1_image.nii.gz").unlink()


def lose_the_mask(folder):
    (folder / "MR_T1_mask.nii.gz").unlink()


def move_the_mask(folder):
    shifted = AFFINE.copy()
    shifted[0, 3] = 4
    save(folder / "MR_T1_mask.nii.gz", np.ones((6, 5, 4), np.uint8), shifted)


def crop_the_mask(folder):
    save(folder / "MR_T1_mask.nii.gz", np.ones((5, 5, 4), np.uint8))


def label_with_seven(folder):
    save(folder / "MR_T1_mask.nii.gz", np.full((6, 5, 4), 7, np.uint8))


def plant_a_nan(folder):
    save(folder / "CT_image.nii.gz", np.full((6, 5, 4), np.nan, np.float32))


def cut_the_file(folder):
    path = folder / "CT_image.nii.gz"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            lose_the_reference,
            r"case STS-001: expected an image of the reference modality t1, but there is none; add it",
        ),
        (lose_the_mask, r"case STS-001: expected labels at .*MR_T1_mask\.nii\.gz, but found none"),
        (move_the_mask, r"MR_T1_mask\.nii\.gz: expected labels on the grid of t1"),
        (crop_the_mask, r"got \(5, 5, 4\) or another place"),
        (label_with_seven, r"expected the label values 0, 1, got also 7"),
        (plant_a_nan, r"CT_image\.nii\.gz: expected finite values, but 120 voxels are NaN"),
        (cut_the_file, r"CT_image\.nii\.gz: expected a whole NIfTI file"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_faulty_case_is_answered_in_one_sentence(raw, tmp_path, fault, told):
    fault(raw / "STS_001")
    with pytest.raises(BadInput, match=told):
        ingest(raw, tmp_path)


def test_a_case_that_is_not_there_is_told_with_what_to_do(raw, tmp_path):
    with pytest.raises(BadInput, match=r"expected the case STS-999, .* correct the cohort sheet"):
        ingest(raw, tmp_path, case="STS-999")


def test_the_record_beside_the_folder_follows_from_content_alone(raw, tmp_path):
    ingest(raw, tmp_path)
    path = tmp_path / "out" / "STS-001.json"
    record, before = read_record(path), path.read_bytes()
    assert record["case"] == "STS-001"
    assert record["files"] == {file.name: sha256_of(file) for file in (tmp_path / "out" / "STS-001").iterdir()}
    path.unlink()
    ingest(raw, tmp_path)
    assert path.read_bytes() == before
    save(raw / "STS_001" / "CT_image.nii.gz", np.full((6, 5, 4), 7, np.float32))
    ingest(raw, tmp_path)
    changed = {name for name, digest in read_record(path)["files"].items() if digest != record["files"][name]}
    assert "STS-001_ct.nii.gz" in changed
    assert "STS-001_t1.nii.gz" not in changed


def test_a_file_that_is_gone_since_it_was_ingested_is_told(raw, tmp_path):
    ingest(raw, tmp_path)
    (tmp_path / "out" / "STS-001" / "STS-001_ct.nii.gz").unlink()
    with pytest.raises(BadInput, match=r"STS-001_ct\.nii\.gz: expected the file as it was written, but it is gone"):
        read_ingested(tmp_path / "out" / "STS-001.json", modalities=MODALITIES)


def test_a_file_that_is_changed_since_it_was_ingested_is_told(raw, tmp_path):
    ingest(raw, tmp_path)
    path = tmp_path / "out" / "STS-001" / "STS-001_ct.nii.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BadInput, match=r"STS-001_ct\.nii\.gz: expected the file as it was written, but it is changed"):
        read_ingested(tmp_path / "out" / "STS-001.json", modalities=MODALITIES)


def test_a_record_of_something_else_is_told(tmp_path):
    write_record({"case": 1}, tmp_path / "STS-001.json")
    with pytest.raises(BadInput, match="expected the record of an ingested case"):
        read_ingested(tmp_path / "STS-001.json", modalities=MODALITIES)


def test_what_was_chosen_is_written_down(raw, tmp_path):
    (raw / "STS_001" / "PET_image.nii.gz").unlink()
    ingest(raw, tmp_path)
    with (tmp_path / "out" / "STS-001" / "STS-001_choice.tsv").open(newline="") as file:
        rows = {row["modality"]: row["file"] for row in csv.DictReader(file, delimiter="\t")}
    assert rows == {"pet": "", "ct": "CT_image.nii.gz", "t1": "MR_T1_image.nii.gz"}


def test_a_file_that_changed_since_it_was_fetched_is_refused(raw, tmp_path):
    ingest(raw, tmp_path)
    path = raw / "STS_001" / "CT_image.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b" ", mtime=0))
    with pytest.raises(BadInput, match=r"1 changed \(STS_001/CT_image\.nii\.gz\)"):
        ingest(raw, tmp_path, described=False)


def test_a_file_that_is_gone_is_told(raw, tmp_path):
    ingest(raw, tmp_path)
    (raw / "STS_001" / "CT_image.nii.gz").unlink()
    with pytest.raises(BadInput, match=r"1 missing \(STS_001/CT_image\.nii\.gz\)"):
        ingest(raw, tmp_path, described=False)


def test_a_file_of_another_case_that_is_gone_stops_only_that_case(tmp_path):
    block = {
        "reference": "ct",
        "modalities": {"ct": {"kind": "ct", "file": ["imagesTr/{case}.nii.gz"]}},
        "annotation": {"file": ["labelsTr/{case}.nii.gz"], "values": {1: "liver"}},
        "labels": {"liver": 1},
    }
    raw = tmp_path / "raw"
    for case in ("liver_1", "liver_2"):
        save(raw / "imagesTr" / f"{case}.nii.gz", np.arange(120, dtype=np.float32).reshape(6, 5, 4))
        save(raw / "labelsTr" / f"{case}.nii.gz", np.ones((6, 5, 4), np.uint8))
    write_manifest(tmp_path / "raw.manifest.tsv", contents_of(raw), address="copy")
    (raw / "labelsTr" / "liver_2.nii.gz").unlink()
    for case, stops in {"liver-1": False, "liver-2": True}.items():
        written = {"folder": tmp_path / case, "record": tmp_path / f"{case}.json"}
        with pytest.raises(BadInput, match="case liver-2: expected labels") if stops else nullcontext():
            ingest_case(nifti, tmp_path / "raw.manifest.tsv", case, block=block, **written)
        assert all(path.exists() != stops for path in written.values())


def test_a_file_that_was_never_fetched_is_refused(raw, tmp_path):
    (raw / "STS_001" / "PET_image.nii.gz").rename(tmp_path / "kept")
    ingest(raw, tmp_path)
    (tmp_path / "kept").rename(raw / "STS_001" / "PET_image.nii.gz")
    with pytest.raises(BadInput, match=r"1 extra \(STS_001/PET_image\.nii\.gz\)"):
        ingest(raw, tmp_path, described=False)


@pytest.mark.real
def test_the_27_patients_are_found_with_all_three_modalities(shared_data):
    raw, block = shared_data / "sts_ibsi" / "nifti", BLOCKS["sts_ibsi"]
    cases = nifti.list_cases(raw, block).names
    assert len(cases) == 27
    assert all(case.startswith("STS-") for case in cases)
    opened = nifti.open_case(raw, "STS-002", block)
    image, facts = opened.read_image("ct")
    labels, _ = opened.read_labels(opened.read_image("t1")[0])
    assert image.array.min() >= -1024
    assert facts == {}
    assert labels.array.sum() == 17090


@pytest.mark.real
def test_the_raw_patient_is_read_by_the_rules_of_its_block(shared_data):
    """SUV as published, both regions, T2FS told from STIR; the CT that this folder lacks is absent."""
    raw, block = shared_data / "sts_raw", BLOCKS["sts"]
    opened = FORMATS["dicom"].open_case(raw, "STS-001", block)
    pet, facts = opened.read_image("pet")
    assert np.isfinite(pet.array).all()
    assert facts["units"] == "BQML"
    assert opened.read_image("ct") is None
    assert opened.read_image("t2fs")[1]["sequence"] == "t2fs"
    labels, found = opened.read_labels(opened.read_image("t1")[0])
    assert set(np.unique(labels.array)) == {0, 1, 2}
    for region in ("mass", "edema"):
        assert found[region]["mask_ml"] == pytest.approx(found[region]["drawn_ml"], rel=0.001)


@pytest.mark.real
def test_the_publisher_aligned_t1_to_ct_in_all_patients_but_one(shared_data):
    raw = shared_data / "sts_ibsi" / "nifti"
    apart = {}
    for folder in sorted(raw.iterdir()):
        ct, t1 = (read_volume(folder / f"{name}_mask.nii.gz") for name in ("CT", "MR_T1"))
        moved, reference = resample(ct, t1, interpolation="nearest")[0] > 0.5, t1.array > 0
        apart[folder.name] = 2 * np.count_nonzero(moved & reference) / (moved.sum() + reference.sum())
    assert [name for name, dice in apart.items() if dice < 0.98] == ["STS_019"]
