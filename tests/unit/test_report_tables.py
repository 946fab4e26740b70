import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence
from fusion_evidence import a_study_of_fused_patients
from small_studies import (
    BASE,
    DATASETS,
    OTHER,
    PEOPLE,
    compared,
    empty,
    evidence_of,
    external_of,
    frame_of,
    full,
    pairs_of,
)

from diffufuse.metrics.calibration import brier, ece, nll
from diffufuse.metrics.forecast import Forecast
from diffufuse.report.tables import TABLES
from diffufuse.report.tables.ablation import ablation
from diffufuse.report.tables.calibration import calibration
from diffufuse.report.tables.comparison import comparison
from diffufuse.report.tables.coverage import coverage
from diffufuse.report.tables.efficiency import efficiency
from diffufuse.report.tables.seeds import seeds
from diffufuse.report.tables.transfer import transfer

SCALED = {"unet2d": {}, "scaled": {"predictions_of": "unet2d", "scaling": "temperature"}}
PLACE = {"dataset": "sts", "model": "unet2d", "fold": 0, "seed": 0, "region": "tumor"}


def with_modalities(evidence):
    """The evidence with the modalities that transfers need to know."""
    modalities = {"sts_ibsi": ["pet", "ct", "t1"], "brats": ["t1", "t2"], "btcv": ["ct"]}
    blocks = {name: {"modalities": {m: {"kind": m[0]} for m in found}} for name, found in modalities.items()}
    return replace(evidence, datasets={name: dict(evidence.datasets[name]) | block for name, block in blocks.items()})


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_text_without_gaps(name):
    found = a_study_of_fused_patients() if name.startswith("fusion") else with_modalities(an_evidence())
    table = TABLES[name].build(found)
    assert len(table) > 1
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())
    assert "nan" not in " ".join(table.to_numpy().ravel()).split()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_next_to_nothing_says_so_or_is_short(name):
    table = TABLES[name].build(evidence_of(("A-1", "clean", "unet2d", 0, full()), asked=()))
    assert len(table) >= 1 or list(table) == ["note"]


def test_every_reading_is_a_paragraph():
    assert all(table.reading.endswith(".") and "  " not in table.reading for table in TABLES.values())


ABLATIONS = {
    "method_small": {"architecture": "diffufusemed"},
    "method_small_uniform": {"weights_of": "method_small", "settings": {"temperature": 0.0}},
    "multi_encoder_small_uniform": {"weights_of": "multi_encoder_small", "settings": {"temperature": 0.0}},
    "method_small_no_time": {"architecture": "diffufusemed"},
    "multi_encoder_small": {"architecture": "multi_encoder"},
    "multi_encoder_paper": {"architecture": "multi_encoder"},
    "method_paper_no_time": {"architecture": "diffufusemed"},
}


def test_an_ablation_is_what_is_left_of_one_model_and_the_backbone_of_its_size():
    records = pairs_of(**dict.fromkeys(ABLATIONS, BASE) | {"method_small_no_time": OTHER})
    found = compared(*records, models=ABLATIONS, compare_with="method_small")
    table = ablation(found)
    assert table[["what", "model"]].to_numpy().tolist() == [
        ["full model", "method_small"],
        ["no time", "method_small_no_time"],
        ["uniform gates, same weights", "method_small_uniform"],
        ["CNN backbone alone", "multi_encoder_small"],
    ]
    assert set(table["n"]) == {"8"}
    against = table.set_index("what")["dice minus full"]
    assert against["full model"] == ""
    assert against["no time"].startswith("+0.188 [")
    assert against["CNN backbone alone"] == "+0.000 [0.000, 0.000]"


def test_one_pair_has_one_interval_in_every_table():
    found = an_evidence()
    ablations = ablation(found).set_index("model")["dice minus full"].drop(found.compare_with)
    pairs = comparison(found).query("condition == 'clean' and metric == 'dice'").set_index("model")["mean difference"]
    assert len(ablations) == 3
    assert ablations.to_dict() == pairs[ablations.index].to_dict()


def test_a_study_without_ablations_says_so():
    assert list(ablation(compared(*pairs_of(unet2d=BASE)))) == ["note"]


def transferred(external, transfers, **changes):
    home = [*pairs_of(unet2d=[0.5] * 8), *pairs_of(metric="hd95", unet2d=[4.0] * 8)]
    found = compared(*home, external=external, asked=("dice", "hd95"), transfers=transfers, **changes)
    return transfer(found)


def test_a_transfer_tells_home_and_there_and_what_is_lost():
    row = transferred(external_of(0.2), ["brats"]).iloc[0]
    assert row.to_dict() == {
        "trained on": "sts",
        "tested on": "brats",
        "model": "unet2d",
        "n": "1",
        "modalities shared": "t1",
        "dice home": "0.500 [0.50, 0.50]",
        "dice there": "0.200",
        "dice change (points)": "-30.0",
        "hd95 there (mm)": "9.0",
        "hd95 increase (mm)": "+5.0",
    }


