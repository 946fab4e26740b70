"""A fused image and its two sources, and the quantities that several metrics need, computed lazily and cached."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from diffufuse.metrics.fusion.windows import Moments, Plane, Planes, gaussian_window, moments

GRAY_LEVELS = 256
BRIGHTEST = GRAY_LEVELS - 1
SMALLEST_SIDE = 3
# Of values in 0..1; what single precision makes of a constant image is below it.
CONSTANT = 1e-6
# Gray levels per pixel; what single precision makes of two equal gradients, or of one that is 0, differs by less.
ROUNDING = 1e-3
# Parts of a gray level; the mean of two levels lies half-way between two others, whatever the precision.
TIES = 1024
SSIM_SIDE, SSIM_SIGMA = 11, 1.5


class Edges(NamedTuple):
    """Sobel gradients of an image that is black beyond its border.

    Attributes:
        strength: length of the gradient, gray levels per pixel.
        angle: of the gradient as a line, -π/2..π/2; π/2 where the image does not change along its second axis.
    """

    strength: Plane
    angle: Plane

    @property
    def inner(self) -> "Edges":
        """Without the outermost pixels, at which the border itself is an edge."""
        return Edges(self.strength[1:-1, 1:-1], self.angle[1:-1, 1:-1])


@dataclass(frozen=True)
class Fusion:
    """A fused image and its two sources, of one channel each.

    The values are scored as they are. Only what counts gray levels (entropy, mutual information, FMI) rounds to the
    nearest of 256, as saving an 8-bit file would; half-way values, such as the mean of two levels, to the even one.

    Attributes:
        a: (X, Y), floating point, 0..1.
        b: the other source, same shape; all metrics are symmetric in the two.
        fused: same shape.

    Raises:
        ValueError: an image is not of floating point, not 2-D, smaller than 3x3, of another shape than `fused`, or has
            a value that is not in 0..1.
    """

    a: Plane
    b: Plane
    fused: Plane

    def __post_init__(self) -> None:
        """Check types, shapes and values; turn all into double precision."""
        for name in ("fused", "a", "b"):
            image = getattr(self, name)
            _check(name, image, shape=np.shape(self.fused))
            object.__setattr__(self, name, np.asarray(image, np.float64))

    @property
    def sources(self) -> tuple[Plane, Plane]:
        """Both sources."""
        return self.a, self.b

    @property
    def smallest_side(self) -> int:
        """Pixels along the shorter axis."""
        return min(self.fused.shape)

    @cached_property
    def constant(self) -> tuple[bool, bool, bool]:
        """Whether A, B and the fused image have one value only."""
        a, b, fused = (is_constant(image) for image in (self.a, self.b, self.fused))
        return a, b, fused

    @cached_property
    def stack(self) -> Planes:
        """A, B and the fused image, (3, X, Y)."""
        return np.stack([self.a, self.b, self.fused])

    @cached_property
    def levels(self) -> Planes:
        """A, B and the fused image as gray levels, 0..255, not rounded."""
        return BRIGHTEST * self.stack

    @cached_property
    def rounded(self) -> UInt8[np.ndarray, "3 x y"]:
        """A, B and the fused image as an 8-bit file holds them: the nearest gray level, of two the even one."""
        return np.rint(np.rint(self.levels * TIES) / TIES).astype(np.uint8)

    @cached_property
    def edges(self) -> tuple[Edges, Edges, Edges]:
        """Edges of A, B and the fused image."""
        a, b, fused = (_edges(image) for image in self.levels)
        return a, b, fused

    @cached_property
    def moments(self) -> Moments:
        """Local moments in the window of SSIM, Gaussian, 11x11, SD 1.5; of values in 0..1."""
        return moments(self.stack, gaussian_window(SSIM_SIDE, SSIM_SIGMA))


def is_constant(image: Plane) -> bool:
    """Whether an image of values in 0..1, or a difference of two, has one value only, up to rounding."""
    return bool(np.ptp(image) < CONSTANT)


def _check(name: str, image: Plane, *, shape: tuple[int, ...]) -> None:
    if not isinstance(image, np.ndarray) or image.dtype.kind != "f":
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{name}: expected an array of floating point with values in 0..1, got {kind}")
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise ValueError(f"{name}: expected one channel of at least 3x3 pixels, got the shape {image.shape}")
    if image.shape != shape:
        raise ValueError(f"{name}: expected the shape of the fused image, {shape}, got {image.shape}")
    outside: Bool[np.ndarray, "x y"] = ~((image >= 0) & (image <= 1))
    if outside.any():
        count = np.count_nonzero(outside)
        raise ValueError(f"{name}: expected values in 0..1, got {image[outside][0]:g} and {count - 1} more outside")


def _edges(image: Plane) -> Edges:
    """By the two 3x3 Sobel kernels over 8, which make the gradient of a ramp its slope."""
    image = np.pad(image, 1)
    across = image[:, 2:] - image[:, :-2]
    down = image[:-2] - image[2:]
    along_second = (across[:-2] + 2 * across[1:-1] + across[2:]) / 8
    along_first = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 8
    upright = np.abs(along_second) < ROUNDING
    strength = np.sqrt(along_first**2 + along_second**2)
    along_second[upright] = 1
    angle = np.arctan(along_first / along_second)
    angle[upright] = math.pi / 2
    return Edges(strength, angle)
