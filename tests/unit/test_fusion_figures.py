"""The figures of fusion: scores of images against Dice, and the curves of the game."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fusion_evidence import BLOCKS, a_study_of_fused_patients, a_study_of_pairs
from scipy import stats
from test_table_figures import boxes, said

from diffufuse.files.records import write_record
from diffufuse.files.tables import write_table
from diffufuse.report.figures import FIGURES, fusion_and_dice, game
from diffufuse.report.joined import JOINED
from diffufuse.report.schemas import CURVES
from diffufuse.train.history import HISTORY

OF_FUSION = ("fusion_and_dice", "game")


@pytest.fixture(scope="module")
def evidence():
    return a_study_of_fused_patients()


@pytest.fixture(scope="module")
def tables(evidence):
    return {name: FIGURES[name].data(evidence) for name in OF_FUSION}


@pytest.fixture(scope="module")
def figures(tables):
    return {name: FIGURES[name].draw(table) for name, table in tables.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_a_study_of_fusion_is_drawn_or_says_why_not(name, evidence):
    FIGURES[name].draw(FIGURES[name].data(evidence))


@pytest.mark.parametrize("name", OF_FUSION)
def test_n_is_told_and_no_text_leaves_the_page_or_lies_on_another(name, figures):
    assert "n = " in said(figures[name])
    box, told = boxes(figures[name])
    page = figures[name].bbox.extents
    assert not [told[i] for i in np.flatnonzero((box[:, :2] < page[:2] - 1).any(axis=1))]
    assert not [told[i] for i in np.flatnonzero((box[:, 2:] > page[2:] + 1).any(axis=1))]
    across = (box[:, None, :2] < box[None, :, 2:] - 1) & (box[None, :, :2] < box[:, None, 2:] - 1)
    first, second = np.nonzero(np.triu(across.all(axis=2), k=1))
    assert not [(told[a], told[b]) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("name", OF_FUSION)
def test_a_small_study_is_drawn_too(name):
    small = a_study_of_fused_patients(patients=2, models=("fuse4seg_small",))
    assert FIGURES[name].draw(FIGURES[name].data(small)).axes


@pytest.mark.parametrize("name", OF_FUSION)
def test_a_study_without_a_game_gets_a_sentence(name):
    direct = a_study_of_fused_patients(patients=3, models=("two_channels", "structure_alone"))
    assert list(FIGURES[name].data(direct)) == ["note"]


def test_a_pipeline_is_placed_by_the_image_of_its_fuser(evidence, tables):
    row = (
        tables["fusion_and_dice"].query("model == 'maximum_follower' and region == 'ed' and quality == 'qabf'").iloc[0]
    )
    means = evidence.metrics.query("metric == 'qabf'").groupby("model")["value"].mean()
    dice = evidence.metrics.query("metric == 'dice' and region == 'ed'").groupby("model")["value"].mean()
    assert row["fuser"] == "maximum"
    assert row["score"] == pytest.approx(means["maximum"])
    assert row["dice"] == pytest.approx(dice["maximum_follower"])
    assert row["score_low"] < row["score"] < row["score_high"]


def test_raw_modalities_have_a_dice_and_no_score(tables):
    table = tables["fusion_and_dice"]
    raw = table[table["score"].isna()]
    assert set(raw["model"]) == {"two_channels", "structure_alone"}
    assert raw["dice"].notna().all()
    assert not {"average", "maximum", "fuse4seg_leader_small"} & set(table["model"])


def test_the_rank_correlation_is_over_models_and_says_of_how_many(tables, figures):
    rows = tables["fusion_and_dice"].query("region == 'et' and quality == 'vif'").dropna(subset=["score"])
    expected = stats.spearmanr(rows["score"], rows["dice"]).statistic
    assert fusion_and_dice.correlation(rows) == (pytest.approx(expected), 9)
    assert f"Spearman {expected:+.2f}, n = 9 models" in said(figures["fusion_and_dice"])
    assert "2410.06811" in said(figures["fusion_and_dice"])


def test_two_models_have_no_correlation(tables):
    rows = tables["fusion_and_dice"].query("region == 'et' and quality == 'vif'").dropna(subset=["score"]).iloc[:2]
    rank, models = fusion_and_dice.correlation(rows)
    assert np.isnan(rank)
    assert models == 2


def test_bars_are_the_intervals_of_both_means(tables, figures):
    axes = figures["fusion_and_dice"].axes[0]
    assert len(axes.containers) == 9
    row = tables["fusion_and_dice"].query("model == 'fuse4seg_small' and region == 'ncr' and quality == 'qabf'").iloc[0]
    [bars] = [c for c in axes.containers if c.get_label() == "fuse4seg_small"]
    across, up = (bars.lines[2][number].get_segments()[0] for number in (0, 1))
    assert across[:, 0] == pytest.approx([row["score_low"], row["score_high"]])
    assert up[:, 1] == pytest.approx([row["dice_low"], row["dice_high"]])


def test_the_game_shows_the_compared_model_with_median_and_range(evidence, tables):
    table = tables["game"]
    assert set(table["model"]) == {"fuse4seg_small"}
    assert set(table["panel"]) == {panel.title for panel in game.PANELS}
    share = evidence.curves.query("model == 'fuse4seg_small' and quantity == 'leader_task_share'")
    width = int(np.ceil((evidence.curves["step"].max() + 1) / game.BINS))
    last = share[share["step"] // width == share["step"].max() // width].groupby("fold")["value"].mean()
    row = table[table["curve"] == "task"].iloc[-1]
    assert (row["median"], row["low"], row["high"]) == pytest.approx((last.median(), last.min(), last.max()))
    assert row["runs"] == 3


def test_the_end_of_stage_one_is_marked_and_the_leader_has_no_curve_before(tables, figures):
    axes = figures["game"].axes[0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted[0].get_xdata()[0] == 40
    leader = next(line for line in axes.lines if line.get_label() == "leader")
    assert leader.get_xdata().min() >= 40
    assert len(axes.get_legend().get_texts()) == 3


def test_a_joint_training_is_shown_where_there_is_no_game():
    joint = a_study_of_fused_patients(patients=3, models=("fuse4seg_small_joint",))
    curves = joint.curves.assign(quantity=joint.curves["quantity"].replace("leader_loss_gradient", "loss_gradient"))
    table = FIGURES["game"].data(replace(joint, curves=curves))
    assert set(table["model"]) == {"fuse4seg_small_joint"}
    assert "gradient" in set(table["curve"])


def test_curves_are_joined_from_all_runs(tmp_path):
    paths = []
    for number, model in enumerate(("fuse4seg_small", "two_channels", "fuse4seg_leader_small")):
        folder = tmp_path / model
        folder.mkdir()
        plan = {"dataset": "brats", "model": model, "fold": number, "seed": 0, "block": BLOCKS[model]}
        write_record(plan, folder / "plan.json")
        rows = [{"step": 10, "quantity": "loss", "value": 0.5 + number, "unit": "1"}]
        write_table(pd.DataFrame(rows).astype({"step": "int32"}), folder / "history.parquet", HISTORY)
        paths.append(folder / "history.parquet")
    joined = JOINED["curves"].join(paths, metrics=[], trained_as={})
    write_table(joined, tmp_path / "curves.parquet", CURVES)
    assert joined[["model", "fold", "value"]].to_numpy().tolist() == [
        ["fuse4seg_small", 0, 0.5],
        ["two_channels", 1, 1.5],
        ["fuse4seg_leader_small", 2, 2.5],
    ]


@pytest.mark.parametrize("name", JOINED)
def test_tables_of_no_runs_are_joined_to_one_without_rows(name, tmp_path):
    kind = JOINED[name]
    joined = kind.join([], metrics=["dice"], trained_as={"a": "a"})
    write_table(joined, tmp_path / "joined.parquet", kind.schema)
    assert joined.empty


def test_no_model_looks_like_another(figures):
    axes = figures["fusion_and_dice"].axes[0]
    marks = {}
    for container in axes.containers:
        line = container.lines[0]
        marks[container.get_label()] = (line.get_color(), line.get_marker(), line.get_markerfacecolor())
    assert len(set(marks.values())) == len(marks)
    assert all(mpl.colors.is_color_like(color) for color, _, _ in marks.values())


def test_the_forest_of_pairs_is_of_qabf_on_every_set():
    pairs = a_study_of_pairs()
    table = FIGURES["forest"].data(pairs)
    assert set(table["metric"]) == {"qabf"}
    assert set(table["dataset"]) == {"harvard_pet_mri", "harvard_spect_mri"}
    told = said(FIGURES["forest"].draw(table))
    assert "Difference of Qabf" in told
    assert "n = 9 pairs" in told


def test_a_term_that_passes_zero_does_not_stretch_the_scale(tables):
    table = tables["game"]
    low = table["curve"].eq("decomposition") & table["step"].gt(150)
    table = table.assign(**{name: table[name].mask(low, 1e-12) for name in ("median", "low")})
    axes = FIGURES["game"].draw(table).axes[1]
    assert axes.get_ylim()[0] > 1e-6
