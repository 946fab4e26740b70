from pathlib import Path

import pandas as pd
import pytest
from small_studies import BASE, OTHER, compared, evidence_of, external_of, frame_of, full, pairs_of

from diffufuse.errors import BadInput
from diffufuse.report.reported import COLUMNS, ELSEWHERE, OWN, beside, read_reported
from diffufuse.report.selection import stem
from diffufuse.report.tables import TABLES

TSV = Path(__file__).parents[2] / "config" / "reported.tsv"
REPORTED = read_reported(TSV)
SMALL = {"dataset": "sts_ibsi", "trained_on": "sts_ibsi"}
BLOCK = {"lesion": "tumor", "modalities": {"ct": {"kind": "ct"}, "pet": {"kind": "pet"}}}


def built(name, evidence):
    ours = TABLES[name].build(evidence)
    return ours, *beside(ours, name, reported=REPORTED, evidence=evidence)


def test_the_file_names_tables_of_ours_and_each_value_once():
    assert set(REPORTED["table"]) - set(TABLES) == {"deployment"}
    assert set(TABLES) - set(REPORTED["table"]) == {"seeds", "fusion_ranking"}
    assert set(REPORTED["cohort"]) == {"sts", "brats", "harvard_spect", "harvard_pet", "-"}
    assert pd.to_numeric(REPORTED.loc[~REPORTED["column"].str.endswith(" p"), "value"]).notna().all()


def test_what_is_typed_obeys_what_holds_of_every_result():
    shares = REPORTED[REPORTED["unit"] == "%"].assign(value=lambda frame: frame["value"].astype(float) / 100)
    wide = (
        shares[shares["column"].isin(["dice", "iou"])]
        .pivot(index=["table", "row", "cohort"], columns="column", values="value")
        .dropna()
    )
    assert len(wide) > 20
    assert (wide["dice"] / (2 - wide["dice"]) - 1e-3 <= wide["iou"]).all()
    assert (wide["iou"] <= wide["dice"]).all()


def test_a_drop_that_is_printed_wrong_has_a_remark():
    rows = REPORTED[REPORTED["table"] == "robustness"].set_index(["row", "column"])
    for condition in dict.fromkeys(row for row, _ in rows.index):
        change = float(rows.loc[(condition, "dice"), "value"]) - 88.2
        printed = float(rows.loc[(condition, "dice change"), "value"])
        assert (abs(change - printed) < 0.05) == (rows.loc[(condition, "dice"), "remark"] == "")


def test_a_model_is_matched_without_its_size():
    assert stem("diffufusemed_small_no_gating") == "diffufusemed_no_gating"
    assert stem("unet2d_small_plain") == "unet2d_plain"
    assert stem("transbts") == "transbts"


def test_a_value_is_told_in_a_last_column_and_ours_stay_as_they_are():
    models = {name: {} for name in ("diffufusemed_small", "unet2d_paper", "unet2d_small_plain")}
    records = [("A-1", "clean", name, 0, full()) for name in models] + [("A-1", "no-pet", "unet2d_paper", 0, full())]
    ours, both, note = built("segmentation", evidence_of(*records, models=models))
    assert both.iloc[:, :-1].equals(ours)
    told = both.set_index(["model", "condition"])[OWN]
    assert told["diffufusemed_small", "clean"] == "dice 0.882, iou 0.819, hd95 3.3 mm, precision 0.891, recall 0.874"
    assert told["unet2d_paper", "clean"].startswith("dice 0.784, ")
    assert told["unet2d_small_plain", "clean"] == told["unet2d_paper", "no-pet"] == ""
    assert (
        note
        == "The column 'reported' has what Table 1 of the paper prints for its cohort sts; percent stand as shares."
    )


def elsewhere(records, **changes):
    found = compared(*records, datasets={"sts_ibsi": BLOCK}, **changes)
    moved = {
        name: getattr(found, name).replace({"dataset": {"sts": "sts_ibsi"}, "trained_on": {"sts": "sts_ibsi"}})
        for name in ("metrics", "summary")
    }
    return type(found)(**(vars(found) | moved))


