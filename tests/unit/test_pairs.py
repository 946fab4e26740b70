"""Sets of picture pairs: made up and published, prepared by the way of a study."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.ndimage import sobel
from study_jobs import job

from diffufuse.errors import BadInput
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import contents_of, write_manifest
from diffufuse.files.records import write_record
from diffufuse.ingest.formats import pairs
from diffufuse.phantom.pairs import BACKGROUND_HEAT, HOT_HEAT, SIDE, write_phantom_pairs
from diffufuse.pixels.color import recombined
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.orientation import as_picture
from diffufuse.prepare.near_duplicates import SAME_BOTH, repeated, thumbnail
from diffufuse.prepare.pairs import prepare_pairs
from diffufuse.store.case import read_all_prepared
from diffufuse.study.cohorts import Case, Cohort, read_cohort
from diffufuse.study.study import Study

ROOT = Path(__file__).parents[2]
BLOCKS = yaml.safe_load((ROOT / "config/datasets.yaml").read_text())["datasets"]
SETS = [name for name, block in BLOCKS.items() if block["format"] == "pairs"]


def parts_of(dataset):
    cohort = read_cohort(ROOT / f"config/cohorts/{dataset}.tsv")
    return {case.name: (case.fold, case.validates) for case in cohort.cases}


def prepared(dataset, folder, mirror=None, parts=None):
    """Fetch and prepare a set as the rules do; returns its cases and its record."""
    manifest, block = folder / f"{dataset}.manifest.tsv", BLOCKS[dataset]
    fetch_dataset(block["source"], manifest, mirror=mirror, study_seed=1)
    out = folder / "prepared"
    parts = parts or parts_of(dataset)
    prepare_pairs(manifest, block=block, parts=parts, folder=out / "pairs", record=out / "pairs.json")
    return read_all_prepared([out / "pairs.json"]), json.loads((out / "pairs.json").read_text())


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    return *prepared("phantom_pairs", folder), folder


def test_a_set_is_stored_as_cases_of_one_slice(phantom):
    cases, record, folder = phantom
    assert list(cases) == list(parts_of("phantom_pairs"))
    for name, case in cases.items():
        assert case.slices.stored == ("structure", "uptake", "uptake_cb", "uptake_cr")
        assert case.slices.shape == (SIDE, SIDE, 1)
        assert case.slices.presence(0).all()
        assert case.slices.body(0).all()
        assert not case.slices.labels(0).any()
        assert np.array_equal(case.affine, np.eye(4))
        structure = read_picture(folder / f"phantom_pairs/structure/{name}.png")
        assert np.abs(as_picture(case.slices.images(0)[0]) - structure).max() < 2e-5
        assert case.statistics["structure"]["mean"] == pytest.approx(structure.mean())
        assert record["pairs"][name]["files"]["uptake"] == f"uptake/{name}.png"


def test_stored_luma_and_chroma_are_the_picture_of_the_uptake(phantom):
    cases, _, folder = phantom
    for name, case in cases.items():
        stored = case.selected(["uptake", "uptake_cb", "uptake_cr"]).slices.images(0)
        rgb = recombined(*map(as_picture, stored))
        assert np.array_equal(np.rint(rgb * 255) / 255, read_picture(folder / f"phantom_pairs/uptake/{name}.png"))


def test_a_damaged_store_of_a_set_is_told(phantom, tmp_path):
    _, record, folder = phantom
    (tmp_path / "pairs").mkdir()
    content = (folder / "prepared/pairs/PP-001_slices.b2nd").read_bytes()
    (tmp_path / "pairs/PP-001_slices.b2nd").write_bytes(content[:-9] + b"123456789")
    write_record({"pairs": {"PP-001": record["pairs"]["PP-001"]}}, tmp_path / "pairs.json")
    with pytest.raises(BadInput, match=r"PP-001_slices\.b2nd: .* missing or damaged"):
        read_all_prepared([tmp_path / "pairs.json"])
    write_record({"pairs": {"PP-001": 3}}, tmp_path / "pairs.json")
    with pytest.raises(BadInput, match="record of a set of pairs"):
        read_all_prepared([tmp_path / "pairs.json"])


def test_the_edges_of_a_phantom_pair_are_where_its_truth_says(tmp_path):
    write_phantom_pairs(tmp_path / "raw", tmp_path / "truth", pairs=3, study_seed=1)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    for truth in sorted((tmp_path / "truth").iterdir()):
        drawing = json.loads(truth.read_text())
        structure, uptake = (
            read_picture(tmp_path / "raw" / kind / f"{truth.stem}.png") for kind in ("structure", "uptake")
        )
        row, column, radius = drawing["hot"]
        distance = np.hypot(rows - row, columns - column)
        heat = uptake.sum(axis=-1) / 3
        assert heat[distance < radius - 1] == pytest.approx(HOT_HEAT, abs=0.01)
        assert heat[(distance > radius + 1) & (distance < radius + 2)] == pytest.approx(BACKGROUND_HEAT, abs=0.01)
        ring = np.abs(distance - radius) < 0.7
        slope = np.hypot(sobel(heat, 0), sobel(heat, 1))
        assert slope[ring].min() > 10 * slope[(distance < radius - 2)].max()
        ventricle_row, ventricle_column, ventricle = drawing["ventricles"][0]
        within = np.hypot(rows - ventricle_row, columns - ventricle_column) < ventricle - 1
        assert structure[within].mean() == pytest.approx(0.15, abs=0.01)


def test_a_phantom_pair_does_not_depend_on_how_many_there_are(tmp_path):
    for count in (1, 3):
        write_phantom_pairs(tmp_path / f"{count}", tmp_path / "truth", pairs=count, study_seed=1)
    assert (tmp_path / "1/uptake/PP-001.png").read_bytes() == (tmp_path / "3/uptake/PP-001.png").read_bytes()
    write_phantom_pairs(tmp_path / "other", tmp_path / "truth", pairs=1, study_seed=2)
    assert (tmp_path / "1/uptake/PP-001.png").read_bytes() != (tmp_path / "other/uptake/PP-001.png").read_bytes()


def test_excluded_pairs_are_left_out(tmp_path):
    parts = {name: part for name, part in parts_of("phantom_pairs").items() if name != "PP-003"}
    cases, record = prepared("phantom_pairs", tmp_path, parts=parts)
    assert list(cases) == list(parts)
    assert "PP-003" not in record["pairs"]


@pytest.mark.parametrize("dataset", SETS)
def test_a_prefix_is_part_of_a_name_from_the_first_listing_on(dataset):
    block = BLOCKS[dataset]
    path = block["modalities"][block["pair"]["function"]]["file"][-1].replace("{case}", "25_018")
    expected = f"{block['prefix']}-25-018" if "prefix" in block else "25-018"
    assert pairs.case_of_image(path, block) == expected
    assert pairs.case_of_image("notes.txt", block) is None


def test_repeated_pairs_are_found_in_a_large_set_too():
    generator = np.random.default_rng(0)
    thumbnails = [thumbnail(generator.random((8, 8))) for _ in range(1100)]
    functions = [thumbnail(generator.random((8, 8))) for _ in range(1100)]
    thumbnails[1090], functions[1090] = thumbnails[3], functions[3]
    functions[700] = functions[20]
    assert sorted(repeated(thumbnails, functions)) == [(3, 1090, "both"), (20, 700, "function")]
    assert list(repeated([], [])) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "folder", "count", "color"),
    [
        ("harvard_spect_mri", "harvard/SPECT-MRI", 24, True),
        ("harvard_ct_mri", "harvard/CT-MRI", 24, False),
        ("gfp_pc", "gfp", 119, True),
    ],
)
def test_published_sets_are_prepared(shared_data, tmp_path, dataset, folder, count, color):
    assert BLOCKS[dataset]["source"]["mirror"] == folder
    parts = dict(list(parts_of(dataset).items())[:24])
    assert len(parts_of(dataset)) == count
    cases, _ = prepared(dataset, tmp_path, mirror=str(shared_data), parts=parts)
    function = BLOCKS[dataset]["pair"]["function"]
    assert all((f"{function}_cb" in case.slices.stored) is color for case in cases.values())
    assert all(case.slices.images(0).max() < 1 + 1e-6 for case in cases.values())


@pytest.mark.real
def test_neighboring_slices_of_one_brain_are_not_taken_for_one(shared_data):
    folder, names = shared_data / "harvard/PET-MRI/train", [f"410{number}" for number in range(70, 90)]
    pictures = [
        [read_picture(folder / kind / f"{name}.png") for name in names if (folder / kind / f"{name}.png").exists()]
        for kind in ("MRI", "PET")
    ]
    structures = [thumbnail(picture) for picture in pictures[0]]
    functions = [thumbnail(picture.mean(axis=-1)) for picture in pictures[1]]
    alike = np.minimum(np.stack(structures) @ np.stack(structures).T, np.stack(functions) @ np.stack(functions).T)
    assert 0.98 < np.sort(alike[~np.eye(len(alike), dtype=bool)])[-1] < SAME_BOTH
    assert list(repeated(structures, functions)) == []


@pytest.mark.real
@pytest.mark.parametrize("again", ["as it is", "as JPEG"])
def test_a_published_training_slice_in_the_test_part_is_refused(shared_data, tmp_path, again):
    """By the path of a study: `pet-25016`, with which models are trained, is in test as `pet-99001`."""
    published = shared_data / "harvard/PET-MRI"
    block = copy.deepcopy(BLOCKS["harvard_pet_mri"])
    for kind, modality in (("MRI", "mri"), ("PET", "pet")):
        for place, names in (("train", ["25016", "25017", "41084", "41085"]), ("test", ["25015", "41083"])):
            (tmp_path / "raw" / place / kind).mkdir(parents=True)
            for name in names:
                shutil.copy(published / place / kind / f"{name}.png", tmp_path / "raw" / place / kind)
        block["modalities"][modality]["file"].append(f"test/{kind}/{{case}}.jpg")
    manifest = tmp_path / "raw.manifest.tsv"
    parts = {f"pet-{name}": (None, None) for name in ("25016", "25017", "41084", "41085")}
    parts |= {f"pet-{name}": (0, None) for name in ("25015", "41083")}
    where = {"folder": tmp_path / "pairs", "record": tmp_path / "pairs.json"}
    write_manifest(manifest, contents_of(tmp_path / "raw"), address="copy")
    prepare_pairs(manifest, block=block, parts=parts, **where)
    assert set(read_all_prepared([tmp_path / "pairs.json"])) == set(parts)
    for kind in ("MRI", "PET"):
        ending = "png" if again == "as it is" else "jpg"
        with Image.open(published / "train" / kind / "25016.png") as picture:
            picture.save(tmp_path / "raw/test" / kind / f"99001.{ending}")
    write_manifest(manifest, contents_of(tmp_path / "raw"), address="copy")
    with pytest.raises(BadInput, match="pet-25016 and pet-99001 are the same"):
        prepare_pairs(manifest, block=block, parts={**parts, "pet-99001": (0, None)}, **where)


def test_a_study_prepares_a_set_in_one_job_and_tells_it_what_takes_part():
    sheet = Cohort(
        (Case("A-1", "A-1", 0, None, ""), Case("A-2", "A-2", None, 0, "")), (Case("A-3", "A-3", 0, None, "", "no"),)
    )
    config = {"seed": 1, "study": {"datasets": ["gfp_pc"]}, "datasets": BLOCKS}
    study = Study(config, {"phantom": sheet, "gfp_pc": sheet, "harvard_ct_mri": sheet}, code=None)
    assert study.pair_sets == ["gfp_pc", "harvard_ct_mri"]
    assert study.cases == [("phantom", "A-1"), ("phantom", "A-2")]
    assert study.parameters.parts(job(dataset="gfp_pc")) == {"A-1": [0, None], "A-2": [None, 0]}
    with pytest.raises(BadInput, match="phantom: expected a dataset of format pairs"):
        study.parameters.parts(job(dataset="phantom"))
    assert set(study.parameters.reading(job(dataset="gfp_pc"))) == {"modalities", "format", "pair"}
    assert study.parameters.reading(job(dataset="harvard_ct_mri"))["prefix"] == "ct"
    assert "pair" not in study.parameters.reading(job(dataset="phantom"))
