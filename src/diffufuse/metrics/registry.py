"""All metrics by name: those of masks and probabilities, and those of fused images, which read `image`."""

from collections.abc import Mapping
from types import MappingProxyType

from diffufuse.metrics.catalogue import METRICS, Metric
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, FusionMetric

# The region under which the metrics of a fused image stand in tables: they are of no region of the body.
IMAGE = "image"
MASKS = ("mask", "surface")
ALL_METRICS: Mapping[str, Metric | FusionMetric] = MappingProxyType({**METRICS, **FUSION_METRICS})
# What stands in tables kept in Git beside mask metrics, of those of fused images: one definition of each quantity.
CORE_OF_IMAGES = ("psnr", "ssim", "qabf", "vif", "mi", "en", "sd", "sf", "ag")


def of_masks(name: str) -> bool:
    """Whether a metric compares masks, or the surfaces of masks."""
    return ALL_METRICS[name].reads in MASKS
