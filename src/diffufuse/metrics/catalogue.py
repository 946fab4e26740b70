"""The catalogue of metrics: a name under `metrics` in `config/config.yaml` is a key of `METRICS`.

Empty masks have one policy, stated in each metric's row and tested against its function: where both masks are
empty, Dice and IoU are 1 and distances are undefined (NaN); where one is empty, Dice and IoU are 0 and distances
are a penalty. Undefined values are left out of statistics and counted, and the metrics of `COUNTED` are evaluated
always, so that every table can say how many cases were missed, spurious, empty or lost. A region that was drawn, but
lost in resampling, is not an empty one: it is counted, and not scored.

A metric reads the masks, the distances between their surfaces, or the forecast (the predicted probabilities): of the
voxels within 10 mm of reference or prediction, or, under a name that ends in `_body`, of all voxels
of the body. Where both masks are empty, no voxel is near, and such metrics are undefined.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from diffufuse.metrics import calibration, conformal, discrimination, intervals, overlap, surface
from diffufuse.metrics.comparison import Comparison

NAN = math.nan
INF = math.inf
SPACING: Final = "spacing_mm"
PENALTY: Final = "penalty_mm"
SETS: Final = "threshold"
SAMPLES: Final = "samples_ml"
DRAWN: Final = "drawn"

DICE = "Dice 1945, Ecology 26:297; empty masks: Reinke et al. 2024, arXiv:2302.01790"
RELOADED = "Maier-Hein et al. 2024, arXiv:2206.01653"
HAUSDORFF = "Huttenlocher et al. 1993, doi:10.1109/34.232073; percentile per direction, as MONAI"
NIKOLOV = "Nikolov et al. 2021, doi:10.2196/26151; surface voxels, as MONAI"
HEIMANN = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851; all distances pooled, as MONAI"
PITFALLS = "Reinke et al. 2024, arXiv:2302.01790"
VOXELS = "number of voxels times the volume of one"
BARFOOT = "Barfoot et al. 2025, arXiv:2506.03942; 20 equal bins, as MONAI"
NIXON = "Nixon et al. 2019, arXiv:1904.01685; 20 bins of equal mass"
MEHRTASH = "Mehrtash et al. 2020, arXiv:1911.13273"
BASE_RATE = "share of voxels; Mehrtash et al. 2020, arXiv:1911.13273"
HANLEY = "Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747"
GOADRICH = "Davis and Goadrich 2006, doi:10.1145/1143844.1143874; no interpolation, as scikit-learn"
SHANNON = "Shannon 1948, binary entropy over the expected number of voxels"
ANGELOPOULOS = "Angelopoulos and Bates 2021, arXiv:2107.07511; patients count alike"
LAMBERT = "Lambert et al. 2024, arXiv:2407.19938; Student's t over the samples"
NLL_MOST = -math.log(calibration.CLIP)


class Empty(NamedTuple):
    """The value of a metric where a mask is empty: a number, PENALTY for the penalty, or None for no exception.

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
    """A quantity that compares a prediction with a reference mask, and its properties.

    Attributes:
        function: (the input named by `reads`, the keywords named by `needs`) → value.
        unit: of the value; `1` for a ratio.
        better: which direction is better; `neither` for a descriptive quantity.
        range: smallest and largest possible value.
        empty: the values where one or both masks are empty.
        symmetric: whether prediction and reference may be exchanged.
        source: the paper or convention that defines it.
        needs: attributes of `Comparison` that are keywords of the function.
        reads: the input taken from a `Comparison`: prediction and reference (`mask`), the distances between
            their surfaces (`surface`), or the forecast `near` them or of the whole `body`.
    """

    function: Callable[..., float]
    unit: str
    better: Literal["higher", "lower", "neither"]
    range: tuple[float, float]
    empty: Empty
    symmetric: bool
    source: str
    needs: tuple[Literal["spacing_mm", "penalty_mm", "threshold", "samples_ml", "drawn"], ...] = ()
    reads: Literal["mask", "surface", "near", "body"] = "mask"

    @property
    def name(self) -> str:
        """The function's name, which is also the config key, the table entry and the legend text."""
        return f"{self.function.__name__}_body" if self.reads == "body" else self.function.__name__

    def of(self, comparison: Comparison) -> float:
        """The metric's value for one prediction; NaN where it is undefined."""
        keywords = {need: getattr(comparison, need) for need in self.needs}
        if self.reads == "mask":
            return self.function(comparison.prediction, comparison.reference, **keywords)
        return self.function(getattr(comparison, self.reads), **keywords)


ALWAYS = Empty(None, None, None)
UNSURE = Empty(NAN, None, None)
WITH_REFERENCE = Empty(NAN, None, NAN)


