"""The images of a case before and after registration: reference and moving image in alternating tiles."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffufuse.files.atomic import atomic_path
from diffufuse.prepare.case import Prepared
from diffufuse.space.volumes import Volume

WIDTH_IN = 7.2
TILE_MM = 24.0
PLANES = ("axial", "coronal", "sagittal")
SHOWN_PERCENTILES = (1.0, 99.0)
SHOWN_CT_HU = (-160.0, 240.0)
CONTOUR, BODY = "#E69F00", "#56B4E9"
PNG_DPI = 200
# Its own, so that the style of the report's figures prepares no case anew.
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.labelcolor": "#222222",
    "text.color": "#222222",
    "figure.constrained_layout.w_pad": 0.04,
    "figure.constrained_layout.h_pad": 0.04,
}


def draw(prepared: Prepared, *, case: str) -> Figure:
    """Draw three orthogonal slices through the tumor, once per modality and position.

    The first row is the reference by itself; then each moving modality alternates with the reference in tiles of
    24 mm, on the left where its header puts it, on the right where registration does. Bones and skin that run on
    across the borders of the tiles are aligned. The labels are outlined; the patient's right is on the left.

    Args:
        prepared: from `preparation.prepare_case`; its slices go through the middle of the labels, or of the volume.
        case: name of the case.

    Returns:
        A figure with six columns, and one row per modality.
    """
    reference = prepared.record["reference"]
    moving = [name for name in prepared.images if name != reference]
    center = _center(prepared)
    ratios = [_extent_mm(prepared.body, plane)[0] for plane in range(3)] * 2
    tallest = max(_extent_mm(prepared.body, plane)[1] for plane in range(3))
    row_in = (WIDTH_IN - 0.5) * tallest / sum(ratios)
    with _style():
        figure = Figure(figsize=(WIDTH_IN, 0.5 + (row_in + 0.35) * (1 + len(moving))), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(1 + len(moving), 6, squeeze=False, gridspec_kw={"width_ratios": ratios})
        _draw_reference(grid[0], prepared, reference, center)
        for row, name in zip(grid[1:], moving, strict=True):
            _draw_row(row, prepared, name, center)
            row[0].set_ylabel(name, fontweight="bold")
        grid[0, 0].set_ylabel(f"{reference}\n(reference)", fontweight="bold")
        figure.suptitle(f"{case}: registration to {reference}", fontsize=9, fontweight="bold")
    return figure


def write_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture; the same picture gives the same bytes on any day."""
    with _style(), atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=PNG_DPI, metadata={"Software": None})


