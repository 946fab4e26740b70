"""Fused images that others published: matched to their pairs, scored as ours are, and rows of their own in a table."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fusion_evidence import a_study_of_fused_patients, a_study_of_pairs
from fusion_metrics import COLUMNS as SCORED
from fusion_metrics import SCORES, TRIVIAL
from PIL import Image
from published_images import DATASETS, SHEET, of_dmfnet
from scipy import ndimage

from diffufuse.errors import BadInput
from diffufuse.evaluate.published import Pair, gray, matched, published_scores, read_images, read_named
from diffufuse.files.sheets import write_sheet
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, evaluate
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.report.page import results_page
from diffufuse.report.published import COLUMNS, MARK, Release, among_others, read_published, write_published
from diffufuse.report.reported import read_reported
from diffufuse.report.tables import TABLES

RECORDED = {kind: dict(zip(SCORED, text.split(), strict=True)) for kind, text in SCORES.items()}
# fusion.md, C2, of DM-FNet: other pairs than here, 10 of CT and 26 of PET.
OF_OTHER_PAIRS = {
    "CT": "4.68 86.7 35.6 8.1 2.10 1.45 .795 13.2 1.426 .541 .482",
    "PET": "5.46 84.0 34.4 10.5 2.05 1.55 .804 13.3 1.404 .678 .593",
}
SIZE = (48, 64)


@pytest.fixture(scope="module")
def sheet():
    return read_published(SHEET)


@pytest.fixture
def release(tmp_path):
    """A release of three pictures, the fused one in color, with its sources."""
    draw = np.random.default_rng(0)
    for name in ("1.png", "2.png", "3.png"):
        for kind, shape in (("fused", (*SIZE, 3)), ("a", SIZE), ("b", SIZE)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / kind / name)
    return tmp_path


def unit_of(text):
    """A unit of the last digit."""
    return 10.0 ** -len(text.partition(".")[2])


def slices(count=5, seed=0):
    """Smooth pairs, each of another object."""
    draw = np.random.default_rng(seed)
    planes = ndimage.gaussian_filter(draw.random((count, 2, *SIZE)), (0, 0, 2, 2))
    planes = (planes - planes.min()) / np.ptp(planes)
    return {f"p{number}": Pair(a, b) for number, (a, b) in enumerate(planes)}


def brighter(pair, noise=0.0, seed=0):
    draw = np.random.default_rng(seed)
    return np.clip(np.maximum(pair.a, pair.b) + noise * draw.normal(size=SIZE), 0, 1)


def test_an_image_is_matched_to_the_pair_whose_maximum_it_resembles():
    pairs = slices()
    images = {f"i{name}": 0.3 + 0.5 * brighter(pair, 0.01) for name, pair in reversed(pairs.items())}
    found = matched(images, pairs)
    assert found.pairs == {f"i{name}": name for name in pairs}
    assert str(found) == "5 of 5 (0 fit none, 0 several)"


def test_a_weak_match_is_none_and_is_counted():
    pairs = slices()
    strange = {
        "other": brighter(slices(1, seed=1)["p0"]),
        "noisy": brighter(pairs["p1"], 0.3),
        "flat": np.full(SIZE, 0.5),
    }
    found = matched(strange | {"good": brighter(pairs["p2"])}, pairs)
    assert found.pairs == {"good": "p2"}
    assert found.weak == ("other", "noisy", "flat")
    assert str(found) == "1 of 4 (3 fit none, 0 several)"


def test_an_image_that_fits_two_pairs_is_matched_to_none():
    pairs = slices()
    near = Pair(pairs["p0"].a, np.clip(pairs["p0"].b + 0.002 * np.random.default_rng(2).normal(size=SIZE), 0, 1))
    found = matched({"i": brighter(pairs["p0"]), "j": brighter(pairs["p1"])}, pairs | {"near": near})
    assert found.pairs == {"j": "p1"}
    assert found.ambiguous == ("i",)


def test_two_images_that_fit_one_pair_are_matched_to_none():
    pairs = slices()
    images = {"i": brighter(pairs["p0"]), "again": brighter(pairs["p0"], 0.01), "j": brighter(pairs["p1"])}
    found = matched(images, pairs)
    assert found.pairs == {"j": "p1"}
    assert found.ambiguous == ("i", "again")
    assert str(found) == "1 of 3 (0 fit none, 2 several)"


def test_a_pair_of_another_size_fits_nothing():
    large = {"large": Pair(np.ones((60, 60)), np.ones((60, 60)))}
    pairs = slices()
    assert matched({"i": brighter(pairs["p0"])}, pairs | large).pairs == {"i": "p0"}
    assert matched({"i": brighter(pairs["p0"])}, large).weak == ("i",)
    assert matched({"i": brighter(pairs["p0"])}, {}).weak == ("i",)


def test_published_images_have_the_metrics_of_the_study_and_so_have_their_controls(release):
    images, pairs = read_named(release / "fused", release / "a", release / "b")
    scores = published_scores(images, pairs, model="theirs")
    assert scores["model"].unique().tolist() == ["theirs", "average", "maximum"]
    for name in images:
        levels = [np.asarray(Image.open(release / kind / name)).astype(float) for kind in ("a", "b", "fused")]
        a, b, luma = levels[0] / 255, levels[1] / 255, levels[2] @ [0.299, 0.587, 0.114] / 255
        for model, fused in (("theirs", luma), ("average", (a + b) / 2), ("maximum", np.maximum(a, b))):
            found = scores[(scores["pair"] == name) & (scores["model"] == model)].set_index("metric")["value"]
            assert set(found.index) == set(FUSION_METRICS)
            assert found.to_dict() == pytest.approx(evaluate(Fusion(a, b, fused)), nan_ok=True, abs=1e-12)


def test_scores_known_by_hand(tmp_path):
    halves = np.zeros((44, 44), np.uint8)
    halves[22:] = 255
    for kind, picture in (("a", halves), ("b", 255 - halves), ("fused", halves)):
        (tmp_path / kind).mkdir()
        Image.fromarray(picture).save(tmp_path / kind / "1.png")
    scores = published_scores(*read_named(*(tmp_path / kind for kind in ("fused", "a", "b"))), model="theirs")
    found = scores.set_index(["model", "metric"])["value"]
    assert found["theirs", "en"] == 1  # two levels, equally many
    assert found["theirs", "sd"] == 127.5
    assert found["theirs", "mi_bits"] == 2  # one bit of each source
    assert found["theirs", "cc"] == 0  # 1 and -1
    assert found["theirs", "psnr_of_mean"] == pytest.approx(10 * math.log10(2))
    assert math.isnan(found["theirs", "psnr"])  # infinite, as the image is one of its sources
    assert found["average", "en"] == found["maximum", "en"] == 0  # all gray, all white
    assert found["average", "psnr"] == pytest.approx(20 * math.log10(2))


def test_gray_is_luma_that_is_not_rounded(release):
    levels = np.asarray(Image.open(release / "fused" / "1.png")).astype(float)
    assert gray(release / "fused" / "1.png") == pytest.approx(levels @ [0.299, 0.587, 0.114] / 255)
    assert not np.allclose(255 * gray(release / "fused" / "1.png") % 1, 0)


def test_a_release_that_is_not_whole_is_refused(release):
    (release / "b" / "2.png").unlink()
    with pytest.raises(BadInput, match=r"b/2\.png: expected the source of a fused image"):
        read_named(release / "fused", release / "a", release / "b")
    Image.new("L", (9, 9)).save(release / "b" / "2.png")
    with pytest.raises(BadInput, match=r"a/2\.png: expected the size of its partner, \(9, 9\)"):
        read_named(release / "fused", release / "a", release / "b")
    with pytest.raises(BadInput, match="expected fused images, got none"):
        read_images(release / "nowhere")
    with pytest.raises(BadInput, match=r"i: expected the size of its sources, \(48, 64\), got \(9, 9\)"):
        published_scores({"i": np.zeros((9, 9))}, {"i": slices()["p0"]}, model="theirs")


def a_sheet(path, *, dataset="harvard_pet_mri", undefined=False):
    """A sheet of two metrics of a release of three images; one image has no VIF."""
    values = {"qabf": [0.5, 0.6, 0.7], "vif": [0.4, 0.6, math.nan if undefined else 0.8]}
    rows = [
        (model, str(number), metric, value + shift)
        for model, shift in (("theirs", 0.0), ("average", -0.1), ("maximum", 0.1))
        for metric, several in values.items()
        for number, value in enumerate(several)
    ]
    frame = pd.DataFrame(rows, columns=["model", "pair", "metric", "value"])
    write_published([(Release(dataset, "theirs", "Of a friend."), frame)], path)
    return path


def test_a_sheet_has_means_and_intervals_over_pairs_and_is_read_back(tmp_path):
    found = read_published(a_sheet(tmp_path / "x.tsv", undefined=True))
    assert found.columns.tolist() == COLUMNS
    rows = found.set_index(["model", "metric"])
    assert rows.loc[("theirs", "qabf"), "mean"] == pytest.approx(0.6)
    assert 0.5 <= rows.loc[("theirs", "qabf"), "low"] < 0.6 < rows.loc[("theirs", "qabf"), "high"] <= 0.7
    assert rows["n"].tolist() == [3, 2] * 3
    assert found["remark"].tolist() == ["Of a friend."] + [""] * 5
    assert (tmp_path / "x.tsv").read_bytes() == a_sheet(tmp_path / "again.tsv", undefined=True).read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("\t0.6\t", "\t0.9\t", 1), "expected the rows of this checksum"),
        (lambda text: text.split("\n", 1)[1], "expected a checksum in line 1"),
        (
            lambda text: text.replace("\tqabf\t", "\tqabff\t"),
            "'qabff' is no metric of fused images, did you mean 'qabf'",
        ),
        (lambda text: text.replace("\tqabf\t", "\tdice\t"), "'dice' is no metric of fused images"),
        (lambda text: text.replace("qabf\t1\t", "qabf\tdB\t"), "expected the unit 1, got letters"),
        (lambda text: text.replace("\t3\t", "\t0\t"), "expected a number of pairs, got '0'"),
        (lambda text: text.replace("\t0.6\t", "\t-\t"), "expected a number in column mean, got '-'"),
        (lambda text: text.replace("\taverage\t", "\ttheirs\t"), "expected each score once, got twice harvard_pet_mri"),
    ],
)
def test_a_sheet_that_no_program_wrote_is_refused(tmp_path, change, told):
    path = a_sheet(tmp_path / "x.tsv")
    path.write_text(change(path.read_text()))
    with pytest.raises(BadInput, match=told):
        read_published(path)


def test_a_single_pair_has_no_interval(tmp_path):
    write_sheet(tmp_path / "x.tsv", COLUMNS, [["d", "theirs", "theirs", "qabf", "1", "1", "0.5", "-", "-", ""]])
    assert math.isnan(read_published(tmp_path / "x.tsv").loc[0, "low"])


def told(name, evidence, published):
    reported = read_reported(SHEET.with_name("reported.tsv"))
    return among_others(TABLES[name].build(evidence), name, evidence, reported=reported, published=published)


def test_published_images_are_rows_of_their_own_after_ours_and_before_the_paper(tmp_path):
    pairs = a_study_of_pairs()
    published = read_published(a_sheet(tmp_path / "x.tsv", undefined=True))
    table, notes = told("fusion", pairs, published)
    own = len(TABLES["fusion"].build(pairs))
    theirs = table.iloc[own : own + 3]
    assert theirs["model"].tolist() == [
        f"theirs ({MARK})",
        "average (the pairs of theirs)",
        "maximum (the pairs of theirs)",
    ]
    assert (theirs["dataset"] == "harvard_pet_mri").all()
    assert theirs["qabf"].iloc[0].startswith("0.600 [0.5")
    assert theirs["vif"].iloc[0].endswith("] (n=2)")
    assert (theirs[["psnr (dB)", "trained on"]] == "").all(axis=None)
    assert (theirs["n"] == "3").all()
    assert table.iloc[own + 3]["model"].endswith("(paper)")
    assert not theirs.map(lambda cell: "*" in cell).any(axis=None)
    assert "theirs: Of a friend." in notes[0]
    assert "of 8 bits" in notes[0]


def test_nothing_is_added_for_other_datasets_and_other_tables(tmp_path):
    published = read_published(a_sheet(tmp_path / "x.tsv"))
    patients, pairs = a_study_of_fused_patients(patients=4), a_study_of_pairs()
    assert not told("fusion", patients, published)[0]["model"].str.contains(MARK).any()
    assert "model" in told("fusion_ranking", pairs, published)[0]
    assert not told("fusion_ranking", pairs, published)[0]["model"].str.contains(MARK).any()


def test_the_page_of_a_study_of_pairs_has_them_with_their_remarks(sheet):
    page = results_page(
        a_study_of_pairs(),
        {"fusion": TABLES["fusion"]},
        study="pairs",
        reported=read_reported(SHEET.with_name("reported.tsv")),
        published=sheet,
    )
    for text in (f"| bsafusion ({MARK}) | 20 |", f"| dmfnet ({MARK}) | 14 |", "| maximum (the pairs of dmfnet) | 14 |"):
        assert text in page
    assert page.count("github.com/slrl123/BSAFusion") == 1
    assert "harvard_pet_mri 14 of 50 (36 fit none, 0 several)" in page


def test_the_committed_scores_are_those_that_were_recorded_by_another_evaluator(sheet):
    """All eleven definitions agree; that evaluator rounds the luma, which lowers the VIF of SPECT by 0.15 %."""
    rows = sheet.query("images == 'bsafusion'").set_index(["dataset", "model", "metric"])
    for kind, recorded in RECORDED.items():
        for metric, text in recorded.items():
            row = rows.loc[(DATASETS[kind], "bsafusion", metric)]
            assert row["mean"] == pytest.approx(float(text), abs=1.05 * unit_of(text), rel=2e-3), (kind, metric)
            assert row["low"] <= row["mean"] <= row["high"]
            assert row["n"] == 20
    for control, text in TRIVIAL.items():
        for metric, value in zip(SCORED, text.split(), strict=True):
            if value != "-":
                found = rows.loc[(DATASETS["CT"], control, metric), "mean"]
                assert found == pytest.approx(float(value), rel=0.005), (control, metric)


def test_the_committed_scores_of_matched_images_are_near_those_of_other_pairs(sheet):
    """Recorded were 10 and 26 pairs, of which the mirror has 6 and 14: no equality, but no other level either."""
    rows = sheet.query("images == 'dmfnet' and model == 'dmfnet'").set_index(["dataset", "metric"])
    for kind, text in OF_OTHER_PAIRS.items():
        for metric, value in zip(SCORED, text.split(), strict=True):
            assert rows.loc[(DATASETS[kind], metric), "mean"] == pytest.approx(float(value), rel=0.15), (kind, metric)
    assert {kind: int(rows.loc[(DATASETS[kind], "en"), "n"]) for kind in DATASETS} == {"PET": 14, "SPECT": 2, "CT": 6}


def test_no_picture_and_no_name_of_a_file_is_in_the_sheet(sheet):
    text = Path(SHEET).read_text()
    assert ".png" not in text
    assert ".jpg" not in text


@pytest.mark.real
def test_images_that_bsafusion_released_have_the_scores_that_were_recorded(shared_data, sheet):
    folder = shared_data / "fused" / "bsafusion" / "CT"
    images, pairs = read_named(folder / "fused", folder / "MRI", folder / "other")
    triples = [Fusion(pairs[name].a, pairs[name].b, image) for name, image in images.items()]
    rows = sheet.query("images == 'bsafusion' and model == 'bsafusion'").set_index(["dataset", "metric"])["mean"]
    for metric, text in RECORDED["CT"].items():
        found = np.mean([FUSION_METRICS[metric].of(triple) for triple in triples])
        assert found == pytest.approx(float(text), abs=1.05 * unit_of(text))
        assert found == pytest.approx(rows[DATASETS["CT"], metric], rel=1e-5)


@pytest.mark.real
def test_images_that_dmfnet_released_are_matched_and_scored_again(shared_data, sheet):
    rows = sheet.set_index(["dataset", "images", "model", "metric"])["mean"]
    [(release, values)] = of_dmfnet(shared_data, kinds=["CT"])
    assert values["pair"].nunique() == 6
    for (model, metric), mean in values.groupby(["model", "metric"])["value"].mean().items():
        assert mean == pytest.approx(rows[release.dataset, release.model, model, metric], rel=1e-5)
