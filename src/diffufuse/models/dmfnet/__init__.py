"""DM-FNet: a diffusion network learns what images look like, and a head learns to fuse by its features.

`network` is both stages, `head` what fuses the features, `attention` the weights by which it does. The diffusion
network itself is `models.layers.image_prior`. DM-FNet, arXiv 2506.15218; docs/method.md lists the decisions.
"""