def _of_forecast(
    function: Callable[..., float],
    better: Literal["higher", "lower", "neither"],
    source: str,
    *,
    range: tuple[float, float] = (0, 1),
    unit: str = "1",
    empty: Empty = UNSURE,
    needs: tuple[Literal["spacing_mm", "penalty_mm", "threshold", "samples_ml"], ...] = (),
) -> tuple[Metric, Metric]:
    """A metric of probabilities near the region and, as `_body`, in the whole body, also without a region."""
    body_empty = empty._replace(both=empty.spurious)
    return (
        Metric(function, unit, better, range, empty, symmetric=False, source=source, needs=needs, reads="near"),
        Metric(function, unit, better, range, body_empty, symmetric=False, source=source, needs=needs, reads="body"),
    )


ROWS = (
    Metric(overlap.dice, "1", "higher", (0, 1), Empty(1, 0, 0), symmetric=True, source=DICE),
    Metric(overlap.iou, "1", "higher", (0, 1), Empty(1, 0, 0), symmetric=True, source=DICE),
    Metric(surface.hd95, "mm", "lower", (0, INF), Empty(NAN, PENALTY, PENALTY), True, HAUSDORFF, (PENALTY,), "surface"),
    Metric(surface.assd, "mm", "lower", (0, INF), Empty(NAN, PENALTY, PENALTY), True, HEIMANN, (PENALTY,), "surface"),
    Metric(surface.nsd, "1", "higher", (0, 1), Empty(NAN, 0, 0), True, NIKOLOV, reads="surface"),
    Metric(overlap.precision, "1", "higher", (0, 1), Empty(NAN, NAN, 0), symmetric=False, source=RELOADED),
    Metric(overlap.recall, "1", "higher", (0, 1), Empty(NAN, 0, NAN), symmetric=False, source=RELOADED),
    Metric(overlap.missed, "1", "lower", (0, 1), Empty(0, 1, 0), symmetric=False, source=PITFALLS),
    Metric(overlap.spurious, "1", "lower", (0, 1), Empty(0, 0, 1), symmetric=False, source=PITFALLS),
    Metric(overlap.both_empty, "1", "neither", (0, 1), Empty(1, 0, 0), symmetric=True, source=PITFALLS),
    Metric(overlap.lost, "1", "neither", (0, 1), Empty(None, 0, None), False, PITFALLS, (DRAWN,)),
    Metric(overlap.prediction_volume_ml, "mL", "neither", (0, INF), Empty(0, 0, None), False, VOXELS, (SPACING,)),
    Metric(overlap.reference_volume_ml, "mL", "neither", (0, INF), Empty(0, None, 0), False, VOXELS, (SPACING,)),
    Metric(overlap.volume_error_ml, "mL", "lower", (0, INF), Empty(0, None, None), True, RELOADED, (SPACING,)),
    Metric(overlap.relative_volume_error, "1", "lower", (0, INF), Empty(NAN, 1, NAN), False, RELOADED),
    *_of_forecast(calibration.ece, "lower", BARFOOT),
    *_of_forecast(calibration.ace, "lower", BARFOOT),
    *_of_forecast(calibration.mce, "lower", BARFOOT),
    *_of_forecast(calibration.ece_equal_mass, "lower", NIXON),
    *_of_forecast(calibration.ace_equal_mass, "lower", NIXON),
    *_of_forecast(calibration.mce_equal_mass, "lower", NIXON),
    *_of_forecast(calibration.brier, "lower", MEHRTASH),
    *_of_forecast(calibration.nll, "lower", MEHRTASH, range=(0, NLL_MOST), unit="nat"),
    *_of_forecast(calibration.prevalence, "neither", BASE_RATE, empty=Empty(NAN, None, 0)),
    *_of_forecast(discrimination.auc, "higher", HANLEY, empty=WITH_REFERENCE),
    *_of_forecast(discrimination.ap, "higher", GOADRICH, empty=WITH_REFERENCE),
    *_of_forecast(conformal.coverage, "neither", ANGELOPOULOS, needs=(SETS,)),
    *_of_forecast(conformal.coverage_inside, "neither", ANGELOPOULOS, needs=(SETS,), empty=WITH_REFERENCE),
    *_of_forecast(conformal.coverage_outside, "neither", ANGELOPOULOS, needs=(SETS,)),
    *_of_forecast(conformal.set_size, "lower", ANGELOPOULOS, needs=(SETS,), range=(0, 2)),
    Metric(calibration.uncertainty, "bit", "neither", (0, INF), ALWAYS, False, SHANNON, reads="body"),
    Metric(intervals.volume_covered, "1", "neither", (0, 1), ALWAYS, False, LAMBERT, (SPACING, SAMPLES)),
    Metric(intervals.volume_interval_ml, "mL", "lower", (0, INF), ALWAYS, False, LAMBERT, (SAMPLES,)),
)
METRICS = {metric.name: metric for metric in ROWS}


def evaluate(comparison: Comparison) -> dict[str, float]:
    """Every metric of one case and region; NaN where it is undefined, as all but `lost` are of a lost region.

    Raises:
        ValueError: a probability is not in 0..1.
    """
    if comparison.lost:
        return dict.fromkeys(METRICS, NAN) | {overlap.lost.__name__: 1.0}
    return {name: metric.of(comparison) for name, metric in METRICS.items()}
