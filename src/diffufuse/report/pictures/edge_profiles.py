"""Gray levels across the margin of a lesion: how sharp is an edge of a source in each fused image?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from diffufuse.report.figures import looks
from diffufuse.report.figures.parts import fold, quiet_grid, wrapped
from diffufuse.report.pictures.fused_case import FusedCase, Plane, fused_case
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.style import INK, MEDIUM, PALETTE, house_style, new_figure
from diffufuse.types import Mask

PANEL_IN = 2.1
REACH_MM = 10.0
STEP_MM = 0.5
SMOOTHING_MM = 1.5
ASTRAY_MM = 2.0
FEWEST = 8
SOURCE_LINES = ("-", "--")
NOTHING = "no margin to cross: the slice has no region, or one that is too small"


@dataclass(frozen=True)
class Profiles:
    """Gray levels along normals of a margin.

    Attributes:
        distance_mm: (t,) from the margin, negative inside the region.
        points_mm: (n, 2) points of the margin, x and y.
        levels: image to (n, t) gray levels; NaN where a normal leaves the image or comes near another margin.
    """

    distance_mm: Float[np.ndarray, " t"]
    points_mm: Float[np.ndarray, "n 2"]
    levels: Mapping[str, Float[np.ndarray, "n t"]]


def profiles(images: Mapping[str, Plane], region: Mask, present: Mask, spacing_mm: tuple[float, float]) -> Profiles:
    """Sample images along the normals of a region's margin.

    The margin is the zero line of the signed distance to the region, the normal its gradient, smoothed by 1.5 mm. Every
    pixel at the margin gives a point; a sample counts where both sources were acquired, and where its distance to the
    margin is that along the normal, up to 2 mm: else it is nearer to another part of the margin.

    Args:
        images: name to (X, Y) gray levels.
        region: (X, Y) boolean.
        present: (X, Y) boolean, where both sources were acquired.
        spacing_mm: size of a pixel along x and y.
    """
    distance = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    if not region.any() or region.all():
        return Profiles(distance, np.zeros((0, 2)), {name: np.zeros((0, distance.size)) for name in images})
    signed = signed_distance_mm(region, spacing_mm)
    smooth = ndimage.gaussian_filter(signed, [SMOOTHING_MM / mm for mm in spacing_mm])
    gradient = np.stack(np.gradient(smooth, *spacing_mm))
    edge = region & ~ndimage.binary_erosion(region, border_value=1)
    at = np.argwhere(edge)
    normal = gradient[:, *at.T].T
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    at, normal, length = at[length[:, 0] > 0], normal[length[:, 0] > 0], length[length[:, 0] > 0]
    normal = normal / length
    points = at * np.array(spacing_mm) - signed[*at.T][:, None] * normal
    along = points[:, None] + distance[None, :, None] * normal[:, None]
    pixels = np.moveaxis(along / np.array(spacing_mm), -1, 0)
    astray = np.abs(_sampled(signed, pixels) - distance) > ASTRAY_MM
    left_out = astray | (_sampled(present.astype(float), pixels) < 1)
    levels = {name: np.where(left_out, np.nan, _sampled(image, pixels)) for name, image in images.items()}
    return Profiles(distance, points, levels)


def signed_distance_mm(region: Mask, spacing_mm: tuple[float, float]) -> Float[np.ndarray, "x y"]:
    """Distance of every pixel's center to the region's margin, negative inside; the margin is between two pixels."""
    outside, inside = (ndimage.distance_transform_edt(mask, sampling=spacing_mm) for mask in (~region, region))
    half = 0.5 * min(spacing_mm)
    signed: np.ndarray = np.where(region, half - inside, outside - half)
    return signed


def mean_profile(levels: Float[np.ndarray, "n t"]) -> Float[np.ndarray, " t"]:
    """Mean over the points of a margin; NaN where fewer than eight count."""
    count = np.count_nonzero(~np.isnan(levels), axis=0)
    total = np.nansum(levels, axis=0)
    return np.divide(total, count, out=np.full(levels.shape[1], np.nan), where=count >= FEWEST)


def steepness(profile: Float[np.ndarray, " t"]) -> float:
    """Largest slope of a profile within 3 mm of the margin, of 0..1 per mm; NaN if it is undefined there."""
    distance = np.arange(profile.size) * STEP_MM - REACH_MM
    slope = np.abs(np.gradient(profile, STEP_MM))[np.abs(distance) <= 3]
    return float(np.nanmax(slope)) if np.isfinite(slope).any() else math.nan


def _sampled(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    sampled: np.ndarray = ndimage.map_coordinates(image.astype(float), pixels, order=1, mode="constant", cval=math.nan)
    return sampled


def draw(shown: FusedCase, *, region: str, title: str) -> Figure:
    """Draw the margin on the structure, and a panel per model with the mean profile of its image and of both sources.

    Args:
        shown: the case.
        region: its name.
        title: of the figure.
    """
    found = profiles({**shown.sources, **shown.fused}, shown.region, shown.both, shown.spacing)
    means = {name: mean_profile(levels) for name, levels in found.levels.items()}
    rows, across = wrapped(1 + len(shown.fused), PANEL_IN)
    with house_style():
        figure = new_figure(max(4.4, 0.5 + PANEL_IN * across), 0.8 + 1.9 * rows)
        grid = figure.subplots(rows, across, squeeze=False).ravel()
        _draw_margin(grid[0], shown, found)
        defined = [mean for mean in means.values() if np.isfinite(mean).any()]
        top = 1.08 * max((float(np.nanmax(mean)) for mean in defined), default=1.0)
        for number, (model, axes) in enumerate(zip(shown.fused, grid[1:], strict=False)):
            _draw_panel(axes, found.distance_mm, means, model, number, list(shown.sources))
            axes.set_ylim(0, top)
            first = (number + 1) % across == 0 or not number
            axes.tick_params(labelleft=first)
            axes.set_ylabel("Gray level (0..1)" if first else "", fontsize=7)
        for axes in grid[1 + len(shown.fused) :]:
            axes.set_axis_off()
        handles, labels = grid[1].get_legend_handles_labels() if len(shown.fused) else ([], [])
        figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2, frameon=False, fontsize=7)
        count = f"mean over n = {len(found.points_mm)} points of the margin of {region}" if defined else NOTHING
        figure.suptitle(f"{title}\n{count}", fontsize=8, fontweight="bold")
    return figure


def _draw_margin(axes: Axes, shown: FusedCase, found: Profiles) -> None:
    width, height = shown.view.size_mm
    structure = next(iter(shown.sources.values()))
    axes.imshow(shown.cut(structure), cmap="gray", vmin=0, vmax=1, origin="lower", extent=(0, width, 0, height))
    step = np.array(shown.spacing)
    corner = np.array([part.start for part in shown.view.box]) * step
    points = found.points_mm + 0.5 * step - corner
    axes.plot(points[:, 0], points[:, 1], ".", color=PALETTE[1], markersize=1.6)
    axes.set(xlim=(width, 0), ylim=(0, height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(next(iter(shown.sources)), fontweight="normal", fontsize=7)


def _draw_panel(
    axes: Axes,
    distance_mm: np.ndarray,
    means: Mapping[str, np.ndarray],
    model: str,
    number: int,
    sources: Sequence[str],
) -> None:
    for source, line in zip(sources, SOURCE_LINES, strict=False):
        label = f"{source}{_told(means[source], ' (', ')')}"
        axes.plot(distance_mm, means[source], color=MEDIUM, linewidth=1.1, linestyle=line, label=label)
    color = looks.COLORS[number % len(looks.COLORS)]
    axes.plot(distance_mm, means[model], color=color, linewidth=1.6)
    axes.axvline(0, color=INK, linewidth=0.6, linestyle=":")
    axes.set_title(f"{fold(model, 24)}{_told(means[model], chr(10))}", fontsize=7, fontweight="normal")
    axes.set_xlabel("inside   Distance (mm)   outside", fontsize=6.5)
    axes.set_xlim(-REACH_MM, REACH_MM)
    quiet_grid(axes, "y")


def _told(profile: np.ndarray, before: str, after: str = "") -> str:
    slope = steepness(profile)
    return "" if math.isnan(slope) else f"{before}steepest {slope:.3f} per mm{after}"


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    modalities: Mapping[str, Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]],
    case: str,
    models: Sequence[str],
    regions: Mapping[str, list[int]],
) -> Figure:
    """Profiles of a case's fused images under `clean` across the margin of its first region.

    Args:
        inputs: the case, and a folder of predictions for each model.
        dataset: for the title.
        modalities: not used.
        sources: those that were fused, the structure first: name to block, `normalization` to gray levels is read.
        case: its name.
        models: those that fuse, in the order of the folders.
        regions: region to the label values that it joins.
    """
    region, values = next(iter(regions.items()))
    shown = fused_case(inputs, case=case, models=models, sources=sources, region=values)
    place = f"axial slice {shown.view.level + 1} of {shown.slices}"
    return draw(shown, region=region, title=f"{case}, {dataset}, {place}")
