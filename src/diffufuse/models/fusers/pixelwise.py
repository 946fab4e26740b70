"""Average and maximum of the present sources, pixel by pixel: the plainest fusion there is.

The rows that every comparison of fused images begins with, as in Fuse4Seg's (arXiv 2409.10328), whose first stage is
trained on the average.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fusers.sources import completed
from diffufuse.models.present import mean_of_present


class Average(nn.Module):
    """Mean of the present sources."""

    dims = 2
    stride = (1, 1, 1)

    def __init__(self, *, modalities: int, outputs: int) -> None:
        """Build the rule.

        Args:
            modalities: number of input images M.
            outputs: 1, the fused image.
        """
        super().__init__()

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch 1 x y z"]:
        """Return the fused image in 0..1, 0 where no source is present.

        Args:
            images: (B, M, X, Y, Z) on a display scale of 0 to 1.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        return mean_of_present(images, presence).clamp(0.0, 1.0)


class Maximum(nn.Module):
    """Largest of the present sources."""

    dims = 2
    stride = (1, 1, 1)

    def __init__(self, *, modalities: int, outputs: int) -> None:
        """Build the rule; arguments as for `Average`."""
        super().__init__()

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch 1 x y z"]:
        """Return the fused image in 0..1; arguments as for `Average`."""
        return completed(images, presence).amax(dim=1, keepdim=True)
