"""Effect of a condition on a case: before, after and their difference, one row per modality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.conditions.apply import apply_condition
from diffufuse.plan.constants import fit_constants, with_constants
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import (
    UNITS,
    Kind,
    View,
    draw_contour,
    draw_image,
    draw_orientation,
    kinds_of,
    shown_slice,
    view_of,
    window,
)
from diffufuse.report.style import PALETTE, house_style, new_figure
from diffufuse.store.case import PreparedCase
from diffufuse.store.normalization import normalized
from diffufuse.store.scan import Scan
from diffufuse.types import Mask, Spacing

PANEL_IN = 1.45
COLUMNS = ("before", "under the condition", "difference")
DIVERGING = "RdBu_r"
DIFFERENCE_PERCENTILE = 99.5
LABELS = PALETTE[4]
WHOLE = 10


@dataclass(frozen=True)
class Pair:
    """A case before and after a condition, on one grid.

    Attributes:
        before: without the condition.
        after: with the condition.
        labels: (X, Y, Z) boolean, any label.
        spacing_mm: voxel size.
        normalized: whether both are normalized, instead of in physical units.
    """

    before: Scan
    after: Scan
    labels: Mask
    spacing_mm: Spacing
    normalized: bool = False

    @classmethod
    def of(
        cls,
        case: PreparedCase,
        condition: Mapping[str, Any],
        *,
        modalities: Mapping[str, Mapping[str, Any]],
        study_seed: int,
        names: tuple[str, ...],
    ) -> "Pair":
        """A prepared case with and without a condition.

        Args:
            case: the case.
            condition: a block of `config/conditions.yaml`; if it acts after normalization, both scans are normalized,
                with constants of the case instead of the cohort.
            modalities: name to its block of `config/datasets.yaml`, in channel order; `kind` and `normalization`
                are read.
            study_seed: seed of the study.
            names: dataset, case and condition, which determine the random numbers, as for the predictions.
        """
        stage, before = condition.get("after", "acquisition"), case.scan
        if stage == "normalization":
            constants = fit_constants([case], modalities=modalities)
            before = normalized(before, modalities=with_constants(modalities, constants, training_cases=[case.name]))
        after = apply_condition(
            before,
            condition,
            modalities=modalities,
            spacing_mm=case.spacing_mm,
            study_seed=study_seed,
            names=names,
            after=stage,
        )
        labels = case.slices.labels(slice(None)).transpose(1, 2, 0) > 0
        return cls(before, after, labels, case.spacing_mm, stage == "normalization")

    @cached_property
    def difference(self) -> Scan:
        """After minus before; 0 and absent where either is absent."""
        present = self.before.presence & self.after.presence
        return Scan(np.where(present, self.after.images - self.before.images, np.float32(0)), present, self.before.body)

    @property
    def coronal(self) -> "Pair":
        """The pair with y and z swapped, so that its axial slices are the coronal ones."""
        x, y, z = self.spacing_mm
        before, after = (
            Scan(*(part.swapaxes(-1, -2) for part in (scan.images, scan.presence, scan.body)))
            for scan in (self.before, self.after)
        )
        return Pair(before, after, self.labels.swapaxes(-1, -2), (x, z, y), self.normalized)


def draw(pair: Pair, *, title: str, modalities: Mapping[str, Kind]) -> Figure:
    """Draw every modality before, after and their difference, in an axial and a coronal slice.

    Both images of a modality share one gray scale. The difference has its own diverging scale: red is more,
    blue is less, white is no change. Absent voxels are hatched. The patient's right is on the left.

    Args:
        pair: the case; the slices are those with the largest label area, or the middle ones.
        title: of the figure.
        modalities: name → kind, in the order of the scans' images.

    Returns:
        A figure with one row per modality; three axial and three coronal columns.

    Raises:
        ValueError: the two scans differ in shape, or do not have these modalities.
    """
    expected = (len(modalities), *pair.labels.shape)
    if not modalities or any(scan.images.shape != expected for scan in (pair.before, pair.after)):
        shapes = " and ".join(str(scan.images.shape) for scan in (pair.before, pair.after))
        raise ValueError(f"pair: expected images of shape {expected}, got {shapes}")
    planes = [pair, pair.coronal]
    views = [view_of([plane.before], shown_slice(plane.labels, []), plane.spacing_mm) for plane in planes]
    width_mm, height_mm = (max(view.size_mm[axis] for view in views) for axis in (0, 1))
    with house_style():
        figure = new_figure(6 * PANEL_IN + 1.6, 0.8 + PANEL_IN * height_mm / width_mm * len(modalities))
        widths = [view.size_mm[0] for view in views for _ in COLUMNS]
        grid = figure.subplots(len(modalities), 6, squeeze=False, gridspec_kw={"width_ratios": widths})
        for channel, (name, kind) in enumerate(modalities.items()):
            _draw_modality(grid[channel], planes, views, channel, name=name, kind=kind)
        for column, axes in enumerate(grid[0]):
            axes.set_title(
                f"{('axial', 'coronal')[column // 3]}, {COLUMNS[column % 3]}", fontsize=7, fontweight="normal"
            )
        for column, view in ((0, views[0]), (3, views[1])):
            draw_orientation(grid[0, column], view)
        figure.suptitle(title, fontsize=9, fontweight="bold")
    return figure


def _draw_modality(
    row: np.ndarray, planes: Sequence[Pair], views: Sequence[View], channel: int, *, name: str, kind: Kind
) -> None:
    pair = planes[0]
    unit = "normalized" if pair.normalized else UNITS[kind]
    limits = window([pair.before], channel, "mr" if pair.normalized else kind)
    reach = _reach([view.cut(plane.difference.images[channel]) for plane, view in zip(planes, views, strict=True)])
    for plane, view, panels in zip(planes, views, (row[:3], row[3:]), strict=True):
        _draw_plane(panels, plane, channel, view, limits=limits, reach=reach, kind=kind)
    _name_row(row[0], name, limits, unit)
    _draw_scale(row, reach, unit)


def _reach(changes: Sequence[np.ndarray]) -> float:
    """Upper end of the scale of a difference: a high percentile of the shown changes; 0 if nothing changed."""
    change = np.abs(np.concatenate([part.ravel() for part in changes]))
    return float(np.percentile(change[change > 0], DIFFERENCE_PERCENTILE)) if change.any() else 0.0


def _draw_plane(
    row: np.ndarray, pair: Pair, channel: int, view: View, *, limits: tuple[float, float], reach: float, kind: Kind
) -> None:
    draw_image(row[0], pair.before, channel, view, limits, kind)
    draw_image(row[1], pair.after, channel, view, limits, kind)
    difference = pair.difference
    draw_image(row[2], difference, channel, view, (-(reach or 1), reach or 1), kind)
    row[2].images[0].set_cmap(DIVERGING)
    if view.cut(difference.presence[channel]).any() and not view.cut(difference.images[channel]).any():
        row[2].text(0.5, 0.06, "no change", transform=row[2].transAxes, ha="center", fontsize=7)
    for axes in row:
        draw_contour(axes, pair.labels, view, color=LABELS, width_pt=0.6)
        axes.set_anchor("N")


def _name_row(axes: Axes, name: str, limits: tuple[float, float], unit: str) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    axes.annotate(name, (0, 0.5), (-5, 2), va="bottom", fontweight="bold", **place)
    scale = f"{_rounded(limits[0])} to {_rounded(limits[1])}\n{unit}"
    axes.annotate(scale, (0, 0.5), (-5, 0), va="top", fontsize=6, **place)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= WHOLE or value == 0 else f"{value:.2g}"


def _draw_scale(row: np.ndarray, reach: float, unit: str) -> None:
    if reach:
        bar = row[0].figure.colorbar(row[-1].images[0], ax=list(row), fraction=0.03, pad=0.01, aspect=12, panchor=False)
        bar.set_label(f"difference, {unit}", fontsize=6)
        bar.set_ticks([-reach, 0, reach], labels=[f"-{_rounded(reach)}", "0", f"+{_rounded(reach)}"], fontsize=6)
        bar.outline.set_visible(False)


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    modalities: Mapping[str, Mapping[str, Any]],
    name: str,
    condition: Mapping[str, Any],
    study_seed: int,
) -> Figure:
    """Effect of a condition on one case, with the same random numbers as in its prediction.

    Args:
        inputs: the case.
        dataset: name of the dataset, for the random numbers.
        modalities: name to its block of `config/datasets.yaml`; `kind` and `normalization` are read.
        name: of the condition.
        condition: its block of `config/conditions.yaml`.
        study_seed: seed of the study.
    """
    [case] = inputs.cases
    names = (dataset, case.name, name)
    pair = Pair.of(case, condition, modalities=modalities, study_seed=study_seed, names=names)
    return draw(pair, title=f"{name}, {case.name}", modalities=kinds_of(modalities))
