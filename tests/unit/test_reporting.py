import json
import math

import numpy as np
import pandas as pd
import pytest

from diffufuse import tables
from diffufuse.metrics import METRICS, evaluate_case
from diffufuse.reporting import (
    PERFORMANCE,
    format_table,
    per_patient,
    summarize,
    summary_record,
    write_csv,
    write_markdown,
)

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
    summary = summary_of(("A-1", "clean", "unet2d", 0, full()))
    assert set(summary["excluded"]) == {2}
    assert format_table(summary)["excluded"].tolist() == ["2"]


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
    summary = summary_of(("B-1", "clean", "unet2d", 0, full(hd95=math.nan)))
    record = summary_record(summary)["sts/clean/sts/unet2d/tumor/hd95"]
    assert record["mean"] is record["mean_low"] is record["median"] is None
    assert (record["patients"], record["undefined"]) == (1, 1)
    assert format_table(summary)["hd95 (mm)"].tolist() == ["undefined"]
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
    summary = summary_of(*((case, "clean", "unet2d", 0, full(dice=d, hd95=h)) for case, (d, h) in values.items()))
    row = format_table(summary).iloc[0]
    dice = row_of(summary)
    assert row["dice"] == f"0.533 [{dice['mean_low']:.2f}, {dice['mean_high']:.2f}]"
    assert row["hd95 (mm)"].startswith("5.0 [")
    assert row["hd95 (mm)"].endswith("(n=2)")
    assert row["patients"] == "3"


def test_a_metric_that_one_model_lacks_is_an_empty_cell():
    without = {name: value for name, value in full().items() if name != "hd95"}
    table = format_table(summary_of(("A-1", "clean", "unet2d", 0, full()), ("A-1", "clean", "average", 0, without)))
    assert table["hd95 (mm)"].tolist() == ["0.5", ""]


def test_one_patient_has_a_mean_without_interval():
    assert format_table(summary_of(("A-1", "clean", "unet2d", 0, full(dice=0.7)))).loc[0, "dice"] == "0.700"


def test_missed_and_spurious_cases_are_printed_as_numbers():
    summary = summary_of(
        ("A-1", "clean", "unet2d", 0, full(missed=1.0)),
        ("B-1", "clean", "unet2d", 0, full(missed=1.0)),
        ("C-1", "clean", "unet2d", 0, full(spurious=1.0)),
    )
    assert format_table(summary).loc[0, ["missed", "spurious", "both_empty"]].tolist() == ["2", "1", "0"]


def test_a_table_without_its_counts_is_refused():
    summary = summary_of(("A-1", "clean", "unet2d", 0, dict.fromkeys(PERFORMANCE, 0.5)))
    with pytest.raises(ValueError, match="got missed, spurious, both_empty"):
        format_table(summary)


def test_what_a_case_evaluates_to_can_be_tabled():
    some = np.ones((3, 3, 3), bool)
    values = evaluate_case(~some, some, spacing_mm=(1.0, 1.0, 1.0), metrics=PERFORMANCE)
    row = format_table(summary_of(("A-1", "clean", "unet2d", 0, values))).iloc[0]
    assert row[["dice", "hd95 (mm)", "precision", "missed"]].tolist() == ["0.000", "5.2", "undefined", "1"]


def test_a_case_without_patient_is_refused():
    with pytest.raises(ValueError, match="none for D-1"):
        summary_of(("D-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_a_value_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"got twice .*'case': 'A-1'"):
        summary_of(("A-1", "clean", "unet2d", 0, {"dice": 0.1}), ("A-1", "clean", "unet2d", 0, {"dice": 0.1}))


def test_written_tables_are_text_that_others_can_read(tmp_path):
    table = format_table(summary_of(("A-1", "clean", "unet2d", 0, full(dice=0.7)), ("B-1", "no-pet", "x", 0, full())))
    write_csv(table, tmp_path / "table.csv")
    write_markdown(table, tmp_path / "table.md", note="Data: CC BY 3.0.")
    assert pd.read_csv(tmp_path / "table.csv", dtype=str).equals(table)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2].split("|")[6].strip() == "1"
    assert "0.700" in lines[2]
    assert lines[-1] == "Data: CC BY 3.0."


def test_the_record_is_plain_json():
    record = summary_record(summary_of(("A-1", "clean", "unet2d", 0, {"dice": 0.25})))
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["sts/clean/sts/unet2d/tumor/dice"]["mean"] == 0.25
