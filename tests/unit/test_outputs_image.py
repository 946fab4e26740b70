"""Outputs that are one fused image."""

import numpy as np
import pytest
import torch

from diffufuse.plan.outputs import Outputs

IMAGE = Outputs("image", {})


def test_an_image_is_one_channel_of_gray_levels_as_the_network_gives_them():
    levels = torch.linspace(0, 1, 24).reshape(1, 1, 2, 3, 4)
    assert IMAGE.channels == 1
    assert torch.equal(IMAGE.probabilities(levels), levels)


def test_an_image_has_no_reference_in_labels():
    assert IMAGE.reference(np.zeros((2, 3), int)).shape == (0, 2, 3)


@pytest.mark.parametrize("values", [[-0.1, 0.5], [0.5, 1.1], [float("nan"), 0.5]])
def test_values_that_are_no_gray_levels_are_refused(values):
    with pytest.raises(ValueError, match="expected gray levels"):
        IMAGE.require_logits(torch.tensor([values]))
    IMAGE.require_logits(torch.tensor([[0.0, 0.4, 1.0]]))


@pytest.mark.parametrize(("kind", "regions"), [("image", {"mass": [1]}), ("regions", {}), ("labels", {})])
def test_regions_must_fit_the_kind(kind, regions):
    with pytest.raises(ValueError, match="regions: expected"):
        Outputs(kind, regions)
