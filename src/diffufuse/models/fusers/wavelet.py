"""Discrete wavelet transform: the mean of the approximations, the largest magnitude of every detail.

Li, Manjunath, Mitra: Multisensor Image Fusion Using the Wavelet Transform, Graphical Models and Image Processing 57,
1995 (doi 10.1006/gmip.1995.1022), through PyWavelets.
"""

from typing import Literal

import numpy as np
import pywt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fusers.sources import completed


class Wavelet(nn.Module):
    """Fusion band by band of a wavelet transform, on the CPU and without gradients."""

    dims = 2
    stride = (1, 1, 1)

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        wavelet: Literal["haar", "db2", "db4", "sym4", "bior4.4"] = "db2",
        levels: int = 4,
    ) -> None:
        """Build the rule.

        Args:
            modalities: number of input images M.
            outputs: 1, the fused image.
            wavelet: name of the wavelet.
            levels: number of levels; fewer where the image is too small for them.
        """
        super().__init__()
        self.wavelet, self.levels = wavelet, levels

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch 1 x y z"]:
        """Return the fused image in 0..1, 0 where no source is present.

        Args:
            images: (B, M, X, Y, Z) on a display scale of 0 to 1.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        sources = completed(images, presence).float().cpu().numpy()
        fused = torch.as_tensor(self._fused(sources)).to(images.device)[:, None]
        return torch.where(presence.any(dim=1, keepdim=True), fused.clamp(0.0, 1.0), 0.0)

    def _fused(self, sources: np.ndarray) -> np.ndarray:
        """The fused slices (B, X, Y, Z) of the sources (B, M, X, Y, Z)."""
        x, y = sources.shape[2:4]
        levels = min(self.levels, pywt.dwt_max_level(min(x, y), self.wavelet))
        approximation, *details = pywt.wavedec2(sources, self.wavelet, level=levels, axes=(2, 3))
        chosen = [tuple(_largest(band) for band in bands) for bands in details]
        return pywt.waverec2([approximation.mean(axis=1), *chosen], self.wavelet, axes=(1, 2))[:, :x, :y]


def _largest(bands: np.ndarray) -> np.ndarray:
    """At every position the coefficient of the modality in which it has the largest magnitude."""
    return np.take_along_axis(bands, np.abs(bands).argmax(axis=1, keepdims=True), axis=1)[:, 0]
