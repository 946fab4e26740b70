"""Studies of fusion that never were, with known structure: of patients with regions, and of pairs of images alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS
from diffufuse.metrics.overlap import COUNTED
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import summarize
from diffufuse.report.schemas import CURVES, RUNS

MASKS, IMAGES = ("dice", "iou", "hd95"), ("en", "sd", "psnr", "sf", "ssim", "qabf", "nabf", "vif")
BOTH = {"modalities": ["structure", "function"], "values": "display"}
PLAIN = {"modality_dropout": 0.0, "corruption": {"probability": 0.0, "together": 0.0, "conditions": []}}
LOSS = {"decomposition": 0.2, "gradient": 1.0, "anchor": 0.1}
GAME = {"warm_up_steps": 40, "inner_steps": 1, "leader_learning_rate": 1e-4}


def _game(regimen: str = "bilevel", *, inner_steps: int = 1, **weights: float) -> dict[str, Any]:
    training = PLAIN | {"regimen": regimen, "game": GAME | {"inner_steps": inner_steps}, "fusion_loss": LOSS | weights}
    return {"task": "segment", "architecture": "fuse4seg", "settings": {}, "input": BOTH, "training": training}


def _fuser(architecture: str, regimen: str) -> dict[str, Any]:
    training = PLAIN | {"regimen": regimen} | ({"fusion_loss": LOSS} if regimen == "label_free" else {})
    return {"task": "fuse", "architecture": architecture, "settings": {}, "input": BOTH, "training": training}


def _follower(**reads: Any) -> dict[str, Any]:
    training = PLAIN | {"regimen": "supervised"}
    return {"task": "segment", "architecture": "convnext_unet", "settings": {}, "input": reads, "training": training}


# Model to its block, the skill of its masks and the quality of its fused images; None for what it does not make.
FUSION_MODELS: dict[str, tuple[dict[str, Any], float | None, float | None]] = {
    "fuse4seg_small": (_game(), 0.80, 0.70),
    "average": (_fuser("average", "fixed"), None, 0.45),
    "maximum": (_fuser("maximum", "fixed"), None, 0.62),
    "fuse4seg_leader_small": (_fuser("fuse4seg_leader", "label_free"), None, 0.74),
    "average_follower": (_follower(fuser="average"), 0.70, None),
    "maximum_follower": (_follower(fuser="maximum"), 0.72, None),
    "leader_follower": (_follower(fuser="fuse4seg_leader_small"), 0.74, None),
    "two_channels": (_follower(**BOTH), 0.81, None),
    "structure_alone": (_follower(modalities=["structure"], values="display"), 0.60, None),
    "fuse4seg_small_k3": (_game(inner_steps=3), 0.78, 0.69),
    "fuse4seg_small_no_gradient": (_game(gradient=0.0), 0.77, 0.60),
    "fuse4seg_small_task_alone": (_game(gradient=0.0, decomposition=0.0), 0.76, 0.50),
    "fuse4seg_small_min_max": (_game() | {"settings": {"head": "minmax"}}, 0.75, 0.40),
    "fuse4seg_small_joint": (_game("joint"), 0.79, 0.66),
}
BLOCKS = {name: block for name, (block, _, _) in FUSION_MODELS.items()}
VOLUMES = {
    "format": "nifti",
    "modalities": {"t1c": {"kind": "mr"}, "flair": {"kind": "mr"}},
    "pair": {"structure": "t1c", "function": "flair"},
    "regions": {"ncr": [1], "ed": [2], "et": [3]},
    "lesion": "ncr",
}
PAIRS = {
    "format": "pairs",
    "modalities": {"mri": {"kind": "gray"}, "pet": {"kind": "color"}},
    "pair": {"structure": "mri", "function": "pet"},
}
EMPTY = {
    "forecasts": FORECASTS,
    "calibrations": CALIBRATIONS,
    "efficiency": EFFICIENCY,
    "latencies": LATENCIES,
    "runs": RUNS,
    "curves": CURVES,
}
QUANTITIES = {
    "loss": (1.2, 0.5),
    "gradient_norm": (2.0, 0.8),
    "leader_loss": (1.6, 0.9),
    "leader_loss_task": (1.1, 0.5),
    "leader_loss_decomposition": (0.4, 0.2),
    "leader_loss_gradient": (0.08, 0.05),
    "leader_loss_anchor": (0.001, 0.004),
    "leader_gradient_norm": (0.3, 0.6),
    "leader_task_share": (0.2, 0.6),
    "delta_levels": (0.0, 12.0),
    "base_correlation": (0.5, 0.8),
    "detail_correlation": (0.4, 0.1),
    "validation_dice_ncr": (0.2, 0.75),
    "validation_dice_ed": (0.2, 0.80),
    "validation_qabf": (0.4, 0.7),
}


def a_study_of_fused_patients(
    *, patients: int = 10, models: Sequence[str] = tuple(BLOCKS), dataset: str = "brats", curves: bool = True
) -> Evidence:
    """A study of one dataset with three regions, in which fused images are scored, segmented, and learned by a game."""
    names = [f"P-{number:02d}" for number in range(patients)]
    rows = []
    for number, model in enumerate(models):
        _, skill, quality = FUSION_MODELS[model]
        draw = np.random.default_rng(100 + number)
        for place, case in enumerate(names):
            run = {"dataset": dataset, "case": case, "condition": "clean", "trained_on": dataset, "model": model}
            run |= {"fold": place % 2, "seed": 0}
            hard = 0.15 * np.random.default_rng(place).normal()
            if skill is not None:
                for region, easier in (("ncr", -0.05), ("ed", 0.0), ("et", 0.05)):
                    dice = float(np.clip(skill + easier + hard + draw.normal(0, 0.02), 0.05, 0.98))
                    rows += _rows(run | {"region": region}, _masks(dice))
            if quality is not None:
                rows += _rows(run | {"region": "image"}, _images(float(quality + 0.2 * hard + draw.normal(0, 0.01))))
    frames = {"curves": _curves(dataset, [name for name in models if _learns(name)])} if curves else {}
    return _evidence(rows, models, {dataset: VOLUMES}, [*MASKS, *IMAGES], names, frames)


def a_study_of_pairs(
    *,
    pairs: int = 9,
    models: Sequence[str] = ("fuse4seg_leader_small", "average", "maximum"),
    seeds: Sequence[int] = (0,),
) -> Evidence:
    """A study of pairs of images without regions, with a transfer to another set; nothing of masks was measured.

    Of several seeds, a rule has the same values in all.
    """
    rows, sets = [], ("harvard_pet_mri", "harvard_spect_mri")
    names = {name: [f"{name.split('_')[1]}-{number:02d}" for number in range(pairs)] for name in sets}
    for number, model in enumerate(models):
        quality, draw = FUSION_MODELS[model][2], np.random.default_rng(200 + number)
        for dataset in sets:
            for place, case in enumerate(names[dataset]):
                run = {"dataset": dataset, "case": case, "condition": "clean", "trained_on": sets[0], "model": model}
                run |= {"fold": place % 2 if dataset == sets[0] else 0, "region": "image"}
                found = float((quality or 0.5) + draw.normal(0, 0.03))
                for seed in seeds:
                    rows += _rows(run | {"seed": seed}, _images(found))
                    found += draw.normal(0, 0.03) if _learns(model) else 0.0
    everyone = [case for cases in names.values() for case in cases]
    return _evidence(rows, models, dict.fromkeys(sets, PAIRS), list(IMAGES), everyone, {}, transfers=[sets[1]])


def _evidence(
    rows: list[dict[str, Any]],
    models: Sequence[str],
    datasets: dict[str, Any],
    asked: list[str],
    names: Sequence[str],
    frames: dict[str, pd.DataFrame],
    transfers: Sequence[str] = (),
) -> Evidence:
    metrics = pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"})
    people = dict(zip(names, names, strict=True))
    return Evidence(
        metrics=metrics,
        summary=summarize(metrics, people, excluded=dict.fromkeys(datasets, 0), study_seed=1),
        patients=people,
        conditions={"clean": {}},
        models={name: BLOCKS[name] for name in models},
        datasets=datasets,
        asked=asked,
        compare_with=models[0],
        transfers=list(transfers),
        study_seed=1,
        **({name: schema.empty_table().to_pandas() for name, schema in EMPTY.items()} | frames),
    )


def _rows(run: dict[str, Any], values: dict[str, float]) -> list[dict[str, Any]]:
    return [{**run, "metric": name, "value": value, "unit": ALL_METRICS[name].unit} for name, value in values.items()]


def _masks(dice: float) -> dict[str, float]:
    return {"dice": dice, "iou": dice / (2 - dice), "hd95": 40 * (1 - dice), **dict.fromkeys(COUNTED, 0.0)}


def _images(quality: float) -> dict[str, float]:
    values = {"en": 4 + quality, "sd": 60 + 30 * quality, "psnr": 12 + 6 * quality, "sf": 15 + 15 * quality}
    values |= {"ssim": 0.4 + 0.3 * quality, "qabf": quality, "nabf": 0.1 * (1 - quality), "vif": 0.3 + 0.5 * quality}
    assert set(values) == set(IMAGES)
    return values


def _learns(model: str) -> bool:
    return BLOCKS[model]["training"]["regimen"] in ("bilevel", "joint", "label_free")


def _curves(dataset: str, models: Sequence[str]) -> pd.DataFrame:
    frames = []
    for number, model in enumerate(models):
        for fold in (0, 1, 2):
            draw = np.random.default_rng(10 * number + fold)
            for quantity, (start, end) in QUANTITIES.items():
                every = 20 if quantity.startswith("validation") else 1
                first = 0 if not quantity.startswith(("leader", "delta", "base", "detail")) else GAME["warm_up_steps"]
                step = np.arange(first, 200, every)
                value = end + (start - end) * np.exp(-(step - first) / 50) + draw.normal(0, 0.03 * abs(end), step.size)
                run = {"dataset": dataset, "model": model, "fold": fold, "seed": 0, "quantity": quantity, "unit": "1"}
                frames.append(pd.DataFrame({**run, "step": step, "value": value}))
    columns = {"fold": "int8", "seed": "int16", "step": "int32"}
    return pd.concat(frames, ignore_index=True).astype(columns)[CURVES.names] if frames else _no("curves")


def _no(name: str) -> pd.DataFrame:
    return EMPTY[name].empty_table().to_pandas()
