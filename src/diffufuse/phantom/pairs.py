"""Made-up picture pairs: a structure and an uptake of it, with edges whose place is known.

The structure is a head in cross-section: a bright rim, a gray ellipse and two dark ventricles. The uptake is a smooth
background within the head and a disk, hotter than it, in the colors of a heat scale: it has one edge that the structure
lacks, as the structure has edges that the uptake lacks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from diffufuse.files.records import write_record
from diffufuse.pixels.png import write_picture
from diffufuse.seeds import seed_of

SIDE = 96
# Gray levels of the structure, and heat of the uptake, in 0..1.
RIM, TISSUE, VENTRICLE = 0.9, 0.45, 0.15
BACKGROUND_HEAT, HOT_HEAT = 0.3, 0.8
NOISE = 0.01
SUBPIXELS = 4


@dataclass(frozen=True)
class Drawing:
    """Where the edges of a pair are, in pixels from the top left corner.

    Attributes:
        center: of the head, (row, column).
        radii: of the head, (rows, columns).
        rim: thickness of the rim.
        ventricles: (row, column, radius) of each.
        hot: (row, column, radius) of the hot disk.
    """

    center: tuple[float, float]
    radii: tuple[float, float]
    rim: float
    ventricles: Sequence[tuple[float, float, float]]
    hot: tuple[float, float, float]


def write_phantom_pairs(folder: Path, truth_folder: Path, *, pairs: int, study_seed: int) -> None:
    """Write pairs `PP-001`, `PP-002`, ...; a pair does not depend on how many there are.

    Args:
        folder: receives `structure/{case}.png`, gray, and `uptake/{case}.png`, in color.
        truth_folder: receives `{case}.json`, the `Drawing` of each.
        pairs: number of pairs.
        study_seed: seed of the study.
    """
    for number in range(1, pairs + 1):
        case = f"PP-{number:03d}"
        generator = np.random.default_rng(seed_of(study_seed, "phantom", "pairs", case))
        drawing = draw_pair(generator)
        structure, heat = structure_of(drawing), heat_of(drawing)
        write_picture(structure + generator.normal(0, NOISE, structure.shape), folder / "structure" / f"{case}.png")
        write_picture(heat_colors(heat), folder / "uptake" / f"{case}.png")
        write_record(asdict(drawing), truth_folder / f"{case}.json")


def draw_pair(generator: np.random.Generator) -> Drawing:
    """Draw the edges of one pair."""
    center = SIDE / 2 + generator.uniform(-4, 4, 2)
    radii = generator.uniform((36, 28), (42, 34))
    apart, ventricle = generator.uniform(7, 11), generator.uniform(4, 6)
    ventricles = [(center[0] + generator.uniform(-3, 3), center[1] + side * apart, ventricle) for side in (-1, 1)]
    angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(0.3, 0.6)
    row, column = center + distance * radii * (np.sin(angle), np.cos(angle))
    return Drawing(
        center=(float(center[0]), float(center[1])),
        radii=(float(radii[0]), float(radii[1])),
        rim=float(generator.uniform(3, 5)),
        ventricles=[(float(r), float(c), float(radius)) for r, c, radius in ventricles],
        hot=(float(row), float(column), float(generator.uniform(5, 9))),
    )


def structure_of(drawing: Drawing) -> Float[np.ndarray, "96 96"]:
    """Gray levels of the structure, before noise; a pixel on an edge is the mean of its parts."""
    (rows, columns), (tall, wide) = drawing.center, drawing.radii
    picture = RIM * _ellipse(rows, columns, tall, wide).astype(float)
    picture[_ellipse(rows, columns, tall - drawing.rim, wide - drawing.rim)] = TISSUE
    for row, column, radius in drawing.ventricles:
        picture[_ellipse(row, column, radius, radius)] = VENTRICLE
    return _averaged(picture)


def heat_of(drawing: Drawing) -> Float[np.ndarray, "96 96"]:
    """Heat of the uptake, 0 to 1; a pixel on an edge is the mean of its parts."""
    (rows, columns), (tall, wide) = drawing.center, drawing.radii
    row, column, radius = drawing.hot
    heat = BACKGROUND_HEAT * _ellipse(rows, columns, tall - drawing.rim, wide - drawing.rim).astype(float)
    heat[_ellipse(row, column, radius, radius) & (heat > 0)] = HOT_HEAT
    return _averaged(heat)


def heat_colors(heat: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """Black, red, yellow and white by heat: three ramps, one after the other."""
    return np.clip(np.stack([3 * heat, 3 * heat - 1, 3 * heat - 2], axis=-1), 0, 1)


def _ellipse(row: float, column: float, tall: float, wide: float) -> Bool[np.ndarray, "fine fine"]:
    """Which subpixels lie in an ellipse; a pixel n reaches from n to n + 1."""
    places = (np.arange(SIDE * SUBPIXELS) + 0.5) / SUBPIXELS
    return ((places[:, None] - row) / tall) ** 2 + ((places - column) / wide) ** 2 <= 1


def _averaged(fine: np.ndarray) -> np.ndarray:
    return fine.reshape(SIDE, SUBPIXELS, SIDE, SUBPIXELS).mean(axis=(1, 3))
