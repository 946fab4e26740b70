import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence
from matplotlib.colors import to_rgb

from diffufuse.metrics import calibration, discrimination
from diffufuse.metrics.forecast import Forecast
from diffufuse.report.figures import FIGURES, curves, looks
from diffufuse.report.style import house_style, write_figure

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report" / "figure.rst"
FIRST, SCALED = "diffufusemed_small", "diffufusemed_small_scaled"
KEPT = ["level", "inside", "outside"]
FRAMES = ("metrics", "summary", "runs", "forecasts", "calibrations", "efficiency", "latencies", "curves")
ONE = ("unet2d_small",)
# What the study of `evidence` has; figures of fusion are drawn in test_fusion_figures.py.
DRAWN = [name for name in FIGURES if name not in ("fusion_and_dice", "game")]


@pytest.fixture(scope="module")
def evidence():
    return an_evidence(patients=8)


@pytest.fixture(scope="module")
def tables(evidence):
    return {name: FIGURES[name].data(evidence) for name in DRAWN}


@pytest.fixture(scope="module")
def lonely():
    return an_evidence(patients=2, models=ONE)


@pytest.fixture(scope="module")
def crowded(evidence):
    """The same study with seventeen models of long names."""
    sources = list(evidence.models)
    names = {f"{FIRST}_uniform_gates_{n:02d}" if n % 2 else f"attention_unet_small_{n:02d}": n for n in range(11)}
    origin = {m: m for m in sources} | {name: sources[number % len(sources)] for name, number in names.items()}

    def many(frame):
        return pd.concat([frame[frame["model"] == origin[m]].assign(model=m) for m in origin], ignore_index=True)

    blocks = {m: evidence.models.get(m, {"architecture": "unet2d"}) for m in origin}
    return replace(evidence, models=blocks, **{name: many(getattr(evidence, name)) for name in FRAMES})


def draw(name, evidence):
    return FIGURES[name].draw(FIGURES[name].data(evidence))


def without(evidence, *metrics):
    kept = {name: getattr(evidence, name) for name in ("metrics", "summary")}
    rows = {name: frame[~frame["metric"].isin(metrics)] for name, frame in kept.items()}
    return replace(evidence, asked=[name for name in evidence.asked if name not in metrics], **rows)


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def said(figure):
    return " ".join(" ".join(texts(figure)).split())


def unseen_in(axes):
    """The texts of an axes that is off, and the labels of ticks beyond the limits of its view."""
    if not axes.axison:
        return axes.findobj(mpl.text.Text)
    ticks = [
        (tick, *sorted(axis.get_view_interval()))
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
    ]
    return [tick.label1 for tick, low, high in ticks if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]


def boxes(figure):
    """(n, 4) left, bottom, right, top of every level text that is seen, in pixels; and what it says."""
    with house_style():
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    unseen = {text for axes in figure.axes for text in unseen_in(axes)}
    shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text().strip() and t.get_visible() and t not in unseen]
    found = [(t.get_window_extent(renderer).extents, t.get_text()) for t in shown if not t.get_rotation()]
    return np.array([box for box, _ in found]), [text for _, text in found]


