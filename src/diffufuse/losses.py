"""What training minimizes."""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor


def dice_and_cross_entropy(
    logits: Float[Tensor, "batch region x y"], reference: Float[Tensor, "batch region x y"]
) -> dict[str, Tensor]:
    """Soft Dice loss over the batch plus binary cross-entropy, per region with a sigmoid, weighed 1:1.

    Dice: 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1), sums over all pixels of the batch, mean over regions; pooling
    the batch keeps slices without the region from saturating it. Cross-entropy: mean over pixels and regions.

    Args:
        logits: before the sigmoid.
        reference: 0 or 1.

    Returns:
        `loss` and its terms `loss_dice` and `loss_cross_entropy`, scalars without unit.

    Source: Milletari et al., V-Net, 3DV 2016; the 1:1 weights of nnU-Net (Isensee et al., Nature Methods 2021).
    """
    probability = torch.sigmoid(logits)
    over = (0, 2, 3)
    shared = (probability * reference).sum(over)
    dice = 1 - (2 * shared + 1) / (probability.sum(over) + reference.sum(over) + 1)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, reference)
    return {
        "loss": dice.mean() + cross_entropy,
        "loss_dice": dice.mean().detach(),
        "loss_cross_entropy": cross_entropy.detach(),
    }
