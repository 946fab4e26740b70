"""Score fused images that others published, against the pairs that they were made of.

A release that has its sources gives them the names of its images. One that has not is matched: a fused image is close
to the brighter source nearly everywhere, so it correlates with the pixelwise maximum of its own pair, and clearly less
with that of any other. What correlates too weakly, or with two pairs alike, is left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from diffufuse.errors import BadInput
from diffufuse.evaluate.fused import mean_scores
from diffufuse.pixels.color import luma_and_chroma
from diffufuse.pixels.image_file import read_picture

Plane = Float[np.ndarray, "rows columns"]
# The least correlation of a match. Of DM-FNet's images, those with a pair have 0.979 or more, and the next one 0.935.
LEAST = 0.97
# How far the next pair must lie behind, in correlation; neighboring slices of one patient lie 0.03 behind.
APART = 0.01
COLUMNS = ["model", "pair", "metric", "value"]
# Fusions without training of the very same pairs, as those of `models.fusers.pixelwise`.
CONTROLS: Mapping[str, Callable[[Plane, Plane], Plane]] = {
    "average": lambda a, b: (a + b) / 2,
    "maximum": np.maximum,
}


@dataclass(frozen=True)
class Pair:
    """Two sources that show one object.

    Attributes:
        a: luma in 0..1, first row on top.
        b: the other source, same shape.
    """

    a: Plane
    b: Plane


@dataclass(frozen=True)
class Matching:
    """Which pair each published image was made of.

    Attributes:
        pairs: image to pair.
        weak: images that correlate with no pair, or only weakly.
        ambiguous: images that two pairs would fit, or whose pair another image would fit.
    """

    pairs: Mapping[str, str]
    weak: tuple[str, ...]
    ambiguous: tuple[str, ...]

    def __str__(self) -> str:
        """How many were matched, and how many not."""
        total = len(self.pairs) + len(self.weak) + len(self.ambiguous)
        return f"{len(self.pairs)} of {total} ({len(self.weak)} fit none, {len(self.ambiguous)} several)"


def gray(path: Path) -> Plane:
    """A picture's luma in 0..1, not rounded, as the luma of a study's pairs; see `read_picture`."""
    picture = read_picture(path)
    return luma_and_chroma(picture)[0] if picture.ndim > 2 else picture


def read_pair(a: Path, b: Path) -> Pair:
    """Read two sources.

    Raises:
        BadInput: one cannot be read, or they differ in size.
    """
    pair = Pair(gray(a), gray(b))
    if pair.a.shape != pair.b.shape:
        raise BadInput(f"{a}: expected the size of its partner, {pair.b.shape}, got {pair.a.shape}; get both again.")
    return pair


def read_named(fused: Path, a: Path, b: Path) -> tuple[dict[str, Plane], dict[str, Pair]]:
    """Read a release that has its sources.

    Args:
        fused: folder of the fused images.
        a: folder of one source, under the same names.
        b: folder of the other source.

    Returns:
        Name to image, and name to pair.

    Raises:
        BadInput: there is no image, a source is missing, or one cannot be read.
    """
    images = read_images(fused)
    lost = [folder / name for name in images for folder in (a, b) if not (folder / name).is_file()]
    if lost:
        raise BadInput(f"{lost[0]}: expected the source of a fused image of this name; get the release again.")
    return images, {name: read_pair(a / name, b / name) for name in images}


def read_images(folder: Path) -> dict[str, Plane]:
    """File name to luma of every picture in a folder, in the order of names.

    Raises:
        BadInput: there is none, or one cannot be read.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    if not paths:
        raise BadInput(f"{folder}: expected fused images, got none; name the folder of the mirror.")
    return {path.name: gray(path) for path in paths}


def matched(images: Mapping[str, Plane], pairs: Mapping[str, Pair]) -> Matching:
    """Find the pair of each fused image by correlation with the pixelwise maximum of its sources.

    Args:
        images: name to fused image.
        pairs: name to pair; one of another size fits no image.
    """
    patterns = {name: (pair.a.shape, _standardized(np.maximum(pair.a, pair.b))) for name, pair in pairs.items()}
    best: dict[str, str] = {}
    ambiguous = []
    for name, image in images.items():
        own = _standardized(image)
        fitting = ((float(own @ other), pair) for pair, (shape, other) in patterns.items() if shape == image.shape)
        first, second = sorted([*fitting, (0.0, ""), (0.0, "")], reverse=True)[:2]
        if first[0] >= LEAST and first[0] - second[0] >= APART:
            best[name] = first[1]
        elif first[0] >= LEAST:
            ambiguous.append(name)
    weak = tuple(name for name in images if name not in best and name not in ambiguous)
    claims = Counter(best.values())
    ambiguous += [name for name, pair in best.items() if claims[pair] > 1]
    return Matching({name: pair for name, pair in best.items() if claims[pair] == 1}, weak, tuple(ambiguous))


def published_scores(images: Mapping[str, Plane], pairs: Mapping[str, Pair], *, model: str) -> pd.DataFrame:
    """Every metric of published images and, as controls, of two fusions without training of the very same pairs.

    Args:
        images: name to published image.
        pairs: name of each image to its pair.
        model: who made the images.

    Returns:
        Columns model, pair, metric, value; model is the given one, `average` or `maximum`. NaN is undefined.

    Raises:
        BadInput: an image has another size than its pair.
    """
    rows = []
    for name, image in images.items():
        pair = pairs[name]
        if image.shape != pair.a.shape:
            raise BadInput(f"{name}: expected the size of its sources, {pair.a.shape}, got {image.shape}.")
        fused = {model: image} | {control: fuse(pair.a, pair.b) for control, fuse in CONTROLS.items()}
        for made_by, one in fused.items():
            rows += [(made_by, name, metric, value) for metric, value in mean_scores([(pair.a, pair.b, one)]).items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _standardized(image: Plane) -> Float[np.ndarray, " pixels"]:
    """Pixels with mean 0 and length 1, so that a product is a correlation; 0 for a constant image."""
    centered = image.ravel() - image.mean()
    return centered / max(float(np.linalg.norm(centered)), np.finfo(float).tiny)
