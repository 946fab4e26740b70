import json
import math

import numpy as np
import pandas as pd
import pytest

from diffufuse import tables
from diffufuse.metrics import METRICS, evaluate_case
from diffufuse.reporting import TABLES
from diffufuse.reporting.cells import points, probability, three_digits
from diffufuse.reporting.comparison import NOTHING, compare, comparison
from diffufuse.reporting.drops import missing_modalities, robustness
from diffufuse.reporting.evidence import Evidence, read_evidence
from diffufuse.reporting.page import results_page
from diffufuse.reporting.patients import per_patient, summarize, summary_record
from diffufuse.reporting.runs import collect_runs
from diffufuse.reporting.segmentation import segmentation
from diffufuse.reporting.writing import write_csv, write_html, write_markdown
from diffufuse.statistics import bootstrap_interval, signed_rank_p

PERFORMANCE = ("dice", "iou", "hd95", "precision", "recall")
PATIENTS = {"A-1": "A", "A-2": "A", "B-1": "B", "C-1": "C"}
RUN = {"dataset": "sts", "trained_on": "sts", "fold": 0, "region": "tumor"}
COUNTS = {"missed": 0.0, "spurious": 0.0, "both_empty": 0.0}


def frame_of(*records):
    """A metrics table from (case, condition, model, seed, {metric: value})."""
    rows = [
        RUN | {"case": case, "condition": condition, "model": model, "seed": seed} | {"metric": name, "value": value}
        for case, condition, model, seed, values in records
        for name, value in values.items()
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(unit=[METRICS[name].unit for name in frame["metric"]])[tables.METRICS.names]


TRAINING = {"patch": [80, 80, 1], "modality_dropout": 0.5, "corruption": {"probability": 0.25}}
PLAN = {
    "dataset": "sts",
    "model": "unet2d",
    "fold": 0,
    "seed": 0,
    "block": {"architecture": "unet2d", "settings": {}, "training": TRAINING},
    "corruptions": [{"name": "gauss-0.1", "corruption": "gaussian_noise"}, {"name": "drift", "corruption": "drift"}],
}
RECORD = {
    "parameters": 1_004_000,
    "macs_per_sample": 256_000_000,
    "steps": 1200,
    "duration_s": 700.0,
    "seconds_per_step": 0.5,
    "device": "cpu",
    "threads": 1,
    "precision": "32-true",
    "commit": "0123456789abcdef-dirty",
    "versions": {"torch": "2.13.0+cpu"},
    "started_unix_s": 1_795_239_186.4,
}
CONDITIONS = {
    "clean": {},
    "no-pet": {"absent": ["pet"]},
    "gauss-0.5": {"corruption": "gaussian_noise", "settings": {}},
    "bias": {"corruption": "bias_field", "settings": {}},
}


def runs_in(folder, *changes, trained_as):
    """The runs table of trainings that differ from `PLAN` and `RECORD` by the changes."""
    paths = []
    for number, change in enumerate(changes):
        (folder / str(number)).mkdir()
        for name, content in {"plan": PLAN, "run": RECORD}.items():
            kept = {key: value for key, value in change.items() if key in content}
            tables.write_record(content | kept, folder / str(number) / f"{name}.json")
        paths.append(folder / str(number) / "weights.safetensors")
    return collect_runs(paths, trained_as=trained_as)


def evidence_of(*records, asked=PERFORMANCE, runs=None, patients=PATIENTS, **changes):
    """What a study found whose metrics are those records."""
    metrics = frame_of(*records)
    summary = summarize(metrics, patients, excluded={"sts": 2}, study_seed=1)
    runs = pd.DataFrame(columns=tables.RUNS.names) if runs is None else runs
    known = {"conditions": CONDITIONS, "compare_with": "unet2d", "study_seed": 1} | changes
    return Evidence(metrics, summary, runs, patients, asked=asked, **known)


def format_table(*records, **changes):
    return segmentation(evidence_of(*records, **changes))


def summary_of(*records):
    return summarize(frame_of(*records), PATIENTS, excluded={"sts": 2}, study_seed=1)


def row_of(summary, metric="dice"):
    return summary[summary["metric"] == metric].iloc[0]


def full(**changes):
    return dict.fromkeys(PERFORMANCE, 0.5) | COUNTS | changes


def test_examinations_and_seeds_of_a_patient_count_once():
    summary = summary_of(
        ("A-1", "clean", "unet2d", 0, {"dice": 0.2}),
        ("A-1", "clean", "unet2d", 1, {"dice": 0.4}),
        ("A-2", "clean", "unet2d", 0, {"dice": 0.6}),
        ("B-1", "clean", "unet2d", 0, {"dice": 0.8}),
    )
    row = row_of(summary)
    assert row["patients"] == 2
    assert row["mean"] == pytest.approx((0.4 + 0.8) / 2)
    assert (row["minimum"], row["maximum"]) == pytest.approx((0.4, 0.8))
    assert row["mean_low"] <= row["mean"] <= row["mean_high"]


def test_excluded_cases_are_counted_in_the_summary_and_in_the_table():
    record = ("A-1", "clean", "unet2d", 0, full())
    assert set(summary_of(record)["excluded"]) == {2}
    assert format_table(record)["excluded"].tolist() == ["2"]


def test_undefined_values_are_counted_and_left_out():
    row = row_of(
        summary_of(
            ("A-1", "clean", "unet2d", 0, {"hd95": 4.0}),
            ("B-1", "clean", "unet2d", 0, {"hd95": math.nan}),
            ("C-1", "clean", "unet2d", 0, {"hd95": 6.0}),
        ),
        "hd95",
    )
    assert (row["patients"], row["undefined"], row["mean"], row["unit"]) == (3, 1, 5.0, "mm")


def test_one_undefined_run_leaves_its_patient_undefined():
    frame = frame_of(
        ("A-1", "clean", "unet2d", 0, {"precision": 0.9}),
        ("A-1", "clean", "unet2d", 1, {"precision": math.nan}),
    )
    assert per_patient(frame, PATIENTS)["value"].isna().all()


def test_all_undefined_stays_undefined_to_the_last_table(tmp_path):
    values = ("B-1", "clean", "unet2d", 0, full(hd95=math.nan))
    summary = summary_of(values)
    record = summary_record(summary)["sts/clean/sts/unet2d/tumor/hd95"]
    assert record["mean"] is record["mean_low"] is record["median"] is None
    assert (record["patients"], record["undefined"]) == (1, 1)
    assert format_table(values)["hd95 (mm)"].tolist() == ["undefined"]
    tables.write_record(summary_record(summary), tmp_path / "summary.json")
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_the_summary_fits_its_schema(tmp_path):
    summary = summary_of(("A-1", "clean", "unet2d", 0, full()), ("B-1", "clean", "unet2d", 0, full(hd95=math.nan)))
    tables.write_table(summary, tmp_path / "summary.parquet", tables.SUMMARY)
    assert len(tables.read_table(tmp_path / "summary.parquet", tables.SUMMARY)) == len(full())


def test_models_and_conditions_stay_apart_and_in_their_order():
    summary = summary_of(
        ("A-1", "no-pet", "unet2d", 0, {"dice": 0.1}),
        ("A-1", "clean", "unet2d", 0, {"dice": 0.2}),
        ("A-1", "clean", "average", 0, {"dice": 0.3}),
    )
    found = summary[["condition", "model", "mean"]].to_numpy().tolist()
    assert found == [["no-pet", "unet2d", 0.1], ["clean", "unet2d", 0.2], ["clean", "average", 0.3]]


def test_a_row_keeps_its_interval_when_others_are_added():
    few = [(case, "clean", "unet2d", 0, {"dice": value}) for case, value in (("A-1", 0.2), ("B-1", 0.5), ("C-1", 0.9))]
    more = [(case, "no-pet", "unet2d", 0, values) for case, _, _, _, values in few]
    assert row_of(summary_of(*few)).equals(row_of(summary_of(*more, *few).query("condition == 'clean'")))


def test_a_cell_tells_mean_interval_and_how_many_when_some_are_undefined():
    values = {"A-1": (0.2, 4.0), "B-1": (0.5, math.nan), "C-1": (0.9, 6.0)}
    records = [(case, "clean", "unet2d", 0, full(dice=d, hd95=h)) for case, (d, h) in values.items()]
    row = format_table(*records).iloc[0]
    dice = row_of(summary_of(*records))
    assert row["dice"] == f"0.533 [{dice['mean_low']:.2f}, {dice['mean_high']:.2f}]"
    assert row["hd95 (mm)"].startswith("5.0 [")
    assert row["hd95 (mm)"].endswith("(n=2)")
    assert row["patients"] == "3"


def test_a_metric_that_one_model_lacks_is_an_empty_cell():
    without = {name: value for name, value in full().items() if name != "hd95"}
    table = format_table(("A-1", "clean", "unet2d", 0, full()), ("A-1", "clean", "average", 0, without))
    assert table["hd95 (mm)"].tolist() == ["0.5", ""]


def test_one_patient_has_a_mean_without_interval():
    assert format_table(("A-1", "clean", "unet2d", 0, full(dice=0.7))).loc[0, "dice"] == "0.700"


def test_missed_and_spurious_cases_are_printed_as_numbers():
    table = format_table(
        ("A-1", "clean", "unet2d", 0, full(missed=1.0)),
        ("B-1", "clean", "unet2d", 0, full(missed=1.0)),
        ("C-1", "clean", "unet2d", 0, full(spurious=1.0)),
    )
    assert table.loc[0, ["missed", "spurious", "both_empty"]].tolist() == ["2", "1", "0"]


def test_a_table_without_its_counts_is_refused():
    with pytest.raises(ValueError, match="got missed, spurious, both_empty"):
        format_table(("A-1", "clean", "unet2d", 0, dict.fromkeys(PERFORMANCE, 0.5)))


def test_what_a_case_evaluates_to_can_be_tabled():
    some = np.ones((3, 3, 3), bool)
    values = evaluate_case(~some, some, spacing_mm=(1.0, 1.0, 1.0), metrics=PERFORMANCE)
    row = format_table(("A-1", "clean", "unet2d", 0, values)).iloc[0]
    assert row[["dice", "hd95 (mm)", "precision", "missed"]].tolist() == ["0.000", "5.2", "undefined", "1"]


def test_a_case_without_patient_is_refused():
    with pytest.raises(ValueError, match="none for D-1"):
        summary_of(("D-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_a_value_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"got twice .*'case': 'A-1'"):
        summary_of(("A-1", "clean", "unet2d", 0, {"dice": 0.1}), ("A-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_written_tables_are_text_that_others_can_read(tmp_path):
    table = format_table(("A-1", "clean", "unet2d", 0, full(dice=0.7)), ("B-1", "no-pet", "x", 0, full()))
    write_csv(table, tmp_path / "table.csv")
    write_markdown(table, tmp_path / "table.md", note="Data: CC BY 3.0.")
    write_html(table, tmp_path / "table.html", title="A study", note="p < 0.05")
    assert "p &lt; 0.05" in (tmp_path / "table.html").read_text()
    assert pd.read_csv(tmp_path / "table.csv", dtype=str).equals(table)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2].split("|")[5].strip() == "1"
    assert "0.700" in lines[2]
    assert lines[-1] == "Data: CC BY 3.0."


def test_the_record_is_plain_json():
    record = summary_record(summary_of(("A-1", "clean", "unet2d", 0, {"dice": 0.25})))
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["sts/clean/sts/unet2d/tumor/dice"]["mean"] == 0.25


def test_a_run_is_collected_with_its_cost(tmp_path):
    runs = runs_in(tmp_path, {}, trained_as={"unet2d": "unet2d"})
    tables.write_table(runs, tmp_path / "runs.parquet", tables.RUNS)
    [row] = tables.read_table(tmp_path / "runs.parquet", tables.RUNS).to_dict("records")
    assert row["voxels_per_sample"] == 80 * 80
    assert (row["corruptions"], row["modality_dropout"]) == ("drift,gaussian_noise", 0.5)
    assert (row["torch"], row["steps"], row["trained_as"]) == ("2.13.0+cpu", 1200, "unet2d")


def test_a_model_that_uses_the_weights_of_another_has_its_rows(tmp_path):
    trained_as = {"variant": "unet2d", "unet2d": "unet2d"}
    runs = runs_in(tmp_path, {"fold": 0}, {"fold": 1}, {"model": "other"}, trained_as=trained_as)
    assert runs["model"].tolist() == ["variant", "variant", "unet2d", "unet2d"]
    own, borrowed = (runs[runs["model"] == name].drop(columns="model") for name in ("unet2d", "variant"))
    assert own.to_dict("records") == borrowed.to_dict("records")


def test_costs_compare_between_slices_and_volumes(tmp_path):
    volume = {"architecture": "unet3d", "settings": {}, "training": TRAINING | {"patch": [80, 80, 12]}}
    same = {"model": "unet3d", "block": volume, "macs_per_sample": 12 * RECORD["macs_per_sample"]}
    runs = runs_in(tmp_path, {}, same, trained_as={"unet2d": "unet2d", "unet3d": "unet3d"})
    models = [("A-1", "clean", model, 0, full()) for model in ("unet2d", "unet3d", "average")]
    table = segmentation(evidence_of(*models, runs=runs))
    assert table["GMACs per million voxels"].tolist() == ["40", "40", ""]
    assert table["parameters (M)"].tolist() == ["1.00", "1.00", ""]
    assert table["steps"].tolist() == ["1200", "1200", ""]
    assert table["training (s)"].tolist() == ["600", "600", ""]


def test_neighboring_slices_that_are_read_are_not_counted_as_predicted(tmp_path):
    block = {"architecture": "unet2d", "settings": {}, "training": TRAINING | {"patch": [80, 80, 3]}}
    [voxels] = runs_in(tmp_path, {"block": block}, trained_as={"unet2d": "unet2d"})["voxels_per_sample"]
    assert voxels == 80 * 80


PEOPLE = {f"P-{number}": f"P-{number}" for number in range(8)}
OTHER = [0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.2]
BASE = [0.8, 0.6, 0.7, 0.4, 0.2, 0.1, 0.5, 0.3]


def pairs_of(condition="clean", metric="dice", **models):
    """One value per person and model."""
    return [
        (case, condition, model, 0, {metric: value})
        for model, values in models.items()
        for case, value in zip(PEOPLE, values, strict=True)
    ]


def compared(*records, asked=("dice",), **changes):
    return evidence_of(*records, asked=asked, patients=PEOPLE, **changes)


def test_a_comparison_is_paired_over_patients():
    [row] = compare(compared(*pairs_of(unet2d=BASE, better=OTHER))).to_dict("records")
    differences = np.subtract(OTHER, BASE)
    assert (row["model"], row["patients"], row["left_out"], row["zero"]) == ("better", 8, 0, 1)
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["p"] == row["p_holm"] == signed_rank_p(differences)


def test_the_order_of_the_patients_does_not_matter():
    records = pairs_of(unet2d=BASE, better=OTHER)
    assert compare(compared(*records)).equals(compare(compared(*records[8:], *records[:8])))


def test_seeds_of_a_patient_make_one_pair():
    again = [(case, condition, model, 1, values) for case, condition, model, _, values in pairs_of(unet2d=BASE)]
    found = compare(compared(*pairs_of(unet2d=BASE, better=OTHER), *again))
    assert found["patients"].tolist() == [8]


def test_pairs_with_an_undefined_or_absent_member_are_left_out_and_counted():
    undefined = pairs_of(metric="hd95", unet2d=[1.0] * 8, other=[math.nan, *[2.0] * 7])
    [row] = compare(compared(*undefined[:-1], asked=("hd95",))).to_dict("records")
    assert (row["patients"], row["left_out"], row["difference"]) == (6, 2, 1.0)


def test_the_family_of_an_adjustment_is_one_metric_and_one_condition():
    worse = [value - 0.1 for value in BASE]
    alone = compare(compared(*pairs_of(unet2d=BASE, better=OTHER)))
    models = {"unet2d": BASE, "better": OTHER, "worse": worse}
    both = compare(compared(*pairs_of(**models), *pairs_of("no-pet", unet2d=BASE, better=OTHER)))
    clean, no_pet = (both[both["condition"] == name] for name in ("clean", "no-pet"))
    assert no_pet["p_holm"].tolist() == alone["p_holm"].tolist()
    low, high = sorted(clean["p"])
    assert sorted(clean["p_holm"]) == pytest.approx([2 * low, max(2 * low, high)])


def test_comparisons_stand_by_metric_then_condition_and_only_what_was_asked():
    values = [*pairs_of(metric="hd95", unet2d=BASE, b=OTHER), *pairs_of(metric="ece", unet2d=BASE, b=OTHER)]
    dice = [*pairs_of("no-pet", unet2d=BASE, b=OTHER), *pairs_of(unet2d=BASE, b=OTHER)]
    found = compare(compared(*values, *dice, asked=("dice", "hd95")))
    assert found[["metric", "condition"]].to_numpy().tolist() == [
        ["dice", "no-pet"],
        ["dice", "clean"],
        ["hd95", "clean"],
    ]
    assert "ece" in set(compare(compared(*values, asked=("ece",)))["metric"])


def test_the_model_to_compare_with_is_chosen():
    records = pairs_of(unet2d=BASE, better=OTHER)
    forth = compare(compared(*records))["difference"].tolist()
    back = compare(compared(*records, compare_with="better"))
    assert back["model"].tolist() == ["unet2d"]
    assert back["difference"].tolist() == pytest.approx([-value for value in forth])


def test_a_comparison_is_printed_with_interval_and_p():
    row = comparison(compared(*pairs_of(unet2d=BASE, better=OTHER))).iloc[0]
    low, high = bootstrap_interval(np.subtract(OTHER, BASE), seed=1)
    assert row["mean difference"].startswith("+0.188 [")
    assert float(row["mean difference"].split("[")[1].split(",")[0]) == pytest.approx(low, abs=0.02)
    assert (row["model"], row["against"], row["zero"]) == ("better", "unet2d", "1")
    assert row["p"] == probability(signed_rank_p(np.subtract(OTHER, BASE)))
    assert low < high


def test_equal_models_differ_by_nothing_and_few_patients_say_too_few():
    equal = comparison(compared(*pairs_of(unet2d=BASE, same=BASE))).iloc[0]
    assert equal[["mean difference", "Hodges-Lehmann", "p", "zero"]].tolist() == [
        "+0.000 [0.000, 0.000]",
        "+0.000",
        "1.0",
        "8",
    ]
    few = [record for record in pairs_of(unet2d=BASE, better=OTHER) if record[0] < "P-5"]
    assert comparison(compared(*few)).loc[0, ["p", "p (Holm)"]].tolist() == ["too few", "too few"]


def test_a_study_that_compares_no_metric_has_an_empty_comparison():
    records = pairs_of(metric="iou", unet2d=BASE, better=OTHER)
    assert comparison(compared(*records, asked=("iou",)))["note"].tolist() == [NOTHING]


def test_two_models_that_share_no_defined_value_are_undefined():
    records = pairs_of(metric="hd95", unet2d=[math.nan] * 8, other=[2.0] * 8)
    row = comparison(compared(*records, asked=("hd95",))).iloc[0]
    assert row[["left_out", "mean difference", "p (Holm)"]].tolist() == ["8", "undefined", "too few"]


def test_one_model_alone_is_told_in_one_row():
    assert comparison(compared(*pairs_of(unet2d=BASE)))["note"].tolist() == [NOTHING]


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.05, "0.050"), (0.0012, "0.0012"), (0.000999, "< 0.001"), (1.0, "1.0"), (0.234, "0.23"), (math.nan, "too few")],
)
def test_a_p_has_two_significant_digits(p, text):
    assert probability(p) == text


def test_points_have_a_sign_and_no_negative_zero():
    assert [points(value) for value in (0.123, -0.0561, -0.0004, math.nan)] == ["+12.3", "-5.6", "+0.0", ""]


def test_three_digits_never_are_a_power_of_ten():
    assert [three_digits(value) for value in (123456, 0.4567, 0, math.nan)] == ["123000", "0.457", "0", ""]


def harmed(tmp_path, **changes):
    """Two models under three conditions; the second learned without any harm."""
    plain = TRAINING | {"modality_dropout": 0.0, "corruption": {"probability": 0.0}}
    block = {"architecture": "unet2d", "settings": {}, "training": plain}
    names = {"unet2d": "unet2d", "plain": "plain"}
    records = [
        *pairs_of(unet2d=BASE, plain=BASE),
        *pairs_of("no-pet", unet2d=[value - 0.1 for value in BASE], plain=BASE),
        *pairs_of("gauss-0.5", unet2d=[value + 0.05 for value in BASE], plain=BASE),
        *pairs_of("bias", unet2d=BASE, plain=BASE),
    ]
    runs = runs_in(tmp_path, {}, {"model": "plain", "block": block}, trained_as=names)
    return compared(*records, runs=runs, **changes)


def test_missing_modalities_tell_the_drop_in_points_and_who_never_met_them(tmp_path):
    table = missing_modalities(harmed(tmp_path))
    assert table[["condition", "unet2d", "plain"]].to_numpy().tolist() == [
        ["clean", "0.450", "0.450"],
        ["no-pet", "0.350 (-10.0)", "0.450 (+0.0) unseen"],
    ]


def test_robustness_marks_the_corruptions_that_a_training_never_met(tmp_path):
    table = robustness(harmed(tmp_path))
    assert table[["condition", "unet2d", "plain"]].to_numpy().tolist() == [
        ["clean", "0.450", "0.450"],
        ["gauss-0.5", "0.500 (+5.0)", "0.450 (+0.0) unseen"],
        ["bias", "0.450 (+0.0) unseen", "0.450 (+0.0) unseen"],
    ]


def test_a_drop_is_paired_over_the_patients_that_have_both():
    records = [
        ("P-0", "clean", "unet2d", 0, {"dice": 0.9}),
        ("P-1", "clean", "unet2d", 0, {"dice": 0.1}),
        ("P-0", "no-pet", "unet2d", 0, {"dice": 0.7}),
    ]
    assert missing_modalities(compared(*records))["unet2d"].tolist() == ["0.500", "0.700 (-20.0)"]


def test_a_study_without_such_conditions_says_so():
    found = compared(*pairs_of(unet2d=BASE), conditions={"clean": {}})
    assert missing_modalities(found)["note"].tolist() == ["No condition of this study withholds a modality."]
    assert robustness(found)["note"].tolist() == ["No condition of this study corrupts an image."]


def test_a_column_that_repeats_the_dataset_is_left_out_and_another_is_kept():
    found = compared(*pairs_of(unet2d=BASE, better=OTHER), *pairs_of("no-pet", unet2d=BASE, better=BASE))
    assert "trained_on" not in comparison(found)
    elsewhere = {"metrics": found.metrics.assign(trained_on="brats")}
    other = Evidence(**(vars(found) | elsewhere))
    assert "trained_on" in comparison(other)
    assert "trained_on" in missing_modalities(other)


def test_the_page_tells_where_the_numbers_come_from_and_what_they_show(tmp_path):
    apart = [value + 0.1 + 0.01 * number for number, value in enumerate(BASE)]
    runs = runs_in(tmp_path, {}, {"fold": 1, "commit": "fedcba9876543210"}, trained_as={"unet2d": "unet2d"})
    values = [
        (case, condition, model, seed, {**full(), **dice})
        for case, condition, model, seed, dice in pairs_of(unet2d=BASE, better=apart, same=BASE)
    ]
    page = results_page(compared(*values, runs=runs), TABLES, study="a_study")
    assert page.startswith(
        "# Results of the study a_study\n\nSegmentation of tumor in sts: 3 models under 1 condition."
    )
    for told in (
        "- Patients: sts: 8 patients, 2 cases excluded.",
        "- Folds 0; seeds 0; study seed 1.",
        "- Code: commit 0123456789-dirty, fedcba9876; torch 2.13.0+cpu.",
        "- Trained 2026-11-21 on cpu, 1 thread, 32-true.",
        "- dice, clean: differ: better (+0.135); not shown to differ: same.",
        *(f"## {name}" for name in ("Segmentation", "Comparison", "Missing modalities", "Robustness")),
        *(table.reading for table in TABLES.values()),
    ):
        assert told in page


def test_the_page_of_one_model_has_no_verdicts():
    page = results_page(compared(*pairs_of(unet2d=BASE)), {"comparison": TABLES["comparison"]}, study="one")
    assert "1 model under" in page
    assert "What is shown" not in page


def test_evidence_is_read_as_it_was_written(tmp_path):
    found = compared(*pairs_of(unet2d=BASE), runs=runs_in(tmp_path, {}, trained_as={"unet2d": "unet2d"}))
    stored = {"metrics": tables.METRICS, "summary": tables.SUMMARY, "runs": tables.RUNS}
    for name, schema in stored.items():
        tables.write_table(getattr(found, name), tmp_path / f"{name}.parquet", schema)
    rows = [f"{case}\t{case}\t0\t-\t\t-" for case in PEOPLE]
    (tmp_path / "sts.tsv").write_text("\n".join(["case\tpatient\tfold\tvalidates\tsite\texcluded", *rows]))
    known = {name: getattr(found, name) for name in ("conditions", "asked", "compare_with", "study_seed")}
    paths = {name: tmp_path / f"{name}.parquet" for name in stored}
    read = read_evidence(**paths, cohorts=[tmp_path / "sts.tsv"], **known)
    assert read.patients == PEOPLE
    assert read.metrics["value"].tolist() == BASE
    assert read.runs["parameters"].tolist() == [1_004_000]
