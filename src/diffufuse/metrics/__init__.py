"""The metrics: a name under `metrics` in `config/config.yaml` is a key of `METRICS`.

Empty masks have one policy, stated in each metric's row and tested against its function: where both masks are
empty, Dice and IoU are 1 and distances are undefined (NaN); where one is empty, Dice and IoU are 0 and distances
are a penalty. Undefined values are left out of statistics and counted, and the metrics of `COUNTED` are evaluated
always, so that every table can say how many cases were missed, spurious or empty.

Most metrics compare masks. Those of calibration read the probabilities behind the prediction, within 10 mm of
reference and prediction; where both masks are empty there is no such place and they are undefined.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from diffufuse.metrics import calibration, overlap, surface
from diffufuse.types import Image, Mask, Spacing

NAN = math.nan
INF = math.inf
SPACING: Final = "spacing_mm"
PENALTY: Final = "penalty_mm"
COUNTED = ("missed", "spurious", "both_empty")

DICE = "Dice 1945, Ecology 26:297; empty masks: Reinke et al. 2024, arXiv:2302.01790"
RELOADED = "Maier-Hein et al. 2024, arXiv:2206.01653"
HAUSDORFF = "Huttenlocher et al. 1993, doi:10.1109/34.232073; percentile per direction, as MONAI"
PITFALLS = "Reinke et al. 2024, arXiv:2302.01790"
VOXELS = "number of voxels times the volume of one"
BARFOOT = "Barfoot et al. 2025, arXiv:2506.03942; 20 equal bins, as MONAI"
MEHRTASH = "Mehrtash et al. 2020, arXiv:1911.13273"
BASE_RATE = "share of voxels; Mehrtash et al. 2020, arXiv:1911.13273"
NLL_MOST = -math.log(calibration.CLIP)


class Empty(NamedTuple):
    """What a metric answers where a mask is empty: a value, PENALTY for the penalty, or None for no exception.

    Attributes:
        both: neither reference nor prediction.
        missed: a reference, but no prediction.
        spurious: a prediction, but no reference.
    """

    both: float | str | None
    missed: float | str | None
    spurious: float | str | None


@dataclass(frozen=True)
class Metric:
    """A quantity that compares a prediction with a reference mask, and what a reader must know of it.

    Attributes:
        function: prediction, reference and the keywords that `needs` names → value.
        unit: of the value; `1` for a ratio.
        better: which way is better; `neither` for a quantity that only describes.
        range: smallest and largest possible value.
        empty: the answers where one or both masks are empty.
        symmetric: whether prediction and reference may be exchanged.
        source: the paper or convention that defines it.
        needs: keywords of the function.
        reads: what of the prediction the function is given: the whole `mask`, or the `probability` of the voxels in
            `calibration.region_of_interest`, with the reference of the same voxels.
    """

    function: Callable[..., float]
    unit: str
    better: Literal["higher", "lower", "neither"]
    range: tuple[float, float]
    empty: Empty
    symmetric: bool
    source: str
    needs: tuple[Literal["spacing_mm", "penalty_mm"], ...] = ()
    reads: Literal["mask", "probability"] = "mask"

    @property
    def name(self) -> str:
        """The function's name, which is also the config key, the table entry and the legend text."""
        return self.function.__name__


