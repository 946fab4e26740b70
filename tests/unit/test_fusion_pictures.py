"""Pictures of fusion: fused images side by side, and profiles across a margin, of stores that are written here."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from scipy import ndimage

from diffufuse.evaluate.fused import scores
from diffufuse.pixels.color import luma_and_chroma, recombined
from diffufuse.pixels.orientation import as_picture, as_slice
from diffufuse.predict.fused_pictures import write_fused_pair
from diffufuse.report.pictures import PICTURES, edge_profiles
from diffufuse.report.pictures.fused import MOST_ACROSS, bands_of, box_of, reach_of, scores_of
from diffufuse.report.pictures.fused_case import fused_case
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.store.case import PreparedCase, read_prepared
from diffufuse.store.fused import write_fused
from diffufuse.store.intensity import intensity_statistics
from diffufuse.store.slices import open_slices, write_slices

SHAPE, SPACING = (60, 50, 5), (1.0, 1.0, 3.0)
GRAY = {"kind": "mr", "normalization": {"method": "display", "black": 0, "white": 1}}
SOURCES = {"t1": GRAY, "pet": GRAY}
MODELS = ("average", "maximum", "sharp", "blurred")


def disk(radius):
    x, y = np.meshgrid(*(np.arange(n) for n in SHAPE[:2]), indexing="ij")
    return np.hypot(x - 30, y - 24) <= radius


def stored(folder, name, images, labels, *, absent=()):
    everywhere = np.ones(labels.shape, bool)
    presence = {key: everywhere if key not in absent else ~everywhere for key in images}
    path = folder / f"{name}_slices.b2nd"
    digest = write_slices(path, images=images, presence=presence, body=everywhere, labels=labels, bounded=True)
    statistics = {key: intensity_statistics(image, everywhere) for key, image in images.items() if key not in absent}
    affine = np.diag([*SPACING, 1.0])
    return PreparedCase(name, open_slices(path, sha256=digest), statistics, affine, {})


def made_by(model, structure, function):
    if model == "average":
        return (structure + function) / 2
    if model == "maximum":
        return np.maximum(structure, function)
    sharp = 0.2 + 0.6 * (function > 0.5)
    return sharp if model == "sharp" else ndimage.gaussian_filter(sharp, (3, 3, 0))


@pytest.fixture
def volume(tmp_path):
    """A disk in the fourth slice, dark in the structure and bright in the function; four fused images of it."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[..., 3] = disk(12)
    labels[..., 2] = disk(5)
    bright = np.where(labels > 0, 0.8, 0.1).astype(np.float32)
    case = stored(tmp_path, "P-1", {"t1": 0.6 - 0.4 * bright, "pet": bright}, labels)
    folders = []
    for model in MODELS:
        folders.append(tmp_path / model)
        folders[-1].mkdir()
        image = made_by(model, 0.6 - 0.4 * bright, bright).astype(np.float32)
        write_fused(image, np.ones(SHAPE, bool), case, folders[-1])
    return case, folders


@pytest.fixture
def pair(tmp_path):
    """A pair in color, fused by the average, among another of its set."""
    draw = np.random.default_rng(0)
    colors = np.zeros((40, 36, 3))
    colors[10:30, 8:20] = (0.9, 0.3, 0.1)
    luma, cb, cr = luma_and_chroma(colors)
    structure = draw.uniform(0, 1, (40, 36))
    planes = {"mri": structure, "pet": luma, "pet_cb": cb, "pet_cr": cr}
    images = {name: np.ascontiguousarray(as_slice(plane), np.float32) for name, plane in planes.items()}
    case = stored(tmp_path, "pair-1", images, np.zeros((36, 40, 1), np.uint8))
    other = stored(tmp_path, "pair-2", images, np.zeros((36, 40, 1), np.uint8))
    folder = tmp_path / "average"
    folder.mkdir()
    image = ((images["mri"] + images["pet"]) / 2).astype(np.float32)
    fused = write_fused(image, np.ones(image.shape, bool), case, folder)
    write_fused_pair(fused, case, folder, colored_by="pet")
    return [other, case], [folder], colors


def drawn(picture, cases, folders, *, models=MODELS, sources=SOURCES, regions=None, case="P-1"):
    settings = {"models": list(models), "sources": sources, "case": case, "regions": regions or {}}
    return PICTURES[picture](Inputs(cases, folders), dataset="sts", modalities={}, **settings)


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def titled(figure, title):
    return [axes for axes in figure.axes if axes.get_title().startswith(title)]


def test_the_slice_with_the_largest_region_is_shown_with_sources_and_models(volume):
    case, folders = volume
    figure = drawn("fused", [case], folders, regions={"mass": [1]})
    assert {"t1", "pet", *MODELS} <= set(texts(figure))
    assert "P-1, sts, axial slice 4 of 5" in texts(figure)
    [axes] = titled(figure, "sharp")
    shown = np.asarray(axes.images[0].get_array())
    assert shown.max() == pytest.approx(0.8, abs=1e-3)
    assert (shown > 0.5).sum() == disk(12).sum()


