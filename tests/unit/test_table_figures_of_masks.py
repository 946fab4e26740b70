from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence

from diffufuse.report.cells import probability
from diffufuse.report.figures import FIGURES
from diffufuse.report.figures.risk_coverage import retained_risk
from diffufuse.report.patients import patient_statistics
from diffufuse.report.statistics import aurc
from diffufuse.report.tables.comparison import compare

FIRST, UNIFORM = "diffufusemed_small", "diffufusemed_small_uniform_gates"
KEY = ["dataset", "region", "condition", "model"]
MEANS = ["mean", "mean_low", "mean_high"]
PLAIN = (FIRST, "unet2d_small")


@pytest.fixture(scope="module")
def evidence():
    return an_evidence(patients=8)


@pytest.fixture(scope="module")
def tables(evidence):
    names = set(FIGURES) - {"roc", "precision_recall", "reliability"}
    return {name: FIGURES[name].data(evidence) for name in names}


@pytest.fixture(scope="module")
def figures(tables):
    return {name: FIGURES[name].draw(table) for name, table in tables.items()}


def draw(name, evidence):
    return FIGURES[name].draw(FIGURES[name].data(evidence))


def said(figure):
    return " ".join(" ".join(text.get_text() for text in figure.findobj(mpl.text.Text)).split())


def same_means(table, evidence, metric="dice"):
    known = evidence.summary.query("dataset == 'sts_ibsi' and metric == @metric")
    both = table.merge(known, on=KEY, suffixes=("", "_known"))
    assert len(both) == len(table) > 0
    assert both[MEANS].to_numpy() == pytest.approx(both[[f"{name}_known" for name in MEANS]].to_numpy())


def only(evidence, *conditions):
    return replace(
        evidence,
        conditions={name: evidence.conditions[name] for name in conditions},
        metrics=evidence.metrics[evidence.metrics["condition"].isin(conditions)],
        summary=evidence.summary[evidence.summary["condition"].isin(conditions)],
    )


def changed(evidence, *, where, value):
    metrics = evidence.metrics.copy()
    metrics.loc[metrics.eval(where), "value"] = value
    return replace(evidence, metrics=metrics)


def test_dice_has_a_panel_per_model_and_a_line_per_patient(tables, figures):
    panels = figures["dice_by_condition"].axes
    assert len(panels) == tables["dice_by_condition"]["model"].nunique() + 1
    lines = [line for line in panels[0].lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 8]
    assert len(lines) == 8


def test_dice_shows_the_means_and_intervals_of_the_summary(evidence, tables, figures):
    summary = patient_statistics(
        evidence.in_domain.query("metric == 'dice' and model == @FIRST"), evidence.patients, study_seed=1
    )
    points, _, (sticks,) = figures["dice_by_condition"].axes[0].containers[0].lines
    assert points.get_ydata() == pytest.approx(summary["mean"].to_numpy())
    ends = np.array([segment[:, 1] for segment in sticks.get_segments()])
    assert ends == pytest.approx(summary[["mean_low", "mean_high"]].to_numpy())
    same_means(tables["dice_by_condition"].drop_duplicates(KEY), evidence)


def test_a_patient_who_was_not_tested_under_every_condition_is_counted_so(evidence):
    fewer = evidence.metrics.query("condition != 'no-pet' or case != 'STS-001'")
    assert "n = 7 to 8 patients" in said(draw("dice_by_condition", replace(evidence, metrics=fewer)))


def test_sixty_conditions_stay_on_the_page(evidence):
    names = [f"gauss-{number}-pet" for number in range(60)]
    frames = {name: getattr(evidence, name).query("condition == 'clean'") for name in ("metrics", "summary")}
    few = {name: frame[frame["model"].isin(PLAIN)] for name, frame in frames.items()}
    many = {name: pd.concat([frame.assign(condition=label) for label in names]) for name, frame in few.items()}
    figure = draw("dice_by_condition", replace(evidence, **many))
    assert figure.get_figwidth() <= 13
    assert len(figure.axes) == len(PLAIN)
    assert len(figure.axes[0].get_xticks()) == 60


def test_noise_is_that_on_all_modalities_and_means_are_those_of_the_summary(evidence, tables):
    table = tables["dice_by_noise"]
    strengths = table.drop_duplicates("condition").set_index("condition")["noise_sd"].to_dict()
    assert strengths == {"clean": 0.0, "gauss-0.1": 0.1, "gauss-0.3": 0.3, "gauss-0.5": 0.5}
    for metric in ("dice", "iou"):
        same_means(table[table["metric"] == metric], evidence, metric)


