"""What holds for every block of config/models.yaml."""

from pathlib import Path

import pytest
import torch
import yaml

from diffufuse.models import build_model

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
M, R = 3, 2


@pytest.fixture(params=BLOCKS)
def block(request):
    return BLOCKS[request.param]


@pytest.fixture
def network(block):
    torch.manual_seed(0)
    return build_model(block, modalities=M, regions=R)


def batch(size=32):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, M, size, size, generator=generator)
    return images, torch.rand(2, M, size, size, generator=generator) > 0.2


def test_logits_have_one_channel_per_region_at_full_resolution(network):
    assert network(*batch()).shape == (2, R, 32, 32)


def test_gradients_reach_every_parameter(network):
    network(*batch()).square().mean().backward()
    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not silent


def test_the_content_of_an_absent_modality_changes_nothing(network):
    network.eval()
    images, presence = batch()
    presence[:, 1] = False
    other = images.clone()
    other[:, 1] = 1e3
    assert torch.equal(network(images, presence), network(other, presence))


def test_absent_is_not_the_same_as_zero(network):
    network.eval()
    images, presence = batch()
    images[:, 1] = 0
    presence[:, 1] = True
    absent = presence.clone()
    absent[:, 1] = False
    assert not torch.allclose(network(images, presence), network(images, absent))


def test_the_training_patch_is_a_multiple_of_the_stride(block, network):
    assert all(size % network.stride == 0 for size in block["training"]["patch"])
