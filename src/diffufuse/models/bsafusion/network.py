"""BSAFusion: registration and fusion in one network.

Li et al.: BSAFusion: A Bidirectional Stepwise Feature Alignment Network for Unaligned Medical Image Fusion, AAAI 2025
(arXiv 2412.08050), implemented from its description.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffufuse.models.bsafusion.fusion import EMBEDDED, Encoder, Fusion
from diffufuse.models.bsafusion.registration import Registration
from diffufuse.models.bsafusion.representation import Representation
from diffufuse.models.fused import Fused
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.layers.warping import coarser, moved
from diffufuse.models.pair import PairFuser


class BSAFusion(PairFuser):
    """Features of both images are made alike, the second image's are moved onto the first's, and both are fused."""

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        aligned: bool = False,
        width: int = 256,
        layers: int = 2,
        token_heads: int = 4,
        token_feed_forward: int = 256,
        dropout: float = 0.1,
        encoder_width: int = 28,
        shallow: int = 8,
        fusion_widths: Sequence[int] = (256, 64, 32, 16, 12),
        registration_widths: Sequence[int] = (256, 64, 32, 16, 8),
        reach: int = 1,
        heads: int = 4,
        feed_forward: float = 2.5,
    ) -> None:
        """Build the network; the defaults are the published sizes.

        Args:
            modalities: 2, the first image and the one that is moved onto it.
            outputs: 1, the fused image.
            aligned: whether both images lie on each other already: then there is no registration.
            width: of a token.
            layers: of each transformer over tokens.
            token_heads: of their attention, a divisor of `width`.
            token_feed_forward: their hidden features.
            dropout: in them.
            encoder_width: channels of the encoder's blocks.
            shallow: channels of the features at full resolution that the fused image is made of.
            fusion_widths: channels per level, from coarse to fine, the first is `width`; a token stands for
                2^(levels - 1) pixels per axis.
            registration_widths: likewise, for as many levels; without meaning if `aligned`.
            reach: how far around each place its like is looked for by correlation; 0 for the published form.
            heads: of the attention between channels, a divisor of every width.
            feed_forward: hidden channels of its feed-forward layers in units of their width.

        Raises:
            ValueError: the number of levels or the first widths differ.
        """
        super().__init__()
        levels = [fusion_widths] if aligned else [fusion_widths, registration_widths]
        if any(widths[0] != width or len(widths) != len(fusion_widths) for widths in levels):
            raise ValueError(
                f"BSAFusion: expected {width} channels at the first of as many levels of fusion and registration, got "
                f"{fusion_widths} and {registration_widths}"
            )
        blocks: dict[str, Any] = {"heads": heads, "feed_forward": feed_forward}
        tokens: dict[str, Any] = {"heads": token_heads, "feed_forward": token_feed_forward, "dropout": dropout}
        self.patch = 2 ** (len(fusion_widths) - 1)
        self.stride = (self.patch, self.patch, 1)
        self.encoder = Encoder(encoder_width, shallow, **blocks)
        self.representation = Representation(EMBEDDED, width, patch=self.patch, layers=layers, **tokens)
        self.registration = None if aligned else Registration(registration_widths, reach=reach, **blocks)
        self.fusion = Fusion(fusion_widths, shallow, **blocks)

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the fused image on the grid of the first, and the field that moves the second one there."""
        shallow, embedded = self.encoder(torch.cat(pair.split(1, dim=1)))
        first, second = shallow.chunk(2)
        alike = self.representation(*embedded.chunk(2))
        tokens, field = alike.second, None
        if self.registration is not None:
            # Two equal images, as where one is absent, have nothing to register.
            differ = (pair[:, :1] != pair[:, 1:]).flatten(1).any(dim=1)
            field = differ[:, None, None, None] * self.registration(alike.first, alike.second)
            second, tokens = moved(second, field), moved(tokens, coarser(field, self.patch))
        fused = self.fusion(torch.cat([alike.first, tokens], dim=1), torch.cat([first, second], dim=1))
        modality = None if alike.told is None or alike.hidden is None else (alike.told, alike.hidden)
        return Fused(fused[..., None], flow=field, modality=modality)
