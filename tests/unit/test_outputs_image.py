"""Outputs that are one fused image."""

import numpy as np
import pytest
import torch

from diffufuse.plan.outputs import Outputs

IMAGE = Outputs("image", {})


def test_an_image_is_one_channel_of_intensities_between_0_and_1():
    logits = torch.linspace(-50, 50, 24).reshape(1, 1, 2, 3, 4)
    assert IMAGE.channels == 1
    intensity = IMAGE.probabilities(logits)
    assert intensity.shape == logits.shape
    assert float(intensity.min()) >= 0
    assert float(intensity.max()) <= 1
    assert torch.equal(intensity.flatten().argsort(), logits.flatten().argsort())


def test_an_image_has_no_reference_in_labels():
    with pytest.raises(ValueError, match="got an image"):
        IMAGE.reference(np.zeros((2, 2), int))


def test_intensities_in_the_place_of_logits_are_refused():
    with pytest.raises(ValueError, match="before the sigmoid"):
        IMAGE.require_logits(torch.tensor([[0.1, 0.4, 0.9]]))


@pytest.mark.parametrize(("kind", "regions"), [("image", {"mass": [1]}), ("regions", {}), ("labels", {})])
def test_regions_must_fit_the_kind(kind, regions):
    with pytest.raises(ValueError, match="regions: expected"):
        Outputs(kind, regions)