def test_without_noise_there_is_no_curve_of_it(evidence):
    assert "Gaussian noise" in FIGURES["dice_by_noise"].data(only(evidence, "clean", "bias"))["note"].iloc[0]


def test_withheld_modalities_stand_beside_clean_with_the_gates_own_and_uniform(evidence, tables, figures):
    table = tables["missing_modalities"]
    assert list(dict.fromkeys(table["condition"])) == ["clean", "no-pet", "only-t1"]
    assert set(table["model"]) == {FIRST, UNIFORM, "multi_encoder_small", "unet2d_small"}
    assert set(table.loc[table["gates"] == "uniform", "model"]) == {UNIFORM}
    same_means(table, evidence)
    marks = {bars.get_label(): bars.lines[0] for bars in figures["missing_modalities"].axes[0].containers}
    assert list(marks)[:2] == [FIRST, UNIFORM]
    assert marks[UNIFORM].get_markerfacecolor() == "white"
    assert "uniform gates" in said(figures["missing_modalities"])


def test_withheld_modalities_can_be_drawn_without_a_model_of_uniform_gates():
    figure = draw("missing_modalities", an_evidence(patients=2, models=PLAIN))
    assert [bars.get_label() for bars in figure.axes[0].containers] == list(PLAIN)
    assert "uniform" not in said(figure)


def test_a_study_that_withholds_nothing_says_so(evidence):
    assert "withheld" in FIGURES["missing_modalities"].data(only(evidence, "clean", "bias"))["note"].iloc[0]


def test_transfers_that_were_refused_are_named_and_not_drawn_as_zero(evidence, tables, figures):
    figure = figures["transfer"]
    assert "not tested: sts_ibsi to btcv (organs, no lesion)" in said(figure)
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    table = tables["transfer"].query("refused == ''")
    assert sorted(bars) == pytest.approx(sorted(table["mean"]))
    assert set(table["dataset"]) == {"sts_ibsi", "brats"}
    same_means(table.query("dataset == 'sts_ibsi'").assign(condition="clean"), evidence)
    assert said(figure).count("n=2") == table["model"].nunique()


def test_a_study_of_which_every_transfer_is_refused_says_why(evidence):
    home = {name: getattr(evidence, name).query("dataset == 'sts_ibsi'") for name in ("metrics", "summary")}
    refused = replace(evidence, transfers=["btcv"], **home)
    assert "btcv (organs, no lesion)" in said(draw("transfer", refused))
    assert "no other dataset" in said(draw("transfer", replace(refused, transfers=[])))


def test_latencies_are_all_shown_with_their_median_and_95th_percentile(evidence, tables, figures):
    for model, rows in tables["latency"].groupby("model"):
        repeats = evidence.latencies.loc[evidence.latencies["model"] == model, "milliseconds"]
        assert sorted(rows["milliseconds"]) == sorted(repeats)
        assert rows["median_ms"].unique() == pytest.approx([np.median(repeats)])
        assert rows["p95_ms"].unique() == pytest.approx([np.percentile(repeats, 95)])
    assert "cpu, 1 thread, 32-true, batch 1" in said(figures["latency"])
    assert "6\u202f400 voxels" in "".join(text.get_text() for text in figures["latency"].findobj(mpl.text.Text))


def test_latencies_of_two_machines_are_two_panels(evidence):
    other = evidence.latencies.assign(device="gpu", milliseconds=evidence.latencies["milliseconds"] / 40)
    both = pd.concat([evidence.latencies, other], ignore_index=True)
    assert len(draw("latency", replace(evidence, latencies=both)).axes) == 2


def test_ablations_stand_in_the_order_of_the_paper_with_every_patient(evidence, tables, figures):
    rows = tables["ablation"].drop_duplicates("model")
    assert rows["ablation"].tolist() == ["full model", "no diffusion", "CNN backbone alone"]
    assert rows["model"].tolist() == [FIRST, f"{FIRST}_no_diffusion", "multi_encoder_small"]
    dice = evidence.in_domain.query("metric == 'dice' and condition == 'clean' and model == @FIRST")["value"]
    first = tables["ablation"].query("model == @FIRST")
    assert sorted(first["value"]) == pytest.approx(sorted(dice))
    assert first["median"].unique() == pytest.approx([np.median(dice)])
    assert f"{np.median(dice):.3f}" in said(figures["ablation"])


