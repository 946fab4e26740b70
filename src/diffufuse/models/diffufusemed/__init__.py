"""DiffuFuseMed: diffusion denoising of each modality's tokens, and reliability-gated fusion.

`network` is the path from images to logits, `denoiser` and `attention` the networks on tokens, `reliability` the gates;
the equations of the process and the embeddings are in `models.layers`.
"""

from diffufuse.models.diffufusemed.network import DiffuFuseMed

__all__ = ["DiffuFuseMed"]