def test_differences_are_to_the_mean_and_share_one_signed_scale(volume):
    case, folders = volume
    figure = drawn("fused", [case], folders, regions={"mass": [1]})
    maps = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_cmap().name == "RdBu_r"]
    assert len(maps) == len(MODELS)
    low, high = {image.get_clim() for image in maps}.pop()
    assert len({image.get_clim() for image in maps}) == 1
    assert low == -high
    assert np.abs(np.asarray(maps[0].get_array())).max() < 1e-3
    assert "no difference" in texts(figure)
    difference = np.asarray(maps[1].get_array())
    assert difference.max() == pytest.approx((0.8 - 0.28) / 2, abs=1e-3)
    assert (np.asarray(maps[2].get_array()) > 0).any()


def test_the_box_surrounds_a_small_region_and_lies_at_the_margin_of_a_large_one(volume):
    case, folders = volume
    large = fused_case(Inputs([case], folders), case="P-1", models=MODELS, sources=SOURCES, region=[1])
    small = replace(large, region=disk(6))
    for shown, whole in ((small, True), (large, False)):
        left, bottom, side = box_of(shown)
        rows, columns = np.nonzero(shown.cut(shown.region))
        within = (left <= columns) & (columns + 1 <= left + side) & (bottom <= rows) & (rows + 1 <= bottom + side)
        assert within.all() == whole
        assert within.any()
        assert min(left, bottom) >= 0
        assert left + side <= shown.view.size_mm[0] + 1e-9
    assert reach_of(large) > 0.2


def test_the_box_of_a_pair_is_where_both_have_edges(tmp_path):
    images = {name: np.zeros((40, 40, 1), np.float32) for name in ("t1", "pet")}
    images["t1"][5:, :] = 0.5
    images["pet"][:, 30:] = 0.5
    case = stored(tmp_path, "P-1", images, np.zeros((40, 40, 1), np.uint8))
    write_fused(images["t1"], np.ones((40, 40, 1), bool), case, tmp_path)
    shown = fused_case(Inputs([case], [tmp_path]), case="P-1", models=["a"], sources=SOURCES, region=[])
    left, bottom, side = box_of(shown)
    assert left <= 5 <= left + side
    assert bottom <= 30 <= bottom + side


def test_many_models_continue_below_in_bands_of_equal_length_that_begin_with_the_sources(volume):
    case, folders = volume
    models = [f"model_{number}" for number in range(8)]
    figure = drawn("fused", [case], folders * 2, models=models, regions={"mass": [1]})
    across = max(axes.get_subplotspec().get_gridspec().ncols for axes in figure.axes if axes.get_subplotspec())
    assert across == 6 <= MOST_ACROSS
    assert len(titled(figure, "t1")) == len(titled(figure, "pet")) == 2
    assert [len(titled(figure, model)) for model in models] == [1] * 8


