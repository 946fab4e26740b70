"""FusionMamba: a U-shaped network of selective scans that fuses two images at every level.

`dynamic` has its convolution and its channel attention, `blocks` the block of encoder and decoder, `cross` what fuses
the features of two images, `network` the path from images to the fused image. Xie et al.: FusionMamba: Dynamic Feature
Enhancement for Multimodal Image Fusion with Mamba, 2024 (arXiv 2404.09498), implemented from its description;
docs/method.md lists the decisions.
"""
