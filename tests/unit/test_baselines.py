"""What every baseline promises about its input and output, and what TransBTS shares with its publication."""

import math

import pytest
import torch
from torch import nn

from diffufuse.models.attention_unet import AttentionUNet
from diffufuse.models.transbts import TransBTS
from diffufuse.models.unet2d import UNet2D
from diffufuse.models.unet3d import UNet3D

M, C = 3, 2
FLAT = [[2, 2, 1], [2, 2, 2]]
PLANAR = {"channels": [8, 12, 16], "groups": 4}
VOLUMETRIC = {**PLANAR, "strides": FLAT}
TOKENS = {"positions": [3, 3, 2], "width": 16, "layers": 2, "heads": 2, "feed_forward": 32, "dropout": 0.0}
CASES = {
    "unet2d": (UNet2D, PLANAR, 1),
    "unet2d, three slices": (UNet2D, {**PLANAR, "slices": 3}, 3),
    "unet3d": (UNet3D, VOLUMETRIC, 6),
    "attention_unet": (AttentionUNet, PLANAR, 1),
    "attention_unet, three slices": (AttentionUNet, {**PLANAR, "slices": 3}, 3),
    "attention_unet, volumes": (AttentionUNet, {**VOLUMETRIC, "dims": 3}, 6),
    "transbts": (TransBTS, {**VOLUMETRIC, **TOKENS, "blocks": [1, 1, 2]}, 6),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def network(case):
    return build(*case[:2])


@pytest.fixture
def depth(case):
    return case[2]


def build(architecture, settings):
    torch.manual_seed(0)
    network = architecture(modalities=M, outputs=C, **settings)
    if architecture is TransBTS:
        network.stem_dropout.p = 0.0
    return network


def batch(*, x, y, z, size=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, M, x, y, z, generator=generator)
    return images, torch.rand(images.shape, generator=generator) > 0.2


def test_logits_cover_the_patch_or_its_middle_slice(network, depth):
    """Odd multiples of the stride, and X unlike Y, so that no axis can be mistaken for another."""
    logits = network(*batch(x=12, y=20, z=depth))
    assert logits.shape == (2, C, 12, 20, depth if network.dims == 3 else 1)


def test_the_stride_is_the_ratio_of_the_finest_to_the_coarsest_grid(case, network):
    assert network.stride == (4, 4, 2 if network.dims == 3 else 1)


def test_a_patch_as_small_as_the_stride_is_read(network, depth):
    assert network(*batch(x=4, y=4, z=min(depth, 2) if network.dims == 3 else depth)).isfinite().all()


def test_gradients_reach_every_parameter(network, depth):
    network(*batch(x=12, y=12, z=depth)).square().mean().backward()
    silent = [name for name, each in network.named_parameters() if each.grad is None or not each.grad.any()]
    assert not silent


def test_the_content_of_what_is_absent_changes_nothing(network, depth):
    images, presence = batch(x=12, y=12, z=depth)
    presence[:, 1] = False
    other = torch.where(presence, images, math.nan)
    with torch.no_grad():
        assert torch.equal(network(images, presence), network(other, presence))


def test_absent_is_not_the_same_as_zero_even_far_from_the_border(network, depth):
    """A normalization per channel and image would remove a constant presence but for the padding."""
    network.eval()
    images, presence = batch(x=96, y=96, z=depth)
    images[:, 1] = 0
    presence[:] = True
    absent = presence.clone()
    absent[:, 1] = False
    with torch.no_grad():
        zero, gone = (network(images, each)[..., 40:56, 40:56, :] for each in (presence, absent))
    assert (zero - gone).std() > 0.1 * zero.std()


@pytest.mark.parametrize("training", [True, False])
def test_a_patch_without_any_modality_gives_finite_logits(network, depth, training):
    network.train(training)
    images, presence = batch(x=12, y=12, z=depth)
    assert network(images, torch.zeros_like(presence)).isfinite().all()


def test_logits_depend_neither_on_the_rest_of_the_batch_nor_on_training_statistics(network, depth):
    images, presence = batch(x=12, y=12, z=depth)
    with torch.no_grad():
        together = network(images, presence)
        alone = network.eval()(images[:1], presence[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_weights_hold_every_tensor_once(network):
    addresses = [tensor.data_ptr() for tensor in network.state_dict().values()]
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize(("architecture", "settings"), [(UNet2D, PLANAR), (AttentionUNet, PLANAR)])
def test_neighboring_slices_are_told_apart(architecture, settings):
    network = build(architecture, {**settings, "slices": 3})
    images, presence = batch(x=12, y=12, z=3)
    assert not torch.allclose(network(images, presence), network(images.flip(-1), presence.flip(-1)))


def test_transbts_has_the_published_number_of_parameters():
    """32.99 million for four images, four outputs and patches of 128^3; presence is our addition."""
    with torch.device("meta"):
        network = TransBTS(modalities=4, outputs=4)
    ours = set(network.presence_stem.parameters())
    count = sum(parameter.numel() for parameter in network.parameters() if parameter not in ours)
    assert round(count / 1e6, 2) == 32.99
    assert network.context.positions[0, 0].numel() == (128 // 8) ** 3


def test_transbts_answers_with_logits():
    logits = build(*CASES["transbts"][:2])(*batch(x=12, y=12, z=4))
    assert logits.min() < 0
    assert not torch.allclose(logits.sum(dim=1), torch.ones(()), atol=0.1)


@pytest.mark.parametrize("z", [4, 8])
def test_transbts_uses_its_positions_on_grids_other_than_their_own(z):
    network = build(*CASES["transbts"][:2])
    patch = batch(x=8, y=20, z=z)
    before = network(*patch)
    nn.init.normal_(network.context.positions)
    after = network(*patch)
    assert after.shape == (2, C, 8, 20, z)
    assert not torch.allclose(before, after)


def test_dropout_of_transbts_ends_with_training():
    architecture, settings, _ = CASES["transbts"]
    network = architecture(modalities=M, outputs=C, **{**settings, "dropout": 0.1})
    patch = batch(x=12, y=12, z=4)
    assert not torch.equal(network(*patch), network(*patch))
    network.eval()
    assert torch.equal(network(*patch), network(*patch))
