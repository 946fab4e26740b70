"""How far each modality of a sample can be trusted, and the gates that follow (Eqs. 11 and 12)."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.diffufusemed.tokens import TokenNorm

FLOOR = 1e-6
LAPLACIAN = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


class ReliabilityEstimator(nn.Module):
    """rho_m in 0..1 for every modality m of a sample, by one small perceptron for all modalities.

    Eq. 11 gives it the tokens' mean and the variance of the predicted noise. Under noise that was added at a known
    time that variance tells the time and little of the image; so the prediction is that of the probe, made without
    added noise, where it measures how far the tokens are from clean ones. Beside it stand mean and spread of the
    features of every level, the image's roughness, and which modality it is. All are brought to one scale by running
    moments, so that no magnitude drowns the others.
    """

    def __init__(self, modalities: int, features: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.zeros(modalities, hidden))
        self.norm = TokenNorm(modalities, features)
        self.first, self.second = nn.Linear(features, hidden), nn.Linear(hidden, 1)

    def forward(
        self, features: Float[Tensor, "batch modality feature"], there: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch modality"]:
        """Logit of rho_m, of every modality; that of an absent one means nothing."""
        scaled = self.norm(features[..., None], there[..., None])[..., 0]
        hidden = nn.functional.gelu(self.first(scaled) + self.modality)
        return self.second(hidden)[..., 0]


def moments_of(
    features: Float[Tensor, "batch modality width *grid"], inside: Bool[Tensor, "batch modality *grid"]
) -> Float[Tensor, "batch modality 2"]:
    """Mean of a level's features where its modality was acquired, and log of their spread over places.

    Two numbers, not two for each feature: those of single features drift as the encoder learns, and a perceptron on
    hundreds of them did not learn to tell a noisy image from a clean one (area under the curve 0.54 after 300 steps).
    """
    flat, weight = features.flatten(3), inside.flatten(2)[:, :, None].to(features.dtype)
    count = weight.sum(dim=3).clamp(min=1)
    mean = (flat * weight).sum(dim=3) / count
    variance = ((flat - mean[..., None]).square() * weight).sum(dim=3) / count
    return torch.stack([mean.mean(dim=2), (variance.mean(dim=2) + FLOOR).log()], dim=2)


def roughness_of(
    images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
) -> Float[Tensor, "batch modality 1"]:
    """Log mean magnitude of an image's axial Laplacian where its whole 3x3 neighborhood was acquired.

    The mask is blind to planes and edges, so what it leaves is mostly noise, and little is left of a blurred image.

    Source: Immerkær, Fast noise variance estimation, Computer Vision and Image Understanding 64(2), 1996.
    """
    count = images.shape[0]
    shown, known = (rearrange(part, "b m x y z -> (b m z) 1 x y") for part in (images * presence, presence.to(images)))
    kernel = torch.tensor(LAPLACIAN, device=images.device, dtype=images.dtype)[None, None]
    whole = nn.functional.avg_pool2d(known, 3, stride=1) > 1 - FLOOR
    rough = nn.functional.conv2d(shown, kernel).abs() * whole
    total, places = (
        rearrange(part, "(b m z) 1 x y -> b m (x y z)", b=count, z=images.shape[4]).sum(dim=2, keepdim=True)
        for part in (rough, whole.to(images))
    )
    return (total / places.clamp(min=1)).clamp(min=FLOOR).log()


def noise_features_of(
    predicted: Float[Tensor, "batch modality width *grid"], inside: Bool[Tensor, "batch modality *grid"]
) -> Float[Tensor, "batch modality 2"]:
    """Logarithms of the variance and of the mean magnitude of predicted noise where its modality was acquired."""
    flat, weight = predicted.flatten(3), inside.flatten(2)[:, :, None].to(predicted.dtype)
    count = weight.sum(dim=(2, 3)).clamp(min=1) * flat.shape[2]
    squared, magnitude = ((part * weight).sum(dim=(2, 3)) / count for part in (flat.square(), flat.abs()))
    return torch.stack([squared, magnitude], dim=2).clamp(min=FLOOR).log()


def gates_of(
    reliability: Float[Tensor, "batch modality"], there: Bool[Tensor, "batch modality"], *, temperature: float
) -> Float[Tensor, "batch modality"]:
    """w_m: softmax of temperature * rho over the present modalities, exactly 0 for the absent (Eq. 12).

    Where none is present all gates are 0.
    """
    logits = torch.where(there, temperature * reliability, float("-inf")).masked_fill(~there.any(1, keepdim=True), 0.0)
    return torch.where(there, torch.softmax(logits, dim=1), 0.0)
