"""Metrics of masks and of probabilities, ours against MONAI's, surface-distance's and TorchMetrics'.

A tumor in the field of a brain MR and a large organ, both with an uneven outline, and a prediction of each that is off
by a voxel or two and has an island; probabilities rise with the depth in the prediction. Memory is that of metrics of
a volume on disk, in a process of its own; pages of the file that the system keeps for itself do not count.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.special
import surface_distance
import torch
from compare import Row, Timing, compared, timed, write
from monai import metrics as monai_metrics
from torchmetrics.functional.classification import binary_calibration_error
from torchmetrics.functional.regression import mean_squared_error

from diffufuse.metrics import calibration
from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.forecast import forecast_of

SHAPE, SPACING_MM = (240, 240, 155), (1.0, 1.0, 1.0)
VOXELS = "x".join(map(str, SHAPE))
TUMOR, ORGAN = (26.0, 1.5), (60.0, 2.5)
MASKS = ("dice", "hd95", "assd", "nsd")
PROBABILITIES = ("ece_body", "ace_body", "mce_body", "brier_body", "nll_body")
BINS, STEP, REPEATS = 20, 1 / 65535, 9
BLOCK, MANY, MOST = 10**6, 10**8, 5 * 10**8
MONAI = f"MONAI {version('monai')}"
SURFACE_DISTANCE = f"surface-distance {version('surface-distance')}"
TORCHMETRICS = f"TorchMetrics {version('torchmetrics')}"


def uneven(radius_mm: float, error_mm: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How deep each voxel lies in a prediction and in its reference, mm: a ball with an uneven outline, drawn twice."""
    draw = np.random.default_rng(seed)

    def relief() -> np.ndarray:
        coarse = scipy.ndimage.gaussian_filter(draw.normal(size=[side // 3 + 1 for side in SHAPE]), 2)
        fine = scipy.ndimage.zoom(coarse, 3, order=1)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
        return fine / fine.std()

    middle = np.reshape([side / 2 for side in SHAPE], (3, 1, 1, 1))
    reference = radius_mm - np.linalg.norm(np.indices(SHAPE) - middle, axis=0) + radius_mm / 5 * relief()
    prediction = reference + error_mm * relief() - 0.5
    prediction[30:36, 100:106, 60:64] = 1.0
    return prediction, reference


def of_monai(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The metrics of `MASKS`, each called as MONAI's documentation does."""
    pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    dice = monai_metrics.DiceMetric()
    dice(*(mask.float() for mask in pair))
    settings = {"include_background": True, "spacing": SPACING_MM}
    return [
        dice.aggregate().item(),
        monai_metrics.compute_hausdorff_distance(*pair, percentile=95, **settings).item(),
        monai_metrics.compute_average_surface_distance(*pair, symmetric=True, **settings).item(),
        monai_metrics.compute_surface_dice(*pair, class_thresholds=[2.0], **settings).item(),
    ]


def of_surface_distance(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The same by surface-distance, which has two averages, one a direction; their mean is used."""
    distances = surface_distance.compute_surface_distances(reference, prediction, SPACING_MM)
    return [
        surface_distance.compute_dice_coefficient(reference, prediction),
        surface_distance.compute_robust_hausdorff(distances, 95),
        float(np.mean(surface_distance.compute_average_surface_distance(distances))),
        surface_distance.compute_surface_dice_at_tolerance(distances, 2.0),
    ]


def of_masks(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The metrics of `MASKS`, as an evaluation calculates them."""
    comparison = Comparison(prediction, reference, SPACING_MM)
    return [METRICS[name].of(comparison) for name in MASKS]


def of_torchmetrics(probability: np.ndarray, reference: np.ndarray) -> list[float]:
    """ECE, MCE and Brier score by TorchMetrics' functions; it has no NLL of one class, so torch's own."""
    probabilities, truth = torch.from_numpy(probability).flatten(), torch.from_numpy(reference).flatten()
    ece, mce = (
        binary_calibration_error(probabilities, truth.int(), n_bins=BINS, norm=norm).item() for norm in ("l1", "max")
    )
    brier = mean_squared_error(probabilities, truth.float()).item()
    return [ece, mce, brier, torch.nn.functional.binary_cross_entropy(probabilities, truth.float()).item()]


def of_monai_calibration(probability: np.ndarray, reference: np.ndarray) -> list[float]:
    """ECE, ACE and MCE by MONAI, which bins anew for each."""
    values = []
    for reduction in ("expected", "average", "maximum"):
        metric = monai_metrics.CalibrationErrorMetric(num_bins=BINS, calibration_reduction=reduction)
        metric(*(torch.from_numpy(part)[None, None] for part in (probability, reference)))
        values.append(metric.aggregate().item())
    return values


def of_probabilities(probability: np.ndarray, prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The metrics of `PROBABILITIES`, as an evaluation calculates them, over the whole volume."""
    comparison = Comparison(prediction, reference, SPACING_MM, probability=probability)
    return [METRICS[name].of(comparison) for name in PROBABILITIES]


def ms(took: Timing) -> Timing:
    """The same in milliseconds."""
    return Timing(1000 * took.min_s, 1000 * took.median_s, tuple(1000 * seconds for seconds in took.all))


def apart(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Largest difference of two rows of values."""
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def mask_rows(name: str, size_mm: tuple[float, float], goals: tuple[str, str]) -> list[Row]:
    """One pair of masks, against both peers."""
    pair = tuple(depth_mm > 0 for depth_mm in uneven(*size_mm))
    ours, monai, other = (function(*pair) for function in (of_masks, of_monai, of_surface_distance))
    volume_ml = pair[1].sum() * math.prod(SPACING_MM) / 1000
    what = f"Dice, HD95, ASSD and NSD at 2 mm of a {name} of {volume_ml:.0f} mL in {VOXELS} voxels"
    differences = ", ".join(f"{metric} {a:.3f} and {b:.3f}" for metric, a, b in zip(MASKS, ours, other, strict=True))
    against = partial(compared, what=what, ours=ms(timed(partial(of_masks, *pair), REPEATS)), unit="ms")
    return [
        against(
            f"masks, {name}, against MONAI",
            theirs=ms(timed(partial(of_monai, *pair), REPEATS)),
            peer=MONAI,
            goal=goals[0],
            agrees=apart(ours, monai) < 1e-5,
            how_agrees=f"largest difference {apart(ours, monai):.1e}",
            notes="each of MONAI's functions looks for the two surfaces anew, called as its documentation does",
        ),
        against(
            f"masks, {name}, against surface-distance",
            theirs=ms(timed(partial(of_surface_distance, *pair), REPEATS)),
            peer=SURFACE_DISTANCE,
            goal=goals[1],
            how_agrees=f"Dice is the same, distances are defined otherwise (metrics.md): {differences}",
        ),
    ]


def probability_rows() -> list[Row]:
    """The probabilities of a whole volume, against both peers."""
    depth_mm, reference_mm = uneven(*TUMOR)
    probability, reference = scipy.special.expit(depth_mm / 2).astype(np.float32), reference_mm > 0
    volume = probability, depth_mm >= 0, reference
    ece, ace, mce, brier, nll = of_probabilities(*volume)
    torchmetrics, monai = (function(probability, reference) for function in (of_torchmetrics, of_monai_calibration))
    difference, monai_off = apart((ece, mce, brier, nll), torchmetrics), apart((ece, ace, mce), monai)
    against = partial(compared, ours=ms(timed(partial(of_probabilities, *volume), REPEATS)), unit="ms")
    return [
        against(
            "probabilities, against TorchMetrics",
            f"ECE and MCE in {BINS} bins, Brier score and NLL of all {VOXELS} voxels; ours with ACE besides",
            theirs=ms(timed(partial(of_torchmetrics, probability, reference), REPEATS)),
            peer=TORCHMETRICS,
            goal="ratio >= 3",
            agrees=difference < STEP,
            how_agrees=f"largest difference {difference:.1e}, ours counts in steps of 1.5e-5, theirs in single "
            "precision",
            notes="binary_calibration_error twice and mean_squared_error; NLL by torch's binary_cross_entropy, "
            "as TorchMetrics has neither it nor ACE",
        ),
        against(
            "probabilities, against MONAI",
            f"ECE, ACE and MCE in {BINS} bins of all {VOXELS} voxels; ours with Brier score and NLL besides",
            theirs=ms(timed(partial(of_monai_calibration, probability, reference), REPEATS)),
            peer=MONAI,
            agrees=monai_off < STEP,
            how_agrees=f"largest difference {monai_off:.1e}",
        ),
    ]


def write_volume(folder: Path, voxels: int) -> None:
    """A forecast and its reference as files of so many voxels: blocks of noise, one after the other."""
    draw = np.random.default_rng(0)
    probability = draw.random(BLOCK, dtype=np.float32) ** 4
    reference = draw.random(BLOCK) < probability
    for name, block in (("probability", probability), ("reference", reference)):
        with (folder / name).open("wb") as file:
            for _ in range(voxels // BLOCK):
                file.write(block.tobytes())


def anonymous_mb() -> float:
    """Memory of this process that no file stands for."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def measure(side: str, folder: Path) -> dict[str, Any]:
    """Run one of both in this process: seconds, the most memory that it added, and what it found."""
    probability, reference = (
        np.memmap(folder / name, kind, "r").reshape(-1, 1000, 100)
        for name, kind in (("probability", np.float32), ("reference", bool))
    )
    run = {"ours": of_forecast, "theirs": of_torchmetrics}[side]
    run(probability[:1], reference[:1])
    before, peak_mb, done = anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            peak_mb[0] = max(peak_mb[0], anonymous_mb() - before)

    threading.Thread(target=watch).start()
    began = time.perf_counter()
    values = run(probability, reference)
    seconds = time.perf_counter() - began
    done.set()
    return {"mb": peak_mb[0], "s": seconds, "found": values}


def of_forecast(probability: np.ndarray, reference: np.ndarray) -> list[float]:
    """ECE, MCE, Brier score and NLL from one pass over a volume."""
    forecast = forecast_of(probability, reference)
    return [function(forecast) for function in (calibration.ece, calibration.mce, calibration.brier, calibration.nll)]


def alone(side: str, folder: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", side, "--folder", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{side} failed: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def memory_rows() -> list[Row]:
    """Memory of a forecast of volumes on disk, of two sizes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volume(folder, MANY)
        many, theirs = alone("ours", folder), alone("theirs", folder)
        write_volume(folder, MOST)
        most = alone("ours", folder)
    what = "memory that ECE, MCE, Brier score and NLL of {:,} voxels on disk add to a process"
    return [
        Row(
            "memory, 10^8 voxels",
            what.format(MANY),
            many["mb"],
            "MB",
            theirs["mb"],
            TORCHMETRICS,
            "ours <= 200",
            how_agrees=f"largest difference {apart(many['found'], theirs['found']):.1e}: TorchMetrics sums in single "
            "precision, in which sums of more than 16,777,216 voxels are no longer exact",
            notes=f"{many['s']:.2f} s and {theirs['s']:.2f} s",
        ),
        Row(
            "memory, 5x10^8 voxels",
            what.format(MOST),
            most["mb"],
            "MB",
            goal="ours <= 200",
            agrees=apart(most["found"], many["found"]) < 1e-12,
            how_agrees="the same block of noise five times as often has the same metrics",
            notes=f"{most['s']:.2f} s",
        ),
    ]


def main() -> None:
    """Run all, or measure the memory of one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", choices=["ours", "theirs"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return
    rows = [
        *mask_rows("tumor", TUMOR, ("ratio >= 7", "ratio >= 3")),
        *mask_rows("large organ", ORGAN, ("", "")),
        *probability_rows(),
        *memory_rows(),
    ]
    write("metrics", rows, packages=["torch", "monai", "surface-distance", "torchmetrics"])


if __name__ == "__main__":
    main()