@pytest.mark.parametrize("count", range(16))
def test_every_model_is_in_one_band_and_the_sources_in_all(count):
    models = [f"m{number}" for number in range(count)]
    bands = bands_of(["a", "b"], models)
    assert all(band[:2] == ["a", "b"] and len(band) <= MOST_ACROSS for band in bands)
    assert [name for band in bands for name in band[2:]] == models
    lengths = [len(band) for band in bands]
    assert lengths[:-1] == [lengths[0]] * (len(bands) - 1)
    assert len(bands) == max(1, -(-count // 6))


def test_beside_an_image_stands_what_the_study_scores_of_it(pair):
    cases, [folder], _ = pair
    sources = {"mri": GRAY, "pet": GRAY}
    fused = read_prepared(folder / "fused" / "pair-1.json")
    known = scores(fused, cases[1], sources=sources)
    shown = fused_case(Inputs(cases, [folder]), case="pair-1", models=["average"], sources=sources, region=[])
    assert scores_of(shown, "average") == {"qabf": pytest.approx(known["qabf"])}  # VIF needs 41 pixels
    figure = drawn("fused", cases, [folder], models=["average"], case="pair-1", sources=sources)
    assert f"qabf {known['qabf']:.3f}" in texts(figure)


def test_without_a_place_where_both_were_acquired_nothing_is_scored(volume):
    case, folders = volume
    shown = fused_case(Inputs([case], folders), case="P-1", models=MODELS, sources=SOURCES, region=[1])
    assert scores_of(replace(shown, both=np.zeros_like(shown.both)), "average") == {}
    assert set(scores_of(shown, "average")) == {"qabf", "vif"}
    both = texts(drawn("fused", [case], folders, regions={"mass": [1]}))
    assert sum(text.startswith("qabf 0.") and ", vif " in text for text in both) == len(MODELS)


def test_a_pair_is_found_in_its_set_and_shown_in_color_as_it_was_written(pair):
    cases, folders, colors = pair
    figure = drawn("fused", cases, folders, models=["average"], case="pair-1", sources={"mri": GRAY, "pet": GRAY})
    assert "pair-1, sts" in texts(figure)
    colored = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 3]
    assert len(colored) == 2
    source = np.asarray(colored[0].get_array())[::-1, ::-1]
    assert np.abs(source - colors).max() < 1e-3
    fused = cases[1].slices.selected(["mri", "pet", "pet_cb", "pet_cr"]).images(0)
    expected = recombined(as_picture((fused[0] + fused[1]) / 2), as_picture(fused[2]), as_picture(fused[3]))
    shown = np.asarray(colored[1].get_array())[::-1, ::-1]
    assert np.abs(shown - expected).max() <= 0.5 / 255 + 1e-3


def test_a_mean_of_one_source_is_that_source(tmp_path):
    images = {"t1": np.full(SHAPE, 0.5, np.float32), "pet": np.zeros(SHAPE, np.float32)}
    labels = np.zeros(SHAPE, np.uint8)
    labels[..., 3] = disk(12)
    case = stored(tmp_path, "P-1", images, labels, absent=["pet"])
    write_fused(images["t1"], np.ones(SHAPE, bool), case, tmp_path)
    shown = fused_case(Inputs([case], [tmp_path]), case="P-1", models=["a"], sources=SOURCES, region=[1])
    assert shown.mean == pytest.approx(0.5, abs=1e-3)
    assert shown.present.all()
    assert not shown.both.any()


def test_a_profile_has_the_step_of_a_disk_at_its_margin():
    region = disk(15)
    image = np.where(region, 0.9, 0.1)
    found = edge_profiles.profiles({"a": image}, region, np.ones(region.shape, bool), (1.0, 1.0))
    mean = edge_profiles.mean_profile(found.levels["a"])
    inside, outside = found.distance_mm < -1.5, found.distance_mm > 1.5
    assert mean[inside] == pytest.approx(0.9, abs=0.02)
    assert mean[outside] == pytest.approx(0.1, abs=0.02)
    assert mean[found.distance_mm == 0] == pytest.approx(0.5, abs=0.15)
    radius = np.hypot(*(found.points_mm - (30, 24)).T)
    assert radius == pytest.approx(15.3, abs=0.8)


def test_distances_are_in_mm_along_both_axes():
    region = np.zeros((40, 80), bool)
    region[10:30, 20:60] = True  # a square of 40 mm on pixels of 2 mm and 1 mm
    x, _ = np.meshgrid(np.arange(40) * 2.0, np.arange(80), indexing="ij")
    found = edge_profiles.profiles({"x": x}, region, np.ones(region.shape, bool), (2.0, 1.0))
    left = np.abs(found.points_mm[:, 0] - 19) < 1.5
    middle = left & (np.abs(found.points_mm[:, 1] - 40) < 8)
    slope = np.diff(found.levels["x"][middle], axis=1) / edge_profiles.STEP_MM
    assert slope == pytest.approx(-1, abs=0.05)


def test_a_blurred_edge_is_less_steep(volume):
    case, folders = volume
    shown = fused_case(Inputs([case], folders), case="P-1", models=MODELS, sources=SOURCES, region=[1])
    found = edge_profiles.profiles({**shown.sources, **shown.fused}, shown.region, shown.both, shown.spacing)
    steep = {name: edge_profiles.steepness(edge_profiles.mean_profile(found.levels[name])) for name in found.levels}
    assert steep["blurred"] < 0.5 * steep["sharp"]
    assert steep["average"] < steep["maximum"] < steep["pet"]


def test_normals_that_come_near_another_margin_do_not_count():
    thin = np.zeros((60, 60), bool)
    thin[20:24, 10:50] = True
    image = np.ones(thin.shape)
    found = edge_profiles.profiles({"a": image}, thin, np.ones(thin.shape, bool), (1.0, 1.0))
    mean = edge_profiles.mean_profile(found.levels["a"])
    assert np.isnan(mean[found.distance_mm < -6]).all()
    assert np.isfinite(mean[(found.distance_mm > -1) & (found.distance_mm < 8)]).all()


def test_profiles_of_every_model_stand_beside_those_of_the_sources(volume):
    case, folders = volume
    figure = drawn("edge_profiles", [case], folders, regions={"mass": [1]})
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(panels) == len(MODELS)
    assert all(len(axes.lines) == 4 for axes in panels)
    assert any("points of the margin of mass" in text for text in texts(figure))


def test_a_case_without_the_region_is_said_to_have_no_margin(volume):
    case, folders = volume
    figure = drawn("edge_profiles", [case], folders, regions={"edema": [7]})
    assert any(edge_profiles.NOTHING in text for text in texts(figure))
