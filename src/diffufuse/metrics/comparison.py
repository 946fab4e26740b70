"""A prediction and its reference, and the inputs of metrics derived from both, computed lazily and cached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from diffufuse.metrics.forecast import Forecast, forecast_of
from diffufuse.metrics.surface import SurfaceDistances, surface_distances
from diffufuse.types import Image, Mask, Spacing

NEAR_MM = 10.0


@dataclass(frozen=True)
class Comparison:
    """The prediction of one case and region, and its reference.

    Attributes:
        prediction: boolean, 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.
        probability: 0..1 in every voxel, of which `prediction` is the mask; by default the mask counts as certain.
        inside: boolean; the body, to which the evaluation of probabilities is limited; by default everywhere.
        penalty_mm: distance where one mask is empty; by default the diagonal of the image (BraTS 2023 asks for 374).
        threshold: q of the prediction sets, from `conformal.conformal_threshold`; NaN if unknown.
        samples_ml: volume of the region in several samples of the model; empty if it draws no samples.
        drawn: whether the region had voxels before the reference was resampled; False where that is unknown.

    Raises:
        ValueError: a mask is not boolean, or shapes and spacing do not match.
    """

    prediction: Mask
    reference: Mask
    spacing_mm: Spacing
    probability: Image | None = None
    inside: Mask | None = None
    penalty_mm: float = math.nan
    threshold: float = math.nan
    samples_ml: Sequence[float] = ()
    drawn: bool = False

    def __post_init__(self) -> None:
        """Check that types, shapes and spacing match."""
        for name, mask in (("prediction", self.prediction), ("reference", self.reference)):
            if mask.dtype != bool:
                raise ValueError(f"{name}: expected a boolean mask, got {mask.dtype}")
        for name, part in (("prediction", self.prediction), ("probability", self.probability), ("inside", self.inside)):
            if part is not None and part.shape != self.reference.shape:
                raise ValueError(f"{name}: expected the reference's shape {self.reference.shape}, got {part.shape}")
        if len(self.spacing_mm) != self.reference.ndim or not all(mm > 0 for mm in self.spacing_mm):
            raise ValueError(f"spacing_mm: expected {self.reference.ndim} positive lengths, got {self.spacing_mm}")
        if math.isnan(self.penalty_mm):
            sides_mm = (voxels * mm for voxels, mm in zip(self.reference.shape, self.spacing_mm, strict=True))
            object.__setattr__(self, "penalty_mm", math.hypot(*sides_mm))

    @property
    def lost(self) -> bool:
        """Whether the region was lost in resampling: drawn, but without a voxel. Nothing can be scored against it."""
        return self.drawn and not self.reference.any()

    @cached_property
    def surface(self) -> SurfaceDistances:
        """Distances between the two surfaces."""
        return surface_distances(self.prediction, self.reference, spacing_mm=self.spacing_mm)

    @cached_property
    def near(self) -> Forecast:
        """The forecast of the voxels near reference or prediction, within the body."""
        box, near = region_of_interest(self.prediction, self.reference, spacing_mm=self.spacing_mm)
        if self.inside is not None:
            near = near & self.inside[box]
        return forecast_of(self._probability[box], self.reference[box], within=near)

    @cached_property
    def body(self) -> Forecast:
        """The forecast of the voxels of the body."""
        return forecast_of(self._probability, self.reference, within=self.inside)

    @property
    def _probability(self) -> np.ndarray:
        return self.prediction if self.probability is None else self.probability


def region_of_interest(
    prediction: Mask, reference: Mask, *, spacing_mm: Spacing, near_mm: float = NEAR_MM
) -> tuple[tuple[slice, ...], Mask]:
    """The voxels whose centers are at most 10 mm from a voxel of reference or prediction.

    Most voxels of a patient are unambiguous background and would dominate a metric of probabilities. Only evaluation
    may use the reference for this.

    Args:
        prediction: boolean, 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.
        near_mm: largest Euclidean distance that counts as near.

    Returns:
        A bounding box, and the mask of the near voxels in it; an empty box if both masks are empty.
    """
    either = prediction | reference
    if not either.any():
        return (slice(0, 0),) * either.ndim, either[(slice(0, 0),) * either.ndim]
    box = _box_around(either, margin=[math.ceil(near_mm / mm) for mm in spacing_mm])
    return box, ndimage.distance_transform_edt(~either[box], sampling=spacing_mm) <= near_mm


def _box_around(mask: Mask, *, margin: list[int]) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(slice(max(part.start - more, 0), part.stop + more) for part, more in zip(box, margin, strict=True))