def test_of_what_both_datasets_have_only_what_a_model_reads_is_shared():
    both = {**DATASETS["brats"], "modalities": {"t1": {"kind": "mr"}, "ct": {"kind": "ct"}}}
    changes = {"datasets": {**DATASETS, "sts": {**DATASETS["sts"], "pair": {"structure": "t1"}}, "brats": both}}
    for reads, shared in ((["structure", "pet"], "t1"), (["ct"], "ct"), (None, "ct, t1")):
        block = {"architecture": "unet2d"} | ({"input": {"modalities": reads}} if reads else {})
        table = transferred(external_of(0.2), ["brats"], models={"unet2d": block}, **changes)
        assert table["modalities shared"].tolist() == [shared]


def test_a_pair_without_a_meaning_is_a_row_with_its_reason():
    table = transferred(external_of(0.2), ["brats", "btcv", "lits"])
    refused = table.set_index("tested on")["refused"]
    assert refused["brats"] == ""
    assert refused["btcv"] == "Thirteen organs are labeled, and no lesion."
    assert refused["lits"].startswith("No modality is shared")
    assert table.set_index("tested on").loc["btcv", "model"] == "all"


def test_what_was_not_tested_says_so_and_no_transfer_too():
    assert transferred(None, ["brats"])[["model", "refused"]].to_numpy().tolist() == [
        ["all", "It has not been tested."]
    ]
    assert list(transferred(None, [])) == ["note"]


def test_only_the_lesion_counts_at_home():
    edema = frame_of(*pairs_of(unet2d=[0.9] * 8), region="edema")
    table = transferred(pd.concat([external_of(0.2), edema]), ["brats"])
    assert table["dice home"].tolist() == ["0.500 [0.50, 0.50]"]


def test_efficiency_has_the_median_and_the_95th_percentile_of_each_batch():
    machine = {"dataset": "sts", "model": "unet2d", "device": "cpu", "threads": 1, "precision": "32-true"}
    sizes = {"voxels": 6400, "parameters": 1_000_000, "macs": 213_000_000, "file_mb": 3.9, "peak_memory_mb": math.nan}
    timed = pd.concat(
        pd.DataFrame({**machine, "batch": batch, "repeat": range(101), "milliseconds": batch * np.arange(101.0)})
        for batch in (1, 8)
    )
    found = compared(*pairs_of(unet2d=BASE), efficiency=pd.DataFrame([machine | sizes]), latencies=timed)
    one, eight = efficiency(found).to_dict("records")
    assert (one["batch"], one["median (ms)"], one["p95 (ms)"], one["repeats"]) == ("1", "50", "95", "101")
    assert (eight["batch"], eight["median (ms)"], eight["p95 (ms)"]) == ("8", "400", "760")
    assert one["median per million voxels (ms)"] == eight["median per million voxels (ms)"] == "7810"
    assert (one["parameters (M)"], one["GMACs"], one["peak memory (MB)"]) == ("1.00", "0.213", "unknown")


def test_a_study_that_timed_nothing_says_so():
    assert list(efficiency(compared(*pairs_of(unet2d=BASE)))) == ["note"]


def forecasts_of(scope, inside, outside, **changes):
    counts = {"level": [0, 32768, 65535], "inside": inside, "outside": outside}
    names = {"dataset": "sts", "condition": "clean", "trained_on": "sts", "model": "unet2d", "region": "tumor"}
    return pd.DataFrame({**names, "scope": scope, **counts, **changes})


def test_pooled_calibration_is_that_of_the_voxels_of_all_patients():
    near = forecasts_of("near", [1, 5, 9], [9, 5, 1])
    frame = pd.concat([near, forecasts_of("body", [1, 5, 9], [900, 5, 1]), near.assign(condition="no-pet", inside=9)])
    records = pairs_of(metric="ece", unet2d=[0.125] * 8)
    table = calibration(compared(*records, asked=("ece",), forecasts=frame)).set_index("voxels")
    forecast = Forecast(*(near[name].to_numpy() for name in ("level", "inside", "outside")))
    assert table.loc["near", "ece"] == "0.125 [0.12, 0.12]"
    assert table.loc["body", "ece"] == ""
    assert table.loc["near", "pooled ece"] == f"{ece(forecast):.3f}"
    assert table.loc["near", "pooled brier"] == f"{brier(forecast):.3f}"
    assert table.loc["near", "pooled nll (nat)"] == f"{nll(forecast):.3f}"
    assert float(table.loc["body", "pooled brier"]) < brier(forecast)