UNSURE = Empty(NAN, None, None)
ROWS = (
    Metric(overlap.dice, "1", "higher", (0, 1), Empty(1, 0, 0), symmetric=True, source=DICE),
    Metric(overlap.iou, "1", "higher", (0, 1), Empty(1, 0, 0), symmetric=True, source=DICE),
    Metric(surface.hd95, "mm", "lower", (0, INF), Empty(NAN, PENALTY, PENALTY), True, HAUSDORFF, (SPACING, PENALTY)),
    Metric(overlap.precision, "1", "higher", (0, 1), Empty(NAN, NAN, 0), symmetric=False, source=RELOADED),
    Metric(overlap.recall, "1", "higher", (0, 1), Empty(NAN, 0, NAN), symmetric=False, source=RELOADED),
    Metric(overlap.missed, "1", "lower", (0, 1), Empty(0, 1, 0), symmetric=False, source=PITFALLS),
    Metric(overlap.spurious, "1", "lower", (0, 1), Empty(0, 0, 1), symmetric=False, source=PITFALLS),
    Metric(overlap.both_empty, "1", "neither", (0, 1), Empty(1, 0, 0), symmetric=True, source=PITFALLS),
    Metric(overlap.prediction_volume_ml, "mL", "neither", (0, INF), Empty(0, 0, None), False, VOXELS, (SPACING,)),
    Metric(overlap.reference_volume_ml, "mL", "neither", (0, INF), Empty(0, None, 0), False, VOXELS, (SPACING,)),
    Metric(calibration.ece, "1", "lower", (0, 1), UNSURE, symmetric=False, source=BARFOOT, reads="probability"),
    Metric(calibration.ace, "1", "lower", (0, 1), UNSURE, symmetric=False, source=BARFOOT, reads="probability"),
    Metric(calibration.mce, "1", "lower", (0, 1), UNSURE, symmetric=False, source=BARFOOT, reads="probability"),
    Metric(calibration.brier, "1", "lower", (0, 1), UNSURE, symmetric=False, source=MEHRTASH, reads="probability"),
    Metric(calibration.nll, "nat", "lower", (0, NLL_MOST), UNSURE, False, MEHRTASH, reads="probability"),
    Metric(calibration.prevalence, "1", "neither", (0, 1), Empty(NAN, None, 0), False, BASE_RATE, reads="probability"),
)
METRICS = {metric.name: metric for metric in ROWS}


def evaluate_case(
    prediction: Mask,
    reference: Mask,
    *,
    spacing_mm: Spacing,
    metrics: Sequence[str],
    penalty_mm: float | None = None,
    probability: Image | None = None,
    body: Mask | None = None,
) -> dict[str, float]:
    """Compare the prediction of one case and region with its reference.

    Args:
        prediction: boolean, 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.
        metrics: keys of `METRICS`; those of `COUNTED` are added.
        penalty_mm: distance where one mask is empty; by default the diagonal of the image (BraTS 2023 asks for 374).
        probability: 0..1 in every voxel, of which `prediction` is the mask; by default the mask is taken for certain.
        body: boolean; where calibration is measured at most, by default everywhere.

    Returns:
        One value per metric; NaN where it is undefined.

    Raises:
        ValueError: a metric is unknown, a mask is not boolean, a probability is not one, or shapes and spacing do
            not belong together.
    """
    _require_masks(prediction, reference, spacing_mm)
    if probability is not None:
        _require_probability(probability, reference)
    names = dict.fromkeys([*metrics, *COUNTED])
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"metrics: expected some of {', '.join(METRICS)}, got {', '.join(unknown)}")
    diagonal_mm = math.hypot(*(voxels * mm for voxels, mm in zip(reference.shape, spacing_mm, strict=True)))
    known = {SPACING: spacing_mm, PENALTY: diagonal_mm if penalty_mm is None else penalty_mm}
    read: dict[str, tuple[np.ndarray, np.ndarray]] = {"mask": (prediction, reference)}
    if reads_probability(names):
        near = calibration.region_of_interest(prediction, reference, spacing_mm=spacing_mm, body=body)
        read["probability"] = (prediction if probability is None else probability)[near], reference[near]
    return {
        name: metric.function(*read[metric.reads], **{need: known[need] for need in metric.needs})
        for name, metric in ((name, METRICS[name]) for name in names)
    }


def reads_probability(metrics: Iterable[str]) -> bool:
    """Whether one of these keys of `METRICS` asks for more than a mask."""
    return any(METRICS[name].reads == "probability" for name in metrics)


def _require_masks(prediction: Mask, reference: Mask, spacing_mm: Spacing) -> None:
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if mask.dtype != bool:
            raise ValueError(f"{name}: expected a boolean mask, got {mask.dtype}")
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction: expected the reference's shape {reference.shape}, got {prediction.shape}")
    if len(spacing_mm) != reference.ndim or not all(mm > 0 for mm in spacing_mm):
        raise ValueError(f"spacing_mm: expected {reference.ndim} positive lengths, got {spacing_mm}")


def _require_probability(probability: Image, reference: Mask) -> None:
    if probability.shape != reference.shape:
        raise ValueError(f"probability: expected the reference's shape {reference.shape}, got {probability.shape}")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"probability: expected 0..1, got {probability.min()}..{probability.max()}")
