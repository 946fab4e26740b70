"""The part of a slice that is scored."""

import numpy as np

from diffufuse.metrics.fusion.where import where_both


def test_everywhere_nothing_changes_and_elsewhere_the_rest_is_black():
    first, second = np.random.default_rng(0).random((2, 6, 5))
    for image, kept in zip((first, second), where_both([first, second], np.ones((6, 5), bool)), strict=True):
        np.testing.assert_array_equal(kept, image)
    both = np.zeros((6, 5), bool)
    both[1:4, 2:] = True
    both[1, 2] = False
    (kept,) = where_both([first], both)
    assert kept.shape == (3, 3)
    assert kept[0, 0] == 0
    np.testing.assert_array_equal(kept.ravel()[1:], first[1:4, 2:].ravel()[1:])
