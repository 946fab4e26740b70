import json
import math

import numpy as np
import pandas as pd
import pytest
from small_studies import (
    PATIENTS,
    PERFORMANCE,
    RECORD,
    TRAINING,
    evidence_of,
    frame_of,
    full,
    runs_in,
)

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import record_text
from diffufuse.files.tables import read_table, write_table
from diffufuse.metrics.catalogue import evaluate
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.joined import JOINED
from diffufuse.report.patients import headline, patient_values, per_patient, summarize
from diffufuse.report.schemas import RUNS, SUMMARY
from diffufuse.report.tables.segmentation import segmentation


def format_table(*records, **changes):
    return segmentation(evidence_of(*records, **changes))


def summary_of(*records):
    return summarize(frame_of(*records), PATIENTS, excluded={"sts": 2}, study_seed=1)


def row_of(summary, metric="dice"):
    return summary[summary["metric"] == metric].iloc[0]


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
    row = row_of(summary, "hd95")
    assert row[["mean", "mean_low", "median"]].isna().all()
    assert (row["patients"], row["undefined"]) == (1, 1)
    assert format_table(values)["hd95 (mm)"].tolist() == ["undefined"]
    assert headline(summary)["sts/unet2d/tumor/hd95"] is None
    assert patient_values(frame_of(values), PATIENTS).set_index("metric").loc["hd95", "value"] == ""
    assert "NaN" not in record_text(headline(summary))


def test_the_summary_fits_its_schema(tmp_path):
    summary = summary_of(("A-1", "clean", "unet2d", 0, full()), ("B-1", "clean", "unet2d", 0, full(hd95=math.nan)))
    write_table(summary, tmp_path / "summary.parquet", SUMMARY)
    assert len(read_table(tmp_path / "summary.parquet", SUMMARY)) == len(full())


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
    with pytest.raises(ValueError, match="got missed, spurious, both_empty, lost"):
        format_table(("A-1", "clean", "unet2d", 0, dict.fromkeys(PERFORMANCE, 0.5)))


def test_what_a_case_evaluates_to_can_be_tabled():
    some = np.ones((3, 3, 3), bool)
    values = evaluate(Comparison(~some, some, (1.0, 1.0, 1.0)))
    row = format_table(("A-1", "clean", "unet2d", 0, values)).iloc[0]
    assert row[["dice", "hd95 (mm)", "precision", "missed"]].tolist() == ["0.000", "5.2", "undefined", "1"]


def test_a_case_without_patient_is_refused():
    with pytest.raises(ValueError, match="none for D-1"):
        summary_of(("D-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_a_value_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"got twice .*'case': 'A-1'"):
        summary_of(("A-1", "clean", "unet2d", 0, {"dice": 0.1}), ("A-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_the_headline_is_plain_json_and_holds_the_clean_means_of_a_few_metrics():
    record = headline(
        summary_of(
            ("A-1", "clean", "unet2d", 0, {"dice": 0.25, "iou": 0.2, "hd95": 4.0, "ece": 0.1}),
            ("B-1", "clean", "unet2d", 0, {"dice": 0.75, "iou": 0.6, "hd95": 2.0, "ece": 0.3}),
            ("A-1", "no-pet", "unet2d", 0, {"dice": 0.1}),
        )
    )
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == pytest.approx(
        {"sts/unet2d/tumor/dice": 0.5, "sts/unet2d/tumor/hd95": 3.0, "sts/unet2d/tumor/ece": 0.2}
    )


def test_the_headline_is_of_the_study_s_own_datasets_alone():
    own, other = (
        frame_of(("A-1", "clean", "unet2d", 0, {"dice": 0.5})),
        frame_of(("B-1", "clean", "unet2d", 0, {"dice": 0.1}), dataset="brats"),
    )
    summary = summarize(
        pd.concat([own, other], ignore_index=True), PATIENTS, excluded={"sts": 0, "brats": 0}, study_seed=1
    )
    assert headline(summary) == {"sts/unet2d/tumor/dice": 0.5}


def test_the_values_of_patients_are_rows_in_an_order_of_their_own_with_six_digits():
    values = {"dice": 1 / 3, "ece": 0.1, "auc": 0.9, "ece_body": 0.01}
    frame = frame_of(("B-1", "clean", "unet2d", 0, values), ("A-2", "clean", "unet2d", 0, {"dice": 0.5}))
    kept = patient_values(frame, PATIENTS)
    assert kept[["patient", "case", "metric", "value"]].to_numpy().tolist() == [
        ["A", "A-2", "dice", "0.5"],
        ["B", "B-1", "dice", "0.333333"],
        ["B", "B-1", "ece", "0.1"],
    ]
    assert kept.equals(patient_values(frame.iloc[::-1], PATIENTS))


def test_a_run_is_collected_with_its_cost(tmp_path):
    runs = runs_in(tmp_path, {}, trained_as={"unet2d": "unet2d"})
    write_table(runs, tmp_path / "runs.parquet", RUNS)
    [row] = read_table(tmp_path / "runs.parquet", RUNS).to_dict("records")
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
    same["voxels_per_sample"] = 12 * RECORD["voxels_per_sample"]
    runs = runs_in(tmp_path, {}, same, trained_as={"unet2d": "unet2d", "unet3d": "unet3d"})
    models = [("A-1", "clean", model, 0, full()) for model in ("unet2d", "unet3d", "average")]
    table = segmentation(evidence_of(*models, runs=runs))
    assert table["GMACs per million voxels"].tolist() == ["40", "40", ""]
    assert table["parameters (M)"].tolist() == ["1.00", "1.00", ""]
    assert table["steps"].tolist() == ["1200", "1200", ""]
    assert table["training (s)"].tolist() == ["600", "600", ""]


def test_probabilities_have_no_column_and_scaled_models_no_row():
    values = full(ece=0.1, volume_covered=1.0)
    models = {"unet2d": {}, "scaled": {"predictions_of": "unet2d"}}
    records = [("A-1", "clean", name, 0, values) for name in models]
    table = format_table(*records, models=models, asked=("dice", "ece", "volume_covered"))
    assert table["model"].tolist() == ["unet2d"]
    assert not {"ece", "volume_covered"} & set(table)


def test_a_model_abroad_is_in_no_table_of_segmentation():
    external = frame_of(("A-1", "clean", "unet2d", 0, full(dice=0.1)), dataset="brats")
    table = format_table(("A-1", "clean", "unet2d", 0, full(dice=0.9)), external=external)
    assert table[["dataset", "dice"]].to_numpy().tolist() == [["sts", "0.900"]]


def test_a_study_takes_its_metrics_and_the_counts_of_all_that_were_evaluated(tmp_path):
    frame = frame_of(("A-1", "clean", "unet2d", 0, full())).astype({"fold": "int8", "seed": "int16"})
    write_table(frame, tmp_path / "metrics.parquet", METRICS)
    taken = JOINED["metrics"].join([tmp_path / "metrics.parquet"], metrics=["iou"], trained_as={})
    assert taken["metric"].tolist() == ["iou", *COUNTED]
