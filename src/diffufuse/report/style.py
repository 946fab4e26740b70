"""Common style of all figures, and writing them to files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffufuse.files.atomic import atomic_path

PNG_DPI = 200
INK = "#222222"
QUIET = "#C4C4C4"
MEDIUM = "#8A8A8A"

# Okabe and Ito's color-blind safe palette, ordered so that neighbors also differ in gray.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.w_pad": 0.04,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.wspace": 0.02,
    "figure.constrained_layout.hspace": 0.02,
    "pdf.fonttype": 42,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Context with the common style, independent of the user's Matplotlib settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        with mpl.rc_context(STYLE):
            yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure with automatic layout, independent of any window system."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Figure, path_pdf: str | os.PathLike[str], path_png: str | os.PathLike[str]) -> None:
    """Write a figure as PDF with embedded fonts and as PNG; reproducible byte by byte."""
    with house_style(), atomic_path(path_pdf) as partial:
        figure.savefig(partial, format="pdf", metadata={"CreationDate": None})
    write_png(figure, path_png)


def write_png(figure: Figure, path: str | os.PathLike[str], *, dpi: int = PNG_DPI) -> None:
    """Write a figure as PNG."""
    with house_style(), atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})
