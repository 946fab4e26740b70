"""Loss terms. Equations are those of the DiffuFuseMed paper; docstrings state deviations from them.

In a training of several processes each term is that of the whole batch, of which every process has a share.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from diffufuse.collective import mean, total

HINGE_EPSILON = 1e-4
LEAST_SD = 0.5


def cross_entropy(
    logits: Float[Tensor, "batch channel x y z"], reference: Float[Tensor, "batch channel x y z"], *, softmax: bool
) -> Tensor:
    """Mean over voxels of -log p of the true class (Eq. 20); with sigmoids also over channels.

    Args:
        logits: before sigmoid or softmax.
        reference: 0 or 1; one-hot over the channels for a softmax.
        softmax: whether the channels are mutually exclusive.
    """
    if softmax:
        return mean(-(F.log_softmax(logits, dim=1) * reference).sum(dim=1).mean())
    return mean(F.binary_cross_entropy_with_logits(logits, reference))


def soft_dice(
    probability: Float[Tensor, "batch channel x y z"], reference: Float[Tensor, "batch channel x y z"]
) -> Tensor:
    """1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1), mean over channels (Eq. 21).

    Sums run over all voxels of the batch: this keeps patches without the region from saturating the loss.

    Source: Milletari et al., V-Net, 3DV 2016 (arXiv 1606.04797).
    """
    axes = (0, 2, 3, 4)
    shared = total((probability * reference).sum(axes))
    return (1 - (2 * shared + 1) / (total(probability.sum(axes) + reference.sum(axes)) + 1)).mean()


def boundary_distance(
    reference: Float[Tensor, "batch channel x y z"], spacing_mm: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch channel x y z"]:
    """Distance of every voxel to the reference's boundary in units of the patch's diagonal; 0 without a boundary.

    Outside it is the distance in mm to the nearest voxel of the region, inside to the nearest voxel beyond it.
    """
    inside = reference.detach().cpu().numpy() > 0.5
    distance = np.zeros(inside.shape, np.float32)
    for sample, mm in enumerate(spacing_mm.cpu().numpy()):
        diagonal_mm = float(np.linalg.norm(mm * inside.shape[2:]))
        for channel, mask in enumerate(inside[sample]):
            if mask.any() and not mask.all():
                out, within = (distance_transform_edt(part, sampling=mm) for part in (~mask, mask))
                distance[sample, channel] = (out + within) / diagonal_mm
    return torch.from_numpy(distance).to(reference)


def boundary(
    probability: Float[Tensor, "batch channel x y z"],
    reference: Float[Tensor, "batch channel x y z"],
    distance: Float[Tensor, "batch channel x y z"],
) -> Tensor:
    """Mean of d |p - y| (Eq. 22), d from `boundary_distance`.

    Its gradient is that of the signed boundary loss (Kervadec et al., MIDL 2019, arXiv 1812.07032): for y in {0, 1}
    the two differ by the mean of d y, which does not depend on p.
    """
    return mean((distance * (probability - reference).abs()).mean())


def noise_prediction(
    predicted: Float[Tensor, "batch modality width *grid"],
    velocity: Float[Tensor, "batch modality width *grid"],
    inside: Bool[Tensor, "batch modality *grid"],
) -> Tensor:
    """Mean squared error of the predicted velocity where a modality is present (Eq. 24, in its v form)."""
    return _mean_where((predicted - velocity).square().mean(dim=2), inside)


def restoration(
    denoised: Float[Tensor, "batch modality width *grid"],
    clean: Float[Tensor, "batch modality width *grid"],
    corrupted: Bool[Tensor, "batch modality *grid"],
) -> Tensor:
    """Mean squared error between the denoised tokens of corrupted images and the tokens of the clean images.

    Not in the paper: Eq. 24 trains the denoiser on Gaussian noise on tokens alone, but test images have motion, bias
    field or Poisson noise. 0 if nothing is corrupted.
    """
    return _mean_where((denoised - clean.detach()).square().mean(dim=2), corrupted)


def alignment(
    tokens: Float[Tensor, "batch modality width *grid"],
    gates: Float[Tensor, "batch modality"],
    inside: Bool[Tensor, "batch modality *grid"],
) -> Tensor:
    """Mean squared distance of the present modalities' tokens from their weighted mean sum_m w_m z_m (Eq. 25).

    Eq. 25 itself is minimal for constant tokens and for gates that select one modality. So the mean is a target without
    gradient, and a hinge keeps the standard deviation of every feature above one half (VICReg: Bardes et al., ICLR
    2022, arXiv 2105.04906).
    """
    weights = gates[(...,) + (None,) * (tokens.ndim - 2)]
    target = (weights * tokens).sum(dim=1, keepdim=True).detach()
    distance = _mean_where((tokens - target).square().mean(dim=2), inside)
    sd = torch.sqrt(tokens.flatten(3).var(dim=3) + HINGE_EPSILON)
    return distance + _mean_where(F.relu(LEAST_SD - sd).mean(dim=2), inside.flatten(2).any(dim=2))


def reliability(
    logit: Float[Tensor, "batch modality"],
    quality: Float[Tensor, "batch modality"],
    present: Bool[Tensor, "batch modality"],
) -> Tensor:
    """Cross-entropy between the reliability of the present modalities and their quality (first part of Eq. 26)."""
    return _mean_where(F.binary_cross_entropy_with_logits(logit, quality, reduction="none"), present)


def gate_entropy(gates: Float[Tensor, "batch modality"]) -> Tensor:
    """Mean over samples of H(w) = -sum_m w_m log w_m, in nats (second part of Eq. 26).

    Eq. 26 adds it to the loss against collapse, which minimizing it would cause; the objective subtracts it.
    """
    return mean(torch.special.entr(gates).sum(dim=1).mean())


def _mean_where(values: Float[Tensor, "*shape"], where: Bool[Tensor, "*shape"]) -> Tensor:
    return total(torch.where(where, values.float(), 0.0).sum()) / total(where.sum()).clamp(min=1)
