"""Registry of models; the keys are the values of `architecture` in `config/models.yaml`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from diffufuse.models.attention_unet import AttentionUNet
from diffufuse.models.bsafusion.network import BSAFusion
from diffufuse.models.cddfuse import CDDFuse
from diffufuse.models.convnext_unet import ConvNeXtUNet
from diffufuse.models.ddfm.network import DDFM
from diffufuse.models.diffufusemed import DiffuFuseMed
from diffufuse.models.dmfnet.network import DMFNet
from diffufuse.models.fuse4seg.leader import Fuse4SegLeader
from diffufuse.models.fuse4seg.network import Fuse4Seg
from diffufuse.models.fusers.pixelwise import Average, Maximum
from diffufuse.models.fusers.pyramid import LaplacianPyramid
from diffufuse.models.fusers.wavelet import Wavelet
from diffufuse.models.fusionmamba.network import FusionMamba
from diffufuse.models.matr.network import MATR
from diffufuse.models.multi_encoder import MultiEncoderCNN
from diffufuse.models.tfs_diff import TFSDiff
from diffufuse.models.transbts import TransBTS
from diffufuse.models.unet2d import UNet2D
from diffufuse.models.unet3d import UNet3D

MODELS = {
    "unet2d": UNet2D,
    "unet3d": UNet3D,
    "attention_unet": AttentionUNet,
    "multi_encoder": MultiEncoderCNN,
    "transbts": TransBTS,
    "diffufusemed": DiffuFuseMed,
    "convnext_unet": ConvNeXtUNet,
    "fuse4seg": Fuse4Seg,
    "fuse4seg_leader": Fuse4SegLeader,
    "bsafusion": BSAFusion,
    "dmfnet": DMFNet,
    "ddfm": DDFM,
    "tfs_diff": TFSDiff,
    "average": Average,
    "maximum": Maximum,
    "laplacian_pyramid": LaplacianPyramid,
    "wavelet": Wavelet,
    "fusionmamba": FusionMamba,
    "cddfuse": CDDFuse,
    "matr": MATR,
}


def build_model(block: Mapping[str, Any], *, modalities: int, outputs: int) -> nn.Module:
    """Build the untrained network of a block of `config/models.yaml`.

    Args:
        block: `architecture`, a key of `MODELS`, and `settings`, the arguments of its class.
        modalities: number of input images M.
        outputs: number of output channels C.

    Returns:
        A module that maps images (B, M, X, Y, Z) and presence (B, M, X, Y, Z) to logits: (B, C, X, Y, 1) of the middle
        slice where its `dims` is 2, (B, C, X, Y, Z) where it is 3. Patch sizes must be multiples of its `stride`.
    """
    return MODELS[block["architecture"]](modalities=modalities, outputs=outputs, **block["settings"])


def needs_clean_images(block: Mapping[str, Any]) -> bool:
    """Return whether a model is trained on pairs of corrupted and clean images."""
    return hasattr(MODELS[block["architecture"]], "trace")


def is_slicewise(block: Mapping[str, Any]) -> bool:
    """Return whether a model predicts slice by slice."""
    return getattr(MODELS[block["architecture"]], "dims", block["settings"].get("dims", 2)) == 2
