"""What both images have in common: tokens of which one cannot tell the modality, and the networks that try to tell."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

SIDES = 2
# Share of the classifier in the discriminator's running mean at each step of a training.
PACE = 0.01


@dataclass(frozen=True)
class Alike:
    """The features of both images, made alike.

    Attributes:
        first: of the first image.
        second: of the second one.
        told: in training, logits of which modality each image is, from its own features; None in prediction.
        hidden: likewise from its features after they were made alike.
    """

    first: Float[Tensor, "batch width fx fy"]
    second: Float[Tensor, "batch width fx fy"]
    told: Float[Tensor, "batch 2 2"] | None = None
    hidden: Float[Tensor, "batch 2 2"] | None = None


class Classifier(nn.Module):
    """A transformer over the tokens of an image behind a class token, from which a head tells the modality."""

    def __init__(self, width: int, *, layers: int, heads: int, feed_forward: int, dropout: float) -> None:
        """Build the network; arguments as for `Representation`."""
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.layers = transformer(width, layers=layers, heads=heads, feed_forward=feed_forward, dropout=dropout)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, SIDES))

    def forward(
        self, tokens: Float[Tensor, "batch place width"]
    ) -> tuple[Float[Tensor, "batch place width"], Float[Tensor, "batch width"]]:
        """Return the tokens with knowledge of each other, and the class token."""
        whole = self.layers(torch.cat([self.token.expand(len(tokens), 1, -1), tokens], dim=1))
        return whole[:, 1:], whole[:, 0]

    def told(self, tokens: Float[Tensor, "batch place width"]) -> Float[Tensor, "batch 2"]:
        """Return the logits of the modality."""
        return self.head(self(tokens)[1])


class Representation(nn.Module):
    """Patches to tokens of both images, each told of the other's modality, so that they can be compared.

    The classifier learns to tell the modality of an image. Its class token is what it knows of that modality, and is
    added to every token of the other image before the transformer of that side. The discriminator, a running mean of
    the classifier, judges the result; it learns nothing itself.
    """

    def __init__(
        self, channels: int, width: int, *, patch: int, layers: int, heads: int, feed_forward: int, dropout: float
    ) -> None:
        """Build the networks.

        Args:
            channels: of the maps of an image.
            width: of a token, a multiple of `heads`.
            patch: pixels per axis that one token stands for.
            layers: of the classifier, and of the transformer of each side.
            heads: number of attention heads.
            feed_forward: hidden features of a layer.
            dropout: in the layers.
        """
        super().__init__()
        sizes = {"layers": layers, "heads": heads, "feed_forward": feed_forward}
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.classifier = Classifier(width, dropout=dropout, **sizes)
        self.transfers = nn.ModuleList(transformer(width, dropout=dropout, **sizes) for _ in range(SIDES))
        self.discriminator = deepcopy(self.classifier).requires_grad_(False)

    def forward(self, first: Float[Tensor, "batch channel x y"], second: Float[Tensor, "batch channel x y"]) -> Alike:
        """Return the tokens of both images as maps of one token per patch."""
        patches = self.patches(torch.cat([first, second]))
        placed = rearrange(patches + self.positions(patches), "b width x y -> b (x y) width")
        tokens, kinds = (part.chunk(SIDES) for part in self.classifier(placed))
        alike = [
            transfer(own + other[:, None])
            for transfer, own, other in zip(self.transfers, tokens, kinds[::-1], strict=True)
        ]
        first, second = (rearrange(part, "b (x y) width -> b width x y", x=patches.shape[2]) for part in alike)
        if not self.training:
            return Alike(first, second)
        self._follow()
        told = torch.stack([self.classifier.head(kind) for kind in kinds], dim=1)
        hidden = torch.stack([self.discriminator.told(part) for part in alike], dim=1)
        return Alike(first, second, told, hidden)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the discriminator toward the classifier."""
        torch._foreach_lerp_(_weights(self.discriminator), _weights(self.classifier), PACE)


def transformer(width: int, *, layers: int, heads: int, feed_forward: int, dropout: float) -> nn.Sequential:
    """Layers of attention between tokens, with normalization before each part; arguments as for `Representation`."""
    settings = {"dropout": dropout, "activation": "gelu", "batch_first": True, "norm_first": True}
    return nn.Sequential(
        *(nn.TransformerEncoderLayer(width, heads, feed_forward, **settings) for _ in range(layers))  # type: ignore[arg-type]
    )


def _weights(network: nn.Module) -> list[Tensor]:
    weights: Iterable[nn.Parameter] = network.parameters()
    return [weight.detach() for weight in weights]
