"""Panels of pictures of a case: an axial slice of one modality, its gray scale, contours and orientation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from diffufuse.store.scan import Scan
from diffufuse.types import Mask, Spacing

Kind = Literal["ct", "pet", "mr", "picture", "fused"]

CT_WINDOW_HU = (-160.0, 240.0)
PET_FLOOR_SUV = 5.0
PET_PERCENTILE = 99.0
MR_PERCENTILES = (1.0, 99.0)
COLORMAPS: dict[Kind, str] = {"ct": "gray", "pet": "gray_r", "mr": "gray", "picture": "gray", "fused": "gray"}
UNITS: dict[Kind, str] = {"ct": "HU", "pet": "SUV", "mr": "a.u.", "picture": "", "fused": ""}
GRAY_LEVELS: dict[Kind, tuple[float, float]] = {"picture": (0.0, 1.0), "fused": (0.0, 1.0)}
MARGIN_MM = 5.0
BAR_MM = 50.0


@dataclass(frozen=True)
class View:
    """The displayed part of a volume.

    Attributes:
        level: index of the axial slice.
        box: its displayed part, along x and y.
        size_mm: width and height of this part.
    """

    level: int
    box: tuple[slice, slice]
    size_mm: tuple[float, float]

    def cut(self, volume: np.ndarray) -> Float[np.ndarray, "y x"]:
        """The displayed part of a volume, as rows from posterior to anterior."""
        return volume[self.box[0], self.box[1], self.level].T


def kinds_of(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, Kind]:
    """Modality to its kind, in channel order."""
    return {name: block["kind"] for name, block in modalities.items()}


def shown_slice(reference: Mask, predictions: Sequence[Mask]) -> int:
    """Index of the axial slice with the largest reference area, else prediction area, else the middle slice."""
    for masks in ([reference], predictions):
        area = np.sum([mask.sum(axis=(0, 1)) for mask in masks], axis=0)
        if area.any():
            return int(area.argmax())
    return reference.shape[2] // 2


def window(scans: Sequence[Scan], channel: int, kind: Kind) -> tuple[float, float]:
    """Limits of the gray scale, from the first scan that has the modality.

    Args:
        scans: one case, under one or several conditions.
        channel: index of the modality.
        kind: CT shows -160 to 240 HU; PET 0 to the 99th percentile, at least SUV 5; MR its 1st to 99th percentile;
            gray levels 0 to 1.

    Returns:
        Lower and upper end in the image's unit.
    """
    if kind == "ct":
        return CT_WINDOW_HU
    if kind in GRAY_LEVELS:
        return GRAY_LEVELS[kind]
    inside = (scan.images[channel][scan.presence[channel] & scan.body] for scan in scans)
    values = next((values for values in inside if values.size), np.zeros(1))
    if kind == "pet":
        return 0.0, max(PET_FLOOR_SUV, float(np.percentile(values, PET_PERCENTILE)))
    low, high = np.percentile(values, MR_PERCENTILES)
    return float(low), float(high)


def view_of(scans: Sequence[Scan], level: int, spacing_mm: Spacing) -> View:
    """View of the body on an axial slice, with a margin of 5 mm."""
    body = np.any([scan.body[:, :, level] for scan in scans], axis=0)
    x, y = (_span(body.any(axis=1 - axis), math.ceil(MARGIN_MM / spacing_mm[axis])) for axis in (0, 1))
    return View(level, (x, y), ((x.stop - x.start) * spacing_mm[0], (y.stop - y.start) * spacing_mm[1]))


def _span(occupied: np.ndarray, margin: int) -> slice:
    indices = np.flatnonzero(occupied)
    if not indices.size:
        return slice(0, occupied.size)
    return slice(max(0, int(indices[0]) - margin), min(occupied.size, int(indices[-1]) + margin + 1))


def draw_image(axes: Axes, scan: Scan, channel: int, view: View, limits: tuple[float, float], kind: Kind) -> None:
    """Draw one modality, hatched where it is absent or was not acquired; the patient's right is on the left."""
    present = view.cut(scan.presence[channel])
    shown = np.ma.masked_where(~present, view.cut(scan.images[channel]))
    width, height = view.size_mm
    axes.patch.set(facecolor="#E4E4E4", edgecolor="#B0B0B0", hatch="////")
    axes.imshow(
        shown,
        cmap=COLORMAPS[kind],
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(0, width, 0, height),
        interpolation="nearest",
    )
    axes.set(xlim=(width, 0), ylim=(0, height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if not present.any():
        note = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(0.5, 0.06, "absent", transform=axes.transAxes, ha="center", fontsize=7, bbox=note)


def draw_contour(axes: Axes, mask: Mask, view: View, *, color: str, width_pt: float) -> None:
    """Draw the contour of a mask, closed at the edge of the view."""
    area = np.pad(view.cut(mask).astype(float), 1)
    if area.any():
        y, x = ((np.arange(n) - 0.5) * mm / (n - 2) for n, mm in zip(area.shape, view.size_mm[::-1], strict=True))
        axes.contour(x, y, area, levels=[0.5], colors=[color], linewidths=width_pt)


def draw_orientation(axes: Axes, view: View) -> None:
    """Label the patient's sides and draw a scale bar of 5 cm."""
    halo = [withStroke(linewidth=1.5, foreground="black")]
    width, height = view.size_mm
    for x, side, align in ((0.03, "R", "left"), (0.97, "L", "right")):
        axes.text(x, 0.5, side, transform=axes.transAxes, ha=align, color="white", fontsize=7, path_effects=halo)
    left, bottom = 0.96 * width, 0.05 * height
    axes.plot([left, left - BAR_MM], [bottom, bottom], color="white", linewidth=1.5, path_effects=halo)
    axes.text(left, bottom + 0.02 * height, f"{BAR_MM / 10:g} cm", color="white", fontsize=6, path_effects=halo)
