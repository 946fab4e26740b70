"""DDFM: sampling of a diffusion prior, corrected by the sources at each step.

`network` is the sampler, `em` the correction. The prior is `models.layers.image_prior`: our own, small one. DDFM, arXiv
2303.06840; docs/method.md lists the decisions.
"""
