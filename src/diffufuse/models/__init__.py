"""The models: a name in `config/models.yaml` under `architecture` is a key here."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from diffufuse.models.unet2d import UNet2D

MODELS = {"unet2d": UNet2D}


def build_model(block: Mapping[str, Any], *, modalities: int, regions: int) -> nn.Module:
    """The untrained network of a block of `config/models.yaml`.

    Args:
        block: its `architecture` names the class, its `settings` are the arguments.
        modalities: number of input images M.
        regions: number of output regions R.

    Returns:
        A module that maps images (B, M, X, Y) and presence (B, M, X, Y) to logits (B, R, X, Y).
    """
    return MODELS[block["architecture"]](modalities=modalities, regions=regions, **block["settings"])
