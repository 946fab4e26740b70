"""DiffuFuseMed: diffusion denoising of each modality's tokens, and reliability-gated fusion.

`network` is the path from images to logits, `diffusion` the equations of the process, `denoiser` and `attention` the
networks on tokens, `reliability` the gates, `conditioning` the embeddings.
"""

from diffufuse.models.diffufusemed.network import DiffuFuseMed

__all__ = ["DiffuFuseMed"]