def test_patients_are_sorted_by_the_model_that_all_are_compared_with(tables):
    first = tables["patients"].query("model == @FIRST")["value"]
    assert first.is_monotonic_decreasing
    others = tables["patients"].query("model == 'unet2d_small'")["patient"].tolist()
    assert others == tables["patients"].query("model == @FIRST")["patient"].tolist()


def test_many_patients_make_the_figure_taller(tables, figures):
    more = pd.concat([tables["patients"].assign(patient=tables["patients"]["patient"] + f"-{n}") for n in range(9)])
    taller = FIGURES["patients"].draw(more).get_figheight() - figures["patients"].get_figheight()
    assert taller > 0.1 * 8 * 8


def test_the_forest_has_the_numbers_of_the_comparison(evidence, tables, figures):
    known = compare(evidence).query("metric == 'dice'")
    both = tables["forest"].merge(known, on=KEY, suffixes=("", "_known"))
    assert len(both) == len(known) == len(tables["forest"])
    for name in ("difference", "low", "high", "hodges_lehmann", "p_holm"):
        assert both[name].to_numpy() == pytest.approx(both[f"{name}_known"].to_numpy(), nan_ok=True)
    assert f"favors {FIRST}" in said(figures["forest"])
    printed = [text.get_text() for text in figures["forest"].axes[0].texts[::2]]
    clean = tables["forest"].query("condition == 'clean'")
    assert printed == [*map(probability, clean["p_holm"]), "p (Holm)"]
    assert printed[:-1] != [*map(probability, clean["p"])]


@pytest.mark.parametrize("side", [-1, 1])
def test_zero_is_always_in_the_view_of_a_forest(tables, side):
    far = tables["forest"].assign(low=0.3 * side, high=0.5 * side, difference=0.4 * side, hodges_lehmann=0.4 * side)
    low, high = FIGURES["forest"].draw(far).axes[0].get_xlim()
    assert low < 0 < high


def test_with_too_few_patients_the_forest_refuses_a_p():
    assert said(draw("forest", an_evidence(patients=3, models=PLAIN))).count("refused") == 8


def test_the_risk_of_those_retained_is_known_for_three_patients():
    risk = np.array([0.6, 0.1, 0.2])
    assert retained_risk(risk, risk) == pytest.approx([0.1, 0.15, 0.3])
    assert retained_risk(risk, -risk) == pytest.approx([0.6, 0.4, 0.3])
    assert retained_risk(risk, np.zeros(3)) == pytest.approx([0.3, 0.3, 0.3])
    assert retained_risk(risk, np.array([np.nan, 5.0, 7.0])) == pytest.approx([0.1, 0.15, 0.3])


def test_the_area_of_risk_and_coverage_is_that_of_statistics(tables):
    for _, rows in tables["risk_coverage"].groupby("model"):
        assert rows["mean_risk"].mean() == pytest.approx(rows["aurc"].iloc[0])
        assert rows["oracle"].mean() == pytest.approx(rows["aurc_oracle"].iloc[0])
        assert rows["aurc"].iloc[0] == pytest.approx(aurc(rows["risk"].to_numpy(), rows["uncertainty"].to_numpy()))
        assert (rows["oracle"] <= rows["mean_risk"] + 1e-12).all()


def test_a_patient_of_undefined_uncertainty_is_the_most_uncertain(evidence):
    where = "metric == 'uncertainty_body' and condition == 'clean' and case == 'STS-003'"
    table = FIGURES["risk_coverage"].data(changed(evidence, where=where, value=np.nan))
    last = table[table["retained"] == 1]
    assert set(last["patient"]) == {"STS-003"}
    assert last["uncertainty"].isna().all()
    means = table.groupby("model")["mean_risk"].mean().to_numpy()
    assert means == pytest.approx(table.groupby("model")["aurc"].first().to_numpy())


def test_without_uncertainty_there_is_no_risk_coverage(evidence):
    fewer = replace(evidence, metrics=evidence.metrics.query("metric != 'uncertainty_body'"))
    assert "uncertainty_body" in FIGURES["risk_coverage"].data(fewer)["note"].iloc[0]