def test_a_scaled_model_tells_the_mean_of_its_temperatures_and_on_whom_they_were_fitted():
    rows = [
        PLACE | {"model": "scaled", "fold": fold, "patients": patients, "temperature": temperature}
        for fold, patients, temperature in ((0, 4, 1.2), (1, 5, 1.8))
    ]
    known = {"nll_before": 0.4, "nll_after": 0.3, "threshold": 0.8}
    records = pairs_of(metric="ece", unet2d=BASE, scaled=OTHER)
    found = compared(*records, asked=("ece",), models=SCALED, calibrations=pd.DataFrame(rows).assign(**known))
    table = calibration(found).set_index("model")
    assert table.loc["unet2d", ["T", "T fitted on"]].tolist() == ["1", ""]
    assert table.loc["scaled", ["T", "T fitted on"]].tolist() == ["1.50", "4 to 5 patients a fold"]


def covered(values, patients, **changes):
    known = {"temperature": 1.0, "nll_before": 0.4, "nll_after": 0.4, "threshold": 0.8}
    calibrations = pd.DataFrame([PLACE | known | {"patients": count} for count in patients]) if patients else None
    calibrations = empty("calibrations") if calibrations is None else calibrations
    records = [row for name, found in values.items() for row in pairs_of(metric=name, unet2d=found)]
    found = compared(*records, asked=tuple(values), calibrations=calibrations, **changes)
    return coverage(found).iloc[0]


@pytest.mark.parametrize(
    ("patients", "sentence"),
    [
        ([], "None: 0 validation patients a fold, 19 are needed."),
        ([19, 18], "None: 18 to 19 validation patients a fold, 19 are needed."),
        ([19, 24], "Possible: 19 to 24 validation patients a fold, 19 are needed."),
    ],
)
def test_coverage_says_whether_a_guarantee_is_possible(patients, sentence):
    row = covered({"coverage": [0.85] * 4 + [0.95] * 4, "set_size": [1.1] * 8}, patients)
    assert row["guarantee"] == sentence
    assert row["coverage"].startswith("0.900 [")
    assert row["gap to 0.95"] == "0.050"


def test_volumes_without_samples_are_not_a_coverage_of_zero():
    row = covered({"volume_covered": [math.nan] * 8, "volume_interval_ml": [12.0] * 8}, [4])
    assert row["volume_covered"] == "no samples"
    assert row["volume_interval_ml (mL)"] == "12.0 [12.0, 12.0]"


def test_ranking_by_doubt_stands_between_the_best_and_none():
    dice = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    known = covered({"dice": dice, "uncertainty_body": list(range(8))}, [4])["AURC of Dice"]
    assert known == "0.275 (random 0.450, best 0.275)"
    blind = covered({"dice": dice, "uncertainty_body": [1.0] * 8}, [4])["AURC of Dice"]
    assert blind == "0.450 (random 0.450, best 0.275)"
    last = covered({"dice": dice, "uncertainty_body": [*range(7), math.nan]}, [4])["AURC of Dice"]
    assert last == known, "no doubt told is the greatest doubt"


def test_a_study_that_asked_for_no_coverage_says_so():
    assert list(coverage(compared(*pairs_of(unet2d=BASE)))) == ["note"]


def test_one_seed_is_not_known_and_two_vary_apart_from_patients():
    again = [
        (case, name, model, 1, {"dice": values["dice"] + 0.1}) for case, name, model, _, values in pairs_of(twice=BASE)
    ]
    table = seeds(compared(*pairs_of(unet2d=BASE, twice=BASE), *again)).set_index("model")
    assert table.loc["unet2d", ["seeds", "between seeds (SD of the mean)"]].tolist() == ["1", "one seed: not known"]
    assert table.loc["twice", ["seeds", "patients"]].tolist() == ["2", "8"]
    assert table.loc["twice", "between seeds (SD of the mean)"] == f"{0.1 / math.sqrt(2):.3f}"
    assert table.loc["twice", "between patients (SD)"] == f"{np.std(BASE, ddof=1):.3f}"


def test_examinations_of_a_patient_are_averaged_before_seeds_are_compared():
    records = [
        (case, "clean", "unet2d", seed, {"dice": value})
        for case, seed, value in [
            ("P-0", 0, 0.2),
            ("P-1", 0, 0.4),
            ("P-0", 1, 0.4),
            ("P-1", 1, 0.2),
            ("P-2", 0, 0.6),
            ("P-2", 1, 0.6),
        ]
    ]
    patients = {**PEOPLE, "P-1": "P-0"}
    row = seeds(evidence_of(*records, asked=("dice",), patients=patients)).iloc[0]
    assert row[["patients", "between seeds (SD of the mean)"]].tolist() == ["2", "0.000"]