@contextmanager
def _style() -> Iterator[None]:
    """Whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def checkerboard(first: np.ndarray, second: np.ndarray, *, tile: tuple[int, int]) -> np.ndarray:
    """Two images of one shape in alternating tiles; the first has the corner.

    Args:
        first: (rows, columns).
        second: (rows, columns).
        tile: rows and columns of a tile.
    """
    rows, columns = np.indices(first.shape)
    return np.where((rows // tile[0] + columns // tile[1]) % 2 == 0, first, second)


def _draw_reference(row: np.ndarray, prepared: Prepared, reference: str, center: np.ndarray) -> None:
    image, body = prepared.images[reference], prepared.body
    for plane in range(3):
        shown = _cut(_scaled(prepared, reference, image.array), center, plane)
        _draw_plane(row[plane], shown, prepared, center, plane)
        _draw_plane(row[plane + 3], shown, prepared, center, plane)
        _contour(row[plane + 3], _cut(body.array, center, plane), _extent_mm(body, plane), color=BODY)
        row[plane].set_title(PLANES[plane], fontweight="normal")
        row[plane + 3].set_title(f"{PLANES[plane]}, body", fontweight="normal")


def _draw_row(row: np.ndarray, prepared: Prepared, name: str, center: np.ndarray) -> None:
    reference = prepared.record["reference"]
    fixed = _scaled(prepared, reference, prepared.images[reference].array)
    for first, moving in ((0, prepared.unregistered[name].array), (3, prepared.images[name].array)):
        shown = _scaled(prepared, name, moving)
        for plane in range(3):
            columns_mm, rows_mm = _steps_mm(prepared.body, plane)
            tile = max(2, round(TILE_MM / rows_mm)), max(2, round(TILE_MM / columns_mm))
            tiles = checkerboard(_cut(fixed, center, plane), _cut(shown, center, plane), tile=tile)
            _draw_plane(row[first + plane], tiles, prepared, center, plane)
    before, after = _captions(prepared.record["registration"][name])
    row[1].set_title(before, fontweight="normal")
    row[4].set_title(after, fontweight="normal")


def _captions(quality: dict[str, Any]) -> tuple[str, str]:
    before = f"before: MI {quality['similarity_before']:.2f} bit, overlap {quality['overlap_before']:.0%}"
    moved = f"moved {quality['displacement_mm']:.1f} mm, {quality['rotation_deg']:.1f}°"
    after = f"after: MI {quality['similarity_after']:.2f} bit, {moved}"
    if quality["follows"]:
        after = f"{after} (follows {quality['follows']})"
    kept = after if quality["accepted"] else "no better position found: header's kept"
    edges = f"by edges alone {quality['disagreement_mm']:.1f} mm elsewhere"
    return before, f"{kept}\nbodies overlap by {quality['body_overlap']:.0%}, {edges}"


def _draw_plane(axes: Axes, shown: np.ndarray, prepared: Prepared, center: np.ndarray, plane: int) -> None:
    width, height = _extent_mm(prepared.body, plane)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, origin="lower", extent=(0, width, 0, height), interpolation="none")
    axes.set(xlim=(width, 0) if plane < 2 else (0, width), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    _contour(axes, _cut(prepared.labels.array > 0, center, plane), (width, height), color=CONTOUR)


def _contour(axes: Axes, mask: np.ndarray, extent_mm: tuple[float, float], *, color: str) -> None:
    """Outline a mask; the rim of background closes it where it reaches the edge."""
    area = np.pad(mask.astype(float), 1)
    if mask.any():
        y, x = ((np.arange(n) - 0.5) * mm / (n - 2) for n, mm in zip(area.shape, extent_mm[::-1], strict=True))
        axes.contour(x, y, area, levels=[0.5], colors=[color], linewidths=0.8)


def _center(prepared: Prepared) -> np.ndarray:
    """Voxel of the middle of the labels, or of the volume."""
    where = np.argwhere(prepared.labels.array > 0)
    return np.rint(where.mean(axis=0)).astype(int) if len(where) else np.array(prepared.body.shape) // 2


def _cut(array: np.ndarray, center: np.ndarray, plane: int) -> np.ndarray:
    """One slice, rows upward: axial (y, x), coronal (z, x) or sagittal (z, y)."""
    axis = 2 - plane
    return np.take(array, center[axis], axis=axis).T


def _steps_mm(volume: Volume, plane: int) -> tuple[float, float]:
    """Millimeters per column and per row of a slice."""
    columns, rows = [mm for axis, mm in enumerate(volume.spacing_mm) if axis != 2 - plane]
    return columns, rows


def _extent_mm(volume: Volume, plane: int) -> tuple[float, float]:
    """Width and height of a slice."""
    columns, rows = [n for axis, n in enumerate(volume.shape) if axis != 2 - plane]
    across, up = _steps_mm(volume, plane)
    return columns * across, rows * up


def _scaled(prepared: Prepared, name: str, array: np.ndarray) -> np.ndarray:
    """Gray values between 0 and 1: CT by its window, others by their range in the body, before and after alike."""
    values = prepared.images[name].array[prepared.body.array & prepared.presence[name]]
    if not values.size:
        return np.zeros(array.shape)
    is_ct = prepared.record["registration"][name]["kind"] == "ct"
    low, high = SHOWN_CT_HU if is_ct else np.percentile(values, SHOWN_PERCENTILES)
    return np.where(array != 0, np.clip((array - low) / max(high - low, 1e-6), 0, 1), 0)
