"""The ranking of fusers over all metrics, and the best of each metric."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence
from fusion_evidence import a_study_of_fused_patients, a_study_of_pairs
from scipy import stats

from diffufuse.report.page import results_page
from diffufuse.report.published import COLUMNS
from diffufuse.report.rankings import kendall_tau, mean_ranks, ranking
from diffufuse.report.reported import COLUMNS as REPORTED_COLUMNS
from diffufuse.report.tables import TABLES
from diffufuse.report.tables.fusion import of_fused
from diffufuse.report.tables.fusion_ranking import ALL, BY_SEED, TAU, TRAINED, WITH_SOURCES
from diffufuse.report.writing import unmarked, write_html, write_latex

NAN = float("nan")


def built(evidence, name="fusion_ranking"):
    return TABLES[name].build(evidence)


def test_ranks_are_averaged_over_metrics_and_ties_share_them():
    means = np.array([[3.0, 1.0, 5.0], [2.0, 1.0, 6.0], [1.0, 0.0, 7.0]])
    assert mean_ranks(means) == pytest.approx([(1 + 1.5 + 3) / 3, (2 + 1.5 + 2) / 3, (3 + 3 + 1) / 3])


def test_what_differs_by_rounding_is_a_tie():
    assert mean_ranks(np.array([[0.3], [0.1 + 0.2], [0.0]])) == pytest.approx([1.5, 1.5, 3])


def test_a_metric_that_a_model_lacks_ranks_nobody():
    assert mean_ranks(np.array([[1.0, 9.0], [2.0, NAN]])) == pytest.approx([2, 1])
    assert np.isnan(mean_ranks(np.array([[NAN], [2.0]]))).all()


def test_tau_is_that_of_scipy_on_average_over_pairs_of_seeds():
    draw = np.random.default_rng(0)
    ranks = draw.integers(1, 6, (3, 8)).astype(float)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([stats.kendalltau(ranks[one], ranks[other]).statistic for one, other in pairs])
    assert kendall_tau(ranks) == pytest.approx(expected)
    assert kendall_tau(np.stack([ranks, ranks[:, ::-1]])) == pytest.approx([expected, expected])


def test_tau_of_the_same_and_the_reverse_order_and_of_one_seed():
    order = np.arange(5.0)
    assert kendall_tau(np.stack([order, order])) == 1
    assert kendall_tau(np.stack([order, -order])) == -1
    assert np.isnan(kendall_tau(order[None]))
    assert np.isnan(kendall_tau(np.stack([order, np.ones(5)])))


def test_intervals_are_narrow_where_every_patient_agrees_and_wide_where_they_do_not():
    agreed = np.tile(np.array([3.0, 2.0, 1.0])[:, None], (20, 1, 1, 1))
    found = ranking(agreed, seed=0)
    assert [tuple(one) for one in found.ranks] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert found.first == (1, 0, 0)
    split = agreed.copy()
    split[:9] = split[:9, :, ::-1]
    found = ranking(split, seed=0)
    assert found.ranks[0].value == 1
    assert (found.ranks[0].low, found.ranks[0].high) == (1, 3)
    assert found.ranks == ranking(split, seed=0).ranks


def test_a_value_that_is_undefined_is_left_out_of_its_mean():
    values = np.array([[2.0, 1.0], [NAN, 5.0], [2.0, 0.0]])[:, None, :, None]
    found = ranking(values, seed=0)
    assert [one.value for one in found.ranks] == [1.5, 1.5]
    assert found.metrics == 1
    one = ranking(values[:1], seed=0)
    assert np.isnan([one.ranks[0].low, one.ranks[0].high]).all()


def test_the_best_stands_first_and_metrics_that_are_better_low_are_turned():
    table = built(a_study_of_pairs())
    own = table[table["dataset"] == "harvard_pet_mri"]
    assert own["model"].tolist() == ["fuse4seg_leader_small", "maximum", "average"]
    assert own["trained on"].tolist() == ["harvard_pet_mri", "nothing", "nothing"]
    assert own["mean rank"].tolist() == ["1.00 [1.00, 1.00]", "2.00 [2.00, 2.00]", "3.00 [3.00, 3.00]"]
    assert own["first in"].tolist() == ["8 of 8", "0 of 8", "0 of 8"]
    assert (own["n"] == "9").all()
    assert {TAU, BY_SEED}.isdisjoint(table)


def test_metrics_that_do_not_read_the_sources_are_left_out_of_the_second_mean():
    pairs = a_study_of_pairs()
    alone = pairs.metrics["metric"].isin(["en", "sd", "sf"]) & (pairs.metrics["model"] == "average")
    noisy = replace(pairs, metrics=pairs.metrics.assign(value=pairs.metrics["value"] + 100 * alone))
    row = built(noisy).query("dataset == 'harvard_pet_mri' and model == 'average'").iloc[0]
    assert row["mean rank"].startswith(f"{(3 * 1 + 5 * 3) / 8:.2f} [")
    assert row[WITH_SOURCES].startswith("3.00 [")
    assert row["first in"] == "3 of 8"


def test_several_seeds_are_told_one_by_one_and_by_tau():
    learning = ("fuse4seg_leader_small", "fuse4seg_small", "fuse4seg_small_k3", "fuse4seg_small_no_gradient")
    models = (*learning, "average", "maximum")
    study = a_study_of_pairs(models=models, seeds=(0, 1, 2))
    other = study.metrics["model"].replace(dict(zip(learning[:2], learning[1::-1], strict=True)))
    swapped = study.metrics["model"].where(study.metrics["seed"] != 1, other)
    study = replace(study, metrics=study.metrics.assign(model=swapped))
    own = built(study).query("dataset == 'harvard_pet_mri'").set_index("model")
    qabf = study.metrics.query("dataset == 'harvard_pet_mri' and metric == 'qabf'")  # all metrics order alike here
    means = qabf.groupby(["seed", "model"])["value"].mean().unstack()[list(models)].to_numpy()
    ranks = stats.rankdata(-means, axis=1)
    for model, column in zip(models, ranks.T, strict=True):
        assert own.loc[model, BY_SEED] == ", ".join(f"{rank:.2f}" for rank in column)
    assert own.loc[learning[0], BY_SEED] == "1.00, 2.00, 1.00"
    # one pair of neighbors changes places: of 15 pairs of all, and of 6 of those that learned
    assert own.loc[ALL, TAU].startswith(f"{(1 + 2 * (1 - 2 / 15)) / 3:.2f} [")
    assert own.loc[TRAINED, TAU].startswith(f"{(1 + 2 * (1 - 2 / 6)) / 3:.2f} [")
    assert own.loc[ALL, "mean rank"] == own.loc[TRAINED, "mean rank"] == ""


def test_a_rule_has_one_row_whatever_it_is_tested_beside():
    pairs = a_study_of_pairs()
    other = pairs.metrics.query("dataset == 'harvard_spect_mri'").assign(trained_on="gfp_pc")
    twice = pairs.summary.query("dataset == 'harvard_spect_mri'").assign(trained_on="gfp_pc")
    frames = {"metrics": [pairs.metrics, other], "summary": [pairs.summary, twice]}
    both = replace(pairs, **{name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()})
    for name in ("fusion", "fusion_ranking"):
        there = built(both, name).query("dataset == 'harvard_spect_mri'")
        assert there["model"].value_counts().to_dict() == {"fuse4seg_leader_small": 2, "average": 1, "maximum": 1}
        assert set(there.query("model == 'average'")["trained on"]) == {"nothing"}
    rows = of_fused(both.summary, both)
    assert not rows.duplicated(["dataset", "trained on", "model", "metric"]).any()
    assert len(rows) == len(both.summary) - 2 * 8  # two rules, eight metrics


def test_one_fuser_has_no_ranking_and_none_a_sentence():
    assert list(built(a_study_of_pairs(models=["average"]))) == ["note"]
    assert list(built(an_evidence(patients=3))) == ["note"]


def test_the_best_mean_of_a_dataset_is_marked_low_where_low_is_better(tmp_path):
    table = built(a_study_of_fused_patients(patients=4), "fusion").set_index("model")
    for column in ("qabf", "nabf (lower is better)"):
        marked = table[column].str.startswith("**")
        assert table.index[marked].tolist() == ["fuse4seg_leader_small"]
    plain = unmarked(table)
    assert not plain.map(lambda cell: "*" in cell).any(axis=None)
    assert (plain == table.map(lambda cell: cell.strip("*"))).all(axis=None)
    write_html(table, tmp_path / "table.html", title="t")
    write_latex(table, tmp_path / "table.tex", caption="t")
    qabf = plain.loc["fuse4seg_leader_small", "qabf"]
    assert f"<td><b>{qabf}</b></td>" in (tmp_path / "table.html").read_text()
    assert rf"\textbf{{{qabf.replace('[', '{[}')}}}" in (tmp_path / "table.tex").read_text()
    assert "**" not in (tmp_path / "table.html").read_text() + (tmp_path / "table.tex").read_text()


def test_a_lone_model_is_not_marked_as_the_best():
    table = built(a_study_of_pairs(models=["average"]), "fusion")
    assert not table.map(lambda cell: "*" in cell).any(axis=None)


def test_the_page_has_the_ranking():
    tables = {"fusion_ranking": TABLES["fusion_ranking"]}
    none = {"reported": pd.DataFrame(columns=REPORTED_COLUMNS), "published": pd.DataFrame(columns=COLUMNS)}
    page = results_page(a_study_of_pairs(), tables, study="pairs", **none)
    assert "## Fusion ranking\n" in page
    assert "Kendall's tau" in page
