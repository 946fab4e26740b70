"""DiffuFuseMed: denoise each modality's tokens by diffusion, then fuse them by what they are worth.

Read `network` first: it is the whole path from images to logits. `diffusion` holds the equations of the process,
`denoiser` and `attention` the two networks on tokens, `reliability` the gates, `conditioning` the embeddings.
"""

from diffufuse.models.diffufusemed.network import DiffuFuseMed

__all__ = ["DiffuFuseMed"]
