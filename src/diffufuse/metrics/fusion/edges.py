"""Edges of the sources that a fused image preserves, and edges that it adds.

Gradients are those of Sobel. Beyond its border an image counts as black, as in the evaluators whose numbers are
published; unless the images are black there themselves, this adds a frame of edges that everybody preserves or nobody.
`qabf_inner` and `nabf` leave the outermost pixels out.
"""

import math

import numpy as np

from diffufuse.metrics.fusion.images import ROUNDING, Edges, Fusion
from diffufuse.metrics.fusion.windows import Plane

# Gray levels per pixel: gradients below it weigh next to nothing in Nabf.
FAINT, FAINT_WEIGHT = 2.0, 0.001
# Most, slope and middle of the sigmoids of strength and of angle.
STRENGTH, ANGLE = (0.9994, -15, 0.5), (0.9879, -22, 0.8)
LINE_STRENGTH, LINE_ANGLE = (0.9999, -19, 0.5), (0.9995, -22, 0.5)


def qabf(images: Fusion) -> float:
    """Share of the edges that is preserved, Σ (Q_AF g_A + Q_BF g_B) / Σ (g_A + g_B).

    Q is the product of two sigmoids: of the ratio of the strengths, the smaller over the larger, and of the agreement
    of the angles, 1 - |angle_A - angle_F| / (π/2). `STRENGTH` and `ANGLE` are the paper's constants Γ, κ and sigma;
    weights are the strengths (L = 1).

    Returns:
        0..0.975, the most if all three images are equal; NaN if neither source has an edge.

    Source:
        Xydeas and Petrović 2000, doi:10.1049/el:20000267.
    """
    return _share_preserved(*images.edges)


def qabf_inner(images: Fusion) -> float:
    """The same without the outermost pixels, and so without a frame of edges where the images are not black there.

    Returns:
        0..0.975, the most if all three images are equal; NaN if neither source has an edge.

    Source:
        As for `qabf`.
    """
    return _share_preserved(*(edges.inner for edges in images.edges))


def nabf(images: Fusion) -> float:
    """Edges that the fusion adds: where F is steeper than A and B, Σ ((1 - Q_AF) w_A + (1 - Q_BF) w_B) / Σ (w_A + w_B).

    Q is the root of the product of two sigmoids, as in `qabf`, but angles are those of lines, so that -π/2 is π/2.
    Constants are `LINE_STRENGTH` and `LINE_ANGLE`; weights are strengths to the power 1.5, or 0.001 below 2 gray levels
    per pixel.

    Returns:
        0..1; 0 if the fused image is nowhere steeper than both sources.

    Source:
        Shreyamsha Kumar 2013, doi:10.1007/s11760-012-0361-x, after Petrović and Xydeas 2005.
    """
    a, b, fused = (edges.inner for edges in images.edges)
    added = fused.strength > np.maximum(a.strength, b.strength) + ROUNDING
    lost, total = 0.0, 0.0
    for edges in (a, b):
        weight = edges.strength * np.sqrt(edges.strength)
        weight[edges.strength < FAINT] = FAINT_WEIGHT
        lost += float(((1 - _preserved_as_line(edges, fused)) * weight)[added].sum())
        total += float(weight.sum())
    return lost / total


def _share_preserved(a: Edges, b: Edges, fused: Edges) -> float:
    total = float(a.strength.sum() + b.strength.sum())
    if not total:
        return math.nan
    return sum(float((_preserved(edges, fused) * edges.strength).sum()) for edges in (a, b)) / total


def _preserved(source: Edges, fused: Edges) -> Plane:
    agreement = 1 - np.abs(source.angle - fused.angle) / (math.pi / 2)
    return _sigmoid(_ratio(source, fused), *STRENGTH) * _sigmoid(agreement, *ANGLE)


def _preserved_as_line(source: Edges, fused: Edges) -> Plane:
    agreement = np.abs(np.abs(source.angle - fused.angle) - math.pi / 2) / (math.pi / 2)
    return np.sqrt(_sigmoid(_ratio(source, fused), *LINE_STRENGTH) * _sigmoid(agreement, *LINE_ANGLE))


def _ratio(source: Edges, fused: Edges) -> Plane:
    """The smaller strength over the larger; 0 where there is no edge."""
    larger = np.maximum(source.strength, fused.strength)
    return np.minimum(source.strength, fused.strength) / (larger + (larger == 0))


def _sigmoid(value: Plane, most: float, slope: float, middle: float) -> Plane:
    return most / (1 + np.exp(slope * (value - middle)))


# What `qabf` gives where strengths and angles are equal.
MOST_PRESERVED = float((_sigmoid(np.ones(1), *STRENGTH) * _sigmoid(np.ones(1), *ANGLE)).item())
