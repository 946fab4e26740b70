"""A study that never was, with known structure, for the tests of tables and figures."""

import numpy as np
import pandas as pd

from diffufuse.evaluate.cost_schemas import EFFICIENCY
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.forecast import forecast_of
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import summarize
from diffufuse.report.schemas import CURVES, RUNS

ASKED = ("dice", "iou", "hd95", "precision", "recall", "ece", "ace", "brier", "nll", "prevalence", "auc", "ap")
ASKED_TOO = ("coverage", "coverage_inside", "set_size", "uncertainty_body", "volume_covered", "volume_interval_ml")
VOLUMES = ("prediction_volume_ml", "reference_volume_ml")
CONDITIONS = {
    "clean": {},
    "no-pet": {"absent": ["pet"]},
    "only-t1": {"present": ["t1"]},
    "gauss-0.1": {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.1}},
    "gauss-0.3": {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}},
    "gauss-0.5": {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.5}},
    "gauss-0.5-pet": {"corruption": "gaussian_noise", "modalities": ["pet"], "settings": {"noise_sd": 0.5}},
    "bias": {"corruption": "bias_field", "kinds": ["mr"], "settings": {"coefficient": 0.5}},
}
TRAINED = {
    "modality_dropout": 0.5,
    "corruption": {"probability": 0.25, "together": 0.1, "conditions": ["gauss-0.3"]},
    "patch": [80, 80, 1],
}
MODELS = {
    "diffufusemed_small": {"architecture": "diffufusemed", "training": TRAINED},
    "diffufusemed_small_uniform_gates": {"weights_of": "diffufusemed_small", "settings": {"temperature": 0.0}},
    "diffufusemed_small_scaled": {"predictions_of": "diffufusemed_small", "scaling": "temperature"},
    "diffufusemed_small_no_diffusion": {"architecture": "diffufusemed", "training": TRAINED},
    "multi_encoder_small": {"architecture": "multi_encoder", "training": TRAINED},
    "unet2d_small": {"architecture": "unet2d", "training": TRAINED},
}
DATASETS = {
    "sts_ibsi": {
        "modalities": {"pet": {"kind": "pet"}, "ct": {"kind": "ct"}, "t1": {"kind": "mr"}},
        "regions": {"mass": [1]},
        "lesion": "mass",
        "license": "CC BY 3.0",
        "citation": "A. Uthor",
        "title": "S",
    },
    "brats": {
        "modalities": {"t1": {"kind": "mr"}},
        "regions": {"wt": [1, 2, 3]},
        "lesion": "wt",
        "license": "own",
        "citation": "B. Raters",
        "title": "B",
    },
    "btcv": {
        "modalities": {"ct": {"kind": "ct"}},
        "regions": {"liver": [6]},
        "no_lesion": "organs, no lesion",
        "license": "CC BY 4.0",
        "citation": "C",
        "title": "O",
    },
}
HARM = {"clean": 0.0, "no-pet": 0.15, "only-t1": 0.25, "gauss-0.1": 0.02, "gauss-0.3": 0.06, "gauss-0.5": 0.15}


def an_evidence(*, patients: int = 12, models: tuple[str, ...] = tuple(MODELS), study_seed: int = 1) -> Evidence:
    """A study of one dataset with one transfer; one patient is missed without PET, one has an undefined precision."""
    names = [f"STS-{number:03d}" for number in range(1, patients + 1)]
    people = {name: name for name in names} | {"BRATS-1": "BRATS-1", "BRATS-2": "BRATS-2"}
    metrics = pd.concat([_in_domain(models, names), _external(models)], ignore_index=True)
    excluded = {"sts_ibsi": 1, "brats": 0}
    return Evidence(
        metrics=metrics,
        summary=summarize(metrics, people, excluded=excluded, study_seed=study_seed),
        runs=pd.DataFrame([_run(model) for model in models])[RUNS.names],
        forecasts=pd.concat([_forecasts(number, model) for number, model in enumerate(models)], ignore_index=True),
        calibrations=pd.DataFrame([_calibration(model) for model in models])[CALIBRATIONS.names],
        efficiency=pd.DataFrame([_efficiency(model) for model in models])[EFFICIENCY.names],
        latencies=pd.concat([_latencies(number, model) for number, model in enumerate(models)], ignore_index=True),
        curves=_curves([model for model in models if "training" in MODELS[model]]),
        patients=people,
        conditions=CONDITIONS,
        models={model: MODELS[model] for model in models},
        datasets=DATASETS,
        asked=[*ASKED, *ASKED_TOO, *VOLUMES],
        compare_with=models[0],
        transfers=["brats", "btcv"],
        study_seed=study_seed,
    )


def _curves(trained: list[str]) -> pd.DataFrame:
    """A loss that falls and a Dice that rises, in two folds."""
    step, rows = np.arange(0, 1200, 10), []
    for number, model in enumerate(trained):
        for fold in (0, 1):
            loss, dice = np.exp(-step / 400) + 0.1 * fold, 0.8 - 0.05 * number - 0.6 * np.exp(-step / 300)
            for quantity, at, value in (("loss", step, loss), ("validation_dice_mass", step[::40], dice[::40])):
                run = {
                    "dataset": "sts_ibsi",
                    "model": model,
                    "fold": fold,
                    "seed": 0,
                    "quantity": quantity,
                    "unit": "1",
                }
                rows.append(pd.DataFrame({**run, "step": at, "value": value}))
    columns = {"fold": "int8", "seed": "int16", "step": "int32"}
    return pd.concat(rows, ignore_index=True).astype(columns)[CURVES.names]