def test_of_another_cohort_the_heading_says_that_it_was_not_reproduced():
    found = elsewhere(pairs_of("gauss-0.5", diffufusemed_tiny=BASE))
    ours, both, _ = built("robustness", found)
    assert list(both)[-1] == ELSEWHERE == "reported, not reproduced here"
    assert both.set_index("condition").loc["gauss-0.5", ELSEWHERE] == (
        "dice 0.803, dice change -7.9 points, iou 0.719, hd95 4.3 mm"
    )
    assert both.drop(columns=ELSEWHERE).equals(ours)


def test_a_dataset_that_is_no_cohort_of_the_paper_has_nothing_beside_it():
    found = compared(*pairs_of(unet2d=BASE))
    foreign = {name: getattr(found, name).replace({"sts": "mine"}) for name in ("metrics", "summary")}
    found = type(found)(**(vars(found) | foreign | {"datasets": {"mine": BLOCK}}))
    ours, both, note = built("robustness", found)
    assert both is ours
    assert note == ""


def test_only_the_lesion_has_values_beside_it():
    edema = frame_of(("P-0", "clean", "unet2d", 0, full()), region="edema")
    found = evidence_of(("P-0", "clean", "unet2d", 0, full()), external=edema, patients={"P-0": "P-0"})
    _, both, _ = built("segmentation", found)
    told = both.set_index("region")[OWN]
    assert told["tumor"] != ""
    assert told["edema"] == ""


def test_probabilities_of_the_whole_body_have_no_value_beside_them():
    counts = {"level": [0, 65535], "inside": [1, 9], "outside": [9, 1], "region": "tumor"}
    names = {"dataset": "sts", "condition": "clean", "trained_on": "sts", "model": "unet2d"}
    forecasts = pd.concat([pd.DataFrame({**names, **counts, "scope": scope}) for scope in ("near", "body")])
    _, both, note = built("calibration", compared(*pairs_of(unet2d=BASE), forecasts=forecasts))
    assert both.set_index("voxels")[OWN].to_dict() == {"near": "ece 0.084, brier 0.112, nll 0.485", "body": ""}
    assert note.startswith("The column 'reported' has what Table 7 of the paper prints. The paper does not say")


def test_a_comparison_has_the_difference_of_its_own_metric():
    records = [*pairs_of(diffufusemed=BASE, transbts=OTHER), *pairs_of(metric="iou", diffufusemed=BASE, transbts=OTHER)]
    _, both, note = built("comparison", compared(*records, asked=("dice", "iou"), compare_with="diffufusemed"))
    told = both.set_index("metric")[OWN]
    assert told["dice"] == "difference 3.9 points, lower end 3.2 points, upper end 4.7 points, p < 0.001"
    assert told["iou"].startswith("difference 3.6 points")
    assert note.endswith("The paper subtracts the other model from DiffuFuseMed.")


def test_a_transfer_has_the_values_of_the_method_and_of_the_pair():
    models = {name: {} for name in ("diffufusemed_small", "unet2d")}
    external = pd.concat([external_of(0.2, model=name) for name in models])
    home = pairs_of(**dict.fromkeys(models, BASE))
    found = compared(*home, external=external, models=models, transfers=["brats", "btcv"])
    _, both, _ = built("transfer", found)
    told = both.set_index(["tested on", "model"])[OWN]
    assert told["brats", "diffufusemed_small"].startswith("dice home 0.882, dice there 0.832, dice change -5 points")
    assert told["brats", "unet2d"] == ""
    assert told["btcv", "all"].startswith("dice home 0.882, dice there 0.804")


def test_a_remark_stands_where_its_value_does():
    told = built("robustness", compared(*pairs_of(diffufusemed=BASE), conditions={"blur-mild": {"corruption": "x"}}))[2]
    assert (
        "is -2.2"
        in built(
            "robustness",
            compared(*pairs_of("blur-mild", diffufusemed=BASE), conditions={"blur-mild": {"corruption": "x"}}),
        )[2]
    )
    assert told == ""


@pytest.mark.parametrize("lines", [["a\tb", "1\t2"], ["\t".join(COLUMNS), *["t\t1\tr\tc\t1\t%\tsts\t"] * 2]])
def test_a_file_with_other_columns_or_a_value_twice_is_refused(tmp_path, lines):
    (tmp_path / "reported.tsv").write_text("\n".join(lines))
    with pytest.raises(BadInput, match=r"reported\.tsv(, line 1)?: expected"):
        read_reported(tmp_path / "reported.tsv")
