"""ConvNeXt U-Net: a U shape of ConvNeXt V2 blocks with a transformer at the coarsest level.

The follower of Fuse4Seg (arXiv 2409.10328), which names ConvNeXt blocks, skip connections and a transformer bottleneck.
Blocks as in Woo et al.: ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders, CVPR 2023 (arXiv
2301.00808). Positions come from a depthwise convolution before the transformer (Chu et al., Conditional Positional
Encodings for Vision Transformers, arXiv 2102.10882), so that whole slices can be larger than the patches of training.
MONAI's MedNeXt block has no normalization over the channels of a pixel, so these blocks are our own.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.layers.norms import PixelNorm

KERNEL = 7
RARE = -2.0  # logit of a region before training: few pixels belong to one


class ConvNeXtUNet(nn.Module):
    """U-Net of ConvNeXt V2 blocks with all modalities and their presence masks as input channels."""

    dims = 2

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: int = 2,
        layers: int = 2,
        heads: int = 8,
        stem: int = 1,
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            widths: channels per level, from fine to coarse; every level but the first halves the resolution.
            blocks: number of blocks per level of the encoder, and again of the decoder.
            layers: number of transformer layers at the coarsest level.
            heads: number of attention heads, a divisor of its width.
            stem: pixels per axis that the first level merges; the logits are at full resolution all the same.
        """
        super().__init__()
        side = stem * 2 ** (len(widths) - 1)
        self.stride = (side, side, 1)
        self.stem = nn.Conv2d(2 * modalities, widths[0], stem if stem > 1 else 3, stem, padding=int(stem == 1))
        self.levels = nn.ModuleList(_blocks(width, blocks) for width in widths)
        self.downs = nn.ModuleList(nn.Sequential(PixelNorm(a), nn.Conv2d(a, b, 2, 2)) for a, b in pairwise(widths))
        self.context = GlobalContext(widths[-1], layers=layers, heads=heads)
        steps = list(pairwise(reversed(widths)))
        self.ups = nn.ModuleList(nn.Sequential(PixelNorm(a), nn.ConvTranspose2d(a, b, 2, 2)) for a, b in steps)
        self.merges = nn.ModuleList(nn.Conv2d(2 * b, b, 1) for _, b in steps)
        self.refinements = nn.ModuleList(_blocks(b, blocks) for _, b in steps)
        self.norm = PixelNorm(widths[0])
        fine = widths[0] // stem
        self.enlarge = nn.ConvTranspose2d(widths[0], fine, stem, stem)
        logits = nn.Conv2d(fine, outputs, 1)
        nn.init.constant_(logits.bias, RARE)  # type: ignore[arg-type]
        # With weights of one sign, the few features could only lower the logits of a region until the bias has grown.
        for_and_against = torch.ones(fine).index_fill(0, torch.arange(1, fine, 2), -1.0)
        logits.weight.data.abs_().mul_(for_and_against[:, None, None])
        self.head = nn.Sequential(nn.Conv2d(fine + 2 * modalities, fine, 3, padding=1), nn.GELU(), logits)

    def forward(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch channel x y 1"]:
        """Return the logits.

        Args:
            images: (B, M, X, Y, 1) normalized; X and Y are multiples of `stride`.
            presence: (B, M, X, Y, 1); where it is False the image is ignored.
        """
        masked = torch.where(presence, images, 0.0)
        inputs = torch.cat([masked, presence.to(images.dtype)], dim=1)[..., 0]  # (B, 2M, X, Y)
        features, skips = self.stem(inputs), []
        for level, down in zip(self.levels[:-1], self.downs, strict=True):
            skips.append(level(features))
            features = down(skips[-1])
        features = self.context(self.levels[-1](features))
        for up, merge, refine, skip in zip(self.ups, self.merges, self.refinements, reversed(skips), strict=True):
            features = refine(merge(torch.cat([up(features), skip], dim=1)))
        enlarged = self.enlarge(self.norm(features))
        return self.head(torch.cat([enlarged, inputs], dim=1))[..., None]


class ResponseNorm(nn.Module):
    """Global response normalization (GRN): channels compete by their norm over the image (ConvNeXt V2, Eqs. 1 to 3)."""

    def __init__(self, width: int) -> None:
        """Build the layer of `width` channels; it begins as the identity."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, features: Float[Tensor, "batch x y width"]) -> Float[Tensor, "batch x y width"]:
        """Return the features, channels last, plus their scaled response."""
        norm = torch.linalg.vector_norm(features, dim=(1, 2), keepdim=True)
        response = norm / (norm.mean(dim=3, keepdim=True) + 1e-6)
        return torch.addcmul(self.bias, features, 1 + self.weight * response)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, normalization, and two layers on each pixel with GELU and GRN between them."""

    def __init__(self, width: int) -> None:
        """Build the block of `width` channels."""
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            ResponseNorm(4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the input plus the residual."""
        return features + self.pointwise(self.depthwise(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalContext(nn.Module):
    """Transformer over all pixels of the coarsest level as tokens."""

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        """Build the transformer; arguments as in `ConvNeXtUNet`."""
        super().__init__()
        self.positions = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(layers)
            )
        )

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the feature map with global context, of the same size."""
        placed = features + self.positions(features)
        tokens = self.layers(rearrange(placed, "b width x y -> b (x y) width"))
        return rearrange(tokens, "b (x y) width -> b width x y", x=features.shape[2])


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ConvNeXtBlock(width) for _ in range(count)))
