"""What makes the fused image of the mean of the sources and the leader's correction: gray levels in 0..1."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Head = Literal["sigmoid", "minmax"]

# The mean is kept this far from 0 and 1, where the logit is infinite: a 200th of half a gray level of 8 bits.
MARGIN = 1e-5
# Largest correction of the logit. It leads from 0.5 to 0.02 or 0.98, and from black to 0.0006, which is still black.
LARGEST_CORRECTION = 4.0
# Least range of gray levels that min-max stretches to 0..1.
LEAST_RANGE = 1e-3


def gray_levels(
    mean: Float[Tensor, "batch 1 x y"],
    correction: Float[Tensor, "batch 1 x y"],
    inside: Bool[Tensor, "batch 1 x y"],
    *,
    head: Head,
) -> Float[Tensor, "batch 1 x y"]:
    """Return the fused image, in 0..1.

    Args:
        mean: mean of the present sources, in 0..1.
        correction: what the leader adds, without bounds; 0 gives the image of stage 1.
        inside: where any source is present; the image is 0 elsewhere.
        head: `sigmoid` adds the bounded correction to the logit of the mean, so that black stays black; `minmax`, the
            published form, adds it to the mean and stretches each image to 0..1, by which black is lifted wherever the
            correction is negative anywhere else.
    """
    mean, correction = mean.float(), correction.float()
    if head == "minmax":
        return torch.where(inside, stretched(mean + correction, inside), 0.0)
    bounded = LARGEST_CORRECTION * torch.tanh(correction / LARGEST_CORRECTION)
    return torch.where(inside, torch.sigmoid(torch.logit(mean.clamp(MARGIN, 1 - MARGIN)) + bounded), 0.0)


def stretched(
    images: Float[Tensor, "batch 1 x y"], inside: Bool[Tensor, "batch 1 x y"]
) -> Float[Tensor, "batch 1 x y"]:
    """Return each image stretched to 0..1 by its own extremes, through which no gradient flows.

    An image of one gray level becomes 0.
    """
    fixed = images.detach()
    low = fixed.masked_fill(~inside, float("inf")).amin(dim=(1, 2, 3), keepdim=True)
    high = fixed.masked_fill(~inside, float("-inf")).amax(dim=(1, 2, 3), keepdim=True)
    low, high = (torch.where(extreme.isfinite(), extreme, 0.0) for extreme in (low, high))
    return (images - low) / (high - low).clamp(min=LEAST_RANGE)
