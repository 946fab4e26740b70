import math

import numpy as np
import pytest
from small_studies import BASE, OTHER, compared, pairs_of

from diffufuse.report.cells import points, probability, three_digits
from diffufuse.report.statistics import bootstrap_interval, rank_biserial, signed_rank_p
from diffufuse.report.tables.comparison import NOTHING, compare, comparison


def test_a_comparison_is_paired_over_patients():
    [row] = compare(compared(*pairs_of(unet2d=BASE, better=OTHER))).to_dict("records")
    differences = np.subtract(OTHER, BASE)
    assert (row["model"], row["patients"], row["left_out"], row["zero"]) == ("better", 8, 0, 1)
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["p"] == row["p_holm"] == signed_rank_p(differences)
    assert row["rank_biserial"] == rank_biserial(differences)


def test_the_order_of_the_patients_does_not_matter():
    records = pairs_of(unet2d=BASE, better=OTHER)
    assert compare(compared(*records)).equals(compare(compared(*records[8:], *records[:8])))


def test_seeds_of_a_patient_make_one_pair():
    again = [(case, condition, model, 1, values) for case, condition, model, _, values in pairs_of(unet2d=BASE)]
    found = compare(compared(*pairs_of(unet2d=BASE, better=OTHER), *again))
    assert found["patients"].tolist() == [8]


def test_pairs_with_an_undefined_member_are_left_out_and_counted():
    undefined = pairs_of(metric="hd95", unet2d=[1.0] * 8, other=[math.nan, *[2.0] * 7])
    [row] = compare(compared(*undefined, asked=("hd95",))).to_dict("records")
    assert (row["patients"], row["left_out"], row["difference"]) == (7, 1, 1.0)


def test_models_that_were_tested_on_different_patients_are_not_compared():
    fewer = pairs_of(unet2d=BASE, other=OTHER)[:-2]
    row = comparison(compared(*fewer)).iloc[0]
    assert row["note"] == (
        "Not paired: other was tested on 6 patients, unet2d on 8; they share 6. Test both on the same patients."
    )
    assert row[["patients", "mean difference", "p", "p (Holm)"]].tolist() == ["0", "undefined", "refused", "refused"]


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


def test_equal_models_differ_by_nothing_and_few_patients_are_refused():
    equal = comparison(compared(*pairs_of(unet2d=BASE, same=BASE))).iloc[0]
    assert equal[["mean difference", "Hodges-Lehmann", "rank-biserial", "p", "zero", "note"]].tolist() == [
        "+0.000 [0.000, 0.000]",
        "+0.000",
        "undefined",
        "1.0",
        "8",
        "Nothing differs: the two are identical on all 8 patients.",
    ]
    few = [record for record in pairs_of(unet2d=BASE, better=OTHER) if record[0] < "P-5"]
    row = comparison(compared(*few)).iloc[0]
    assert row[["p", "p (Holm)"]].tolist() == ["refused", "refused"]
    assert row["note"] == (
        "Too few patients: n = 5; the smallest possible p is 0.0625; 6 differing patients are needed."
    )


def test_a_study_that_compares_no_metric_has_an_empty_comparison():
    records = pairs_of(metric="recall", unet2d=BASE, better=OTHER)
    assert comparison(compared(*records, asked=("recall",)))["note"].tolist() == [NOTHING]


def test_two_models_that_share_no_defined_value_are_undefined():
    records = pairs_of(metric="hd95", unet2d=[math.nan] * 8, other=[2.0] * 8)
    row = comparison(compared(*records, asked=("hd95",))).iloc[0]
    assert row[["left_out", "mean difference", "p (Holm)"]].tolist() == ["8", "undefined", "refused"]


def test_one_model_alone_is_told_in_one_row():
    assert comparison(compared(*pairs_of(unet2d=BASE)))["note"].tolist() == [NOTHING]


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.05, "0.050"), (0.0012, "0.0012"), (0.000999, "< 0.001"), (1.0, "1.0"), (0.234, "0.23"), (math.nan, "refused")],
)
def test_a_p_has_two_significant_digits(p, text):
    assert probability(p) == text


def test_points_have_a_sign_and_no_negative_zero():
    assert [points(value) for value in (0.123, -0.0561, -0.0004, math.nan)] == ["+12.3", "-5.6", "+0.0", ""]


def test_three_digits_never_are_a_power_of_ten():
    assert [three_digits(value) for value in (123456, 0.4567, 0, math.nan)] == ["123000", "0.457", "0", ""]


def test_scaled_probabilities_are_no_second_model_where_masks_are_compared():
    models = {"unet2d": {}, "scaled": {"predictions_of": "unet2d", "scaling": "temperature"}}
    records = [*pairs_of(unet2d=BASE, scaled=BASE), *pairs_of(metric="ece", unet2d=BASE, scaled=OTHER)]
    assert compare(compared(*records, models=models, asked=("dice", "ece")))["metric"].tolist() == ["ece"]


def test_a_table_without_refusals_has_no_column_for_them():
    assert "note" not in comparison(compared(*pairs_of(unet2d=BASE, better=OTHER)))