def _row(names: dict[str, object], values: dict[str, float]) -> list[dict[str, object]]:
    return [{**names, "metric": name, "value": value, "unit": METRICS[name].unit} for name, value in values.items()]


def _in_domain(models: tuple[str, ...], names: list[str]) -> pd.DataFrame:
    rows = []
    generator = np.random.default_rng(0)
    skill = {name: generator.uniform(0.55, 0.9) for name in names}
    for number, model in enumerate(models):
        for condition in CONDITIONS:
            for place, name in enumerate(names):
                dice = skill[name] - 0.02 * number - HARM.get(condition, 0.05) + generator.normal(0, 0.02)
                missed = condition == "no-pet" and place == 0
                run = {"dataset": "sts_ibsi", "case": name, "condition": condition, "trained_on": "sts_ibsi"}
                run |= {"model": model, "fold": place % 2, "seed": 0, "region": "mass"}
                rows += _row(run, _values(0.0 if missed else float(np.clip(dice, 0.05, 0.99)), missed=missed))
    return pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"})


def _external(models: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for model in models:
        for fold in (0, 1):
            for name in ("BRATS-1", "BRATS-2"):
                run = {"dataset": "brats", "case": name, "condition": "clean", "trained_on": "sts_ibsi"}
                run |= {"model": model, "fold": fold, "seed": 0, "region": "wt"}
                rows += _row(run, _values(0.2 + 0.1 * fold, missed=False))
    return pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"})


def _values(dice: float, *, missed: bool) -> dict[str, float]:
    doubt = 1 - dice
    return {
        "dice": dice,
        "iou": dice / (2 - dice),
        "hd95": 200.0 if missed else 40 * doubt,
        "precision": np.nan if missed else min(1.0, dice + 0.05),
        "recall": max(0.0, dice - 0.05),
        "ece": 0.3 * doubt,
        "ace": 0.4 * doubt,
        "brier": 0.25 * doubt,
        "nll": 0.8 * doubt,
        "prevalence": 0.3,
        "auc": 1 - 0.2 * doubt,
        "ap": 1 - 0.5 * doubt,
        "coverage": 1 - 0.2 * doubt,
        "coverage_inside": 1 - 0.4 * doubt,
        "set_size": 1 + 0.3 * doubt,
        "uncertainty_body": doubt,
        "prediction_volume_ml": 100.0 * dice,
        "reference_volume_ml": 100.0,
        "volume_covered": np.nan,
        "volume_interval_ml": np.nan,
        **dict.fromkeys(COUNTED, 0.0),
        "missed": float(missed),
    }


def _run(model: str) -> dict[str, object]:
    block = MODELS[model]
    return {
        "dataset": "sts_ibsi",
        "model": model,
        "trained_as": block.get("weights_of", block.get("predictions_of", model)),
        "fold": 0,
        "seed": 0,
        "parameters": 974298,
        "macs_per_sample": 10**9,
        "voxels_per_sample": 6400,
        "steps": 1200,
        "duration_s": 400.0,
        "seconds_per_step": 0.3,
        "modality_dropout": 0.5,
        "corruptions": "gaussian_noise",
        "device": "cpu",
        "threads": 1,
        "precision": "32-true",
        "commit": "0123456789abcdef",
        "torch": "2.13.0",
        "started_unix_s": 1.79e9,
    }


def _forecasts(number: int, model: str) -> pd.DataFrame:
    generator = np.random.default_rng(number)
    probability = generator.beta(0.5, 0.8, 20_000).astype(np.float32)
    reference = generator.random(20_000) < probability ** (1 + 0.3 * number)
    frames = []
    for scope, share in (("near", 5), ("body", 1)):
        found = forecast_of(probability[::share], reference[::share])
        counts = {"level": found.level, "inside": found.inside, "outside": found.outside}
        names = {"dataset": "sts_ibsi", "condition": "clean", "trained_on": "sts_ibsi", "model": model}
        frames.append(pd.DataFrame({**names, "region": "mass", "scope": scope, **counts}))
    return pd.concat(frames, ignore_index=True).astype({"level": "int32"})


def _calibration(model: str) -> dict[str, object]:
    run = {"dataset": "sts_ibsi", "model": model, "fold": 0, "seed": 0, "region": "mass", "patients": 4}
    return run | {"temperature": 1.4, "nll_before": 0.40, "nll_after": 0.35, "threshold": 0.8}


def _machine(model: str) -> dict[str, object]:
    return {"dataset": "sts_ibsi", "model": model, "device": "cpu", "threads": 1, "precision": "32-true"}


def _efficiency(model: str) -> dict[str, object]:
    sizes = {"voxels": 6400, "parameters": 974298, "macs": 10**9, "file_mb": 3.9, "peak_memory_mb": 120.0}
    return _machine(model) | sizes


def _latencies(number: int, model: str) -> pd.DataFrame:
    milliseconds = 10 + 3 * number + np.random.default_rng(number).gamma(2.0, 0.5, 50)
    frame = pd.DataFrame({**_machine(model), "batch": 1, "repeat": np.arange(50), "milliseconds": milliseconds})
    return frame.astype({"threads": "int16", "batch": "int16", "repeat": "int32"})
