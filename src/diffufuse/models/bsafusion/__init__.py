"""BSAFusion: one network that brings the second image onto the first and fuses both.

`representation` makes tokens of both images that can be compared, `registration` finds the field between them, `fusion`
makes the image, `network` joins them. Li et al., BSAFusion, AAAI 2025 (arXiv 2412.08050), implemented from its
description; docs/method.md lists the decisions.
"""