def forecast_of(evidence, model, scope):
    rows = evidence.forecasts.query("model == @model and scope == @scope")
    return Forecast(*(rows[name].to_numpy(np.int64) for name in KEPT))


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_from_a_study(name, evidence, tables):
    figure = FIGURES[name].draw(tables[name])
    assert figure.axes
    assert re.search(r"n = \d+|n=\d+", said(figure))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_from_one_model_and_two_patients(name, lonely, tmp_path):
    write_figure(draw(name, lonely), tmp_path / "a.pdf", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_that_found_nothing_gets_a_sentence_in_place_of_empty_axes(name, evidence):
    nothing = replace(evidence, **{frame: getattr(evidence, frame).iloc[:0] for frame in FRAMES})
    table = FIGURES[name].data(nothing)
    assert list(table) == ["note"]
    figure = FIGURES[name].draw(table)
    assert not figure.axes
    assert said(figure) == table["note"].iloc[0]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_caption_in_the_report(name):
    assert f'"{name}": "' in CAPTIONS.read_text()


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_the_page_or_lies_on_another_with_seventeen_models_of_long_names(name, crowded):
    figure = draw(name, crowded)
    box, told = boxes(figure)
    page = figure.bbox.extents
    outside = (box[:, :2] < page[:2] - 1).any(axis=1) | (box[:, 2:] > page[2:] + 1).any(axis=1)
    assert not [told[place] for place in np.flatnonzero(outside)]
    across = (box[:, None, :2] < box[None, :, 2:] - 1) & (box[None, :, :2] < box[:, None, 2:] - 1)
    first, second = np.nonzero(np.triu(across.all(axis=2), k=1))
    assert not [(told[a], told[b]) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("name", sorted({*DRAWN} - {"transfer"}))
def test_only_the_transfer_shows_models_on_other_datasets(name, tables):
    assert set(tables[name]["dataset"]) == {"sts_ibsi"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_model_whose_mask_is_anothers_is_shown_where_probabilities_are(name, tables):
    of_probabilities = {"roc", "precision_recall", "reliability", "risk_coverage", "latency"}
    assert (SCALED in set(tables[name]["model"])) == (name in of_probabilities)


def test_a_second_region_has_panels_of_its_own(lonely):
    def doubled(frame):
        other = frame[frame["region"] == "mass"].assign(region="edema")
        return pd.concat([frame, other], ignore_index=True)

    frames = ("metrics", "summary", "forecasts")
    both = replace(lonely, **{name: doubled(getattr(lonely, name)) for name in frames})
    for name in set(DRAWN) - {"transfer", "latency", "forest", "ablation", "training"}:
        assert len(draw(name, both).axes) == 2 * len(draw(name, lonely).axes), name


def test_a_model_looks_alike_in_every_figure(tables):
    seats = pd.concat([tables[name][["model", "group", "member"]] for name in set(tables) - {"missing_modalities"}])
    assert not seats.drop_duplicates()["model"].duplicated().any()


def test_six_models_differ_in_gray_and_no_two_share_color_mark_and_line():
    gray = sorted(np.dot(to_rgb(looks.look(0, member).color), (0.299, 0.587, 0.114)) for member in range(6))
    assert min(b - a for a, b in pairwise(gray)) > 0.04
    every = [looks.look(0, 0), *(looks.look(group, member) for group in range(4) for member in range(1, 7))]
    assert len(set(every)) == len(every)
    for group in range(4):
        panel = [every[0], *(looks.look(group, member) for member in range(1, 7))]
        assert all(len({look[field] for look in panel}) == 7 for field in range(3))


def test_many_models_share_panels_of_seven_with_the_compared_one_in_each(crowded):
    panels = looks.together(FIGURES["roc"].data(crowded))
    assert [panel["model"].nunique() for panel in panels] == 4 * [5]
    assert all(FIRST in set(panel["model"]) for panel in panels)


@pytest.mark.parametrize("name", ["roc", "precision_recall"])
def test_areas_are_those_of_the_whole_forecast_and_of_the_thinned_curve(name, evidence, tables):
    area, x, y = (
        ("auc", "false_positive_rate", "true_positive_rate") if name == "roc" else ("ap", "recall", "precision")
    )
    for model, rows in tables[name].groupby("model"):
        expected = getattr(discrimination, area)(forecast_of(evidence, model, "near"))
        assert rows[area].unique() == pytest.approx([expected])
        height = rows[y].to_numpy()
        height = (height[1:] + height[:-1]) / 2 if name == "roc" else height[1:]
        assert (np.diff(rows[x]) * height).sum() == pytest.approx(expected, abs=2e-3)
        assert len(rows) <= curves.POINTS
        assert rows[x].iloc[[0, -1]].tolist() == [0, 1]


def test_precision_is_drawn_in_the_steps_of_which_average_precision_is_the_area(tables):
    rows = tables["precision_recall"].query("model == @FIRST")
    assert rows["precision"].iloc[0] == rows["precision"].iloc[1]
    styles = {
        line.get_drawstyle() for line in FIGURES["precision_recall"].draw(tables["precision_recall"]).axes[0].lines
    }
    assert "steps-pre" in styles


def test_legends_tell_the_pooled_area_and_the_mean_over_patients(evidence, tables):
    row = evidence.summary.query("dataset == 'sts_ibsi' and condition == 'clean' and metric == 'auc'").iloc[0]
    pooled = discrimination.auc(forecast_of(evidence, FIRST, "near"))
    assert f"AUC {pooled:.3f}; {row['mean']:.3f} [{row['mean_low']:.2f}, {row['mean_high']:.2f}]" in said(
        FIGURES["roc"].draw(tables["roc"])
    )
    unasked = said(draw("roc", without(evidence, "auc")))
    assert f"AUC {pooled:.3f} multi_encoder_small" in unasked
    assert "over patients" not in unasked


def test_a_thinned_curve_keeps_its_ends_its_corners_and_what_must_not_go():
    x = np.linspace(0, 1, 50_000)
    y = np.where(x < 0.5, 0.0, 1.0)
    kept = curves.thinned(x, y, always=123)
    assert {0, 123, x.size - 1} <= set(kept)
    assert len(kept) <= curves.POINTS
    assert np.abs(x[kept][np.searchsorted(x[kept], 0.5)] - 0.5) < 0.01
    assert np.diff(x[kept]).max() < 0.01
    assert curves.thinned(x, np.full_like(x, np.nan), always=5).tolist() == [0]


def test_a_region_that_no_patient_has_is_undefined_and_not_drawn_as_a_curve(evidence):
    counts = {"inside": 0, "outside": evidence.forecasts["inside"] + evidence.forecasts["outside"]}
    empty = replace(evidence, forecasts=evidence.forecasts.assign(**counts))
    assert "AUC undefined" in said(draw("roc", empty))
    assert "AP undefined" in said(draw("precision_recall", empty))


def test_reliability_bins_are_those_of_the_voxels(evidence, tables):
    forecast = forecast_of(evidence, FIRST, "near")
    rows = tables["reliability"].query("model == @FIRST and scope == 'near'")
    assert rows["ece"].unique() == pytest.approx([calibration.ece(forecast)])
    assert rows["voxels"].sum() == forecast.voxels
    fourth = (forecast.probability >= 0.15) & (forecast.probability < 0.2)
    share = forecast.inside[fourth].sum() / forecast.count[fourth].sum()
    assert rows["true"].iloc[3] == pytest.approx(share)


def test_scaled_probabilities_stand_beside_their_own(tables):
    models = list(dict.fromkeys(tables["reliability"]["model"]))
    assert models.index(SCALED) == models.index(FIRST) + 1
