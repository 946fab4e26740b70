"""MATR: one adaptive convolution and one transformer, applied at several depths.

Tang et al.: MATR: Multimodal Medical Image Fusion via Multiscale Adaptive Transformer, IEEE TIP 31, 2022
(doi:10.1109/TIP.2022.3193288), from its description; the transformer is that of Liu et al.: Swin Transformer, ICCV 2021
(arXiv 2103.14030), through MONAI.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.fused import Fused
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.matr.convolution import GatedLayer
from diffufuse.models.pair import PairFuser

SOURCES = 2


class MATR(PairFuser):
    """Branches of 1, 2, 3... gated layers, each followed by the transformer and a gated layer, and summed.

    All branches share one gated layer and one transformer, as in the release, so their number costs no parameters.
    """

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        width: int = 16,
        branches: int = 3,
        layers: int = 3,
        heads: int = 8,
        window: int = 1,
        literal: bool = False,
    ) -> None:
        """Build the network; the defaults are the sizes of the release.

        Args:
            modalities: 2, structure and function.
            outputs: 1, the fused image.
            width: number of channels, a multiple of `heads`.
            branches: number of branches; the last one has as many gated layers.
            layers: number of transformer layers; every second one is shifted by half a window.
            heads: number of attention heads.
            window: side of an attention window in pixels. The release has 1, where attention has nothing to choose from
                and is a linear map.
            literal: as in the release, only to use its weights: features in the order of their memory, which takes
                neighboring pixels of a channel for the channels of a pixel, and the same moments for all places where
                the shared layer is applied.
        """
        from monai.networks.nets.swin_unetr import BasicLayer  # imported here, as MONAI loads slowly

        super().__init__()
        self.branches, self.literal = branches, literal
        self.stride = (window, window, 1)
        self.places = 1 if literal else 2 * branches
        self.stem, self.layer = GatedLayer(SOURCES, width), GatedLayer(width, width, places=self.places)
        self.transformer = BasicLayer(width, layers, heads, (window, window), drop_path=[0.0] * layers, qkv_bias=True)
        self.head = nn.Conv2d(width, outputs, 1, bias=False)
        # The image begins black. One that begins far below it stays there: so does the tangent, and SSIM hardly pulls.
        nn.init.zeros_(self.head.weight)

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the fused image, -1..1 by the tangent of the release."""
        features, ends = self.stem(pair), []
        for before in range(0, 2 * self.branches, 2):
            features = self.layer(features, before % self.places)
            ends.append(self.layer(self._transformed(features), (before + 1) % self.places))
        return Fused(torch.tanh(self.head(torch.stack(ends).sum(dim=0)))[..., None])

    def _transformed(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        if not self.literal:
            tokens: Tensor = self.transformer(features)
            return tokens
        batch, width, x, y = features.shape
        scrambled = features.reshape(batch, x, y, width).permute(0, 3, 1, 2)
        return self.transformer(scrambled).permute(0, 2, 3, 1).reshape(features.shape)
