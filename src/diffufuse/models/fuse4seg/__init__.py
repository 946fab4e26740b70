"""Fuse4Seg: a fusion network, the leader, and a segmentation network, the follower, of one readable image.

`leader` is the path from images to the fused image, `haar` and `detail` its parts beside the blocks of `models.layers`,
`head` what bounds the fused image, `network` leader and follower together. Fuse4Seg, arXiv 2409.10328; what it leaves
open follows CDDFuse, arXiv 2211.14461; docs/method.md lists the decisions.
"""
