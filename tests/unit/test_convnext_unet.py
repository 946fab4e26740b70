"""The follower of Fuse4Seg: its blocks are those of ConvNeXt V2, and it takes images of any size."""

import pytest
import torch
from torch import nn

from diffufuse.models.convnext_unet import ConvNeXtBlock, ConvNeXtUNet, GlobalContext, ResponseNorm
from diffufuse.models.layers.norms import PixelNorm

TINY = {"widths": [8, 16, 24], "blocks": 1, "layers": 1, "heads": 2}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(module):
    """Nothing stays at a zero that hides an effect."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module


def test_global_response_normalization_is_its_equation():
    layer, features = shaken(ResponseNorm(5)), drawn(2, 4, 3, 5)
    for sample in range(2):
        norms = torch.tensor([float((features[sample, :, :, c] ** 2).sum() ** 0.5) for c in range(5)])
        for c in range(5):
            scaled = features[sample, :, :, c] * norms[c] / norms.mean()
            expected = layer.weight[c] * scaled + layer.bias[c] + features[sample, :, :, c]
            assert torch.allclose(layer(features)[sample, :, :, c], expected, atol=1e-5)


def test_global_response_normalization_begins_as_the_identity_and_sharpens_the_larger_channel():
    layer, features = ResponseNorm(2), torch.ones(1, 3, 3, 2) * torch.tensor([3.0, 1.0])
    assert torch.equal(layer(features), features)
    layer.weight.data.fill_(1.0)
    assert torch.allclose(layer(features)[0, 0, 0], torch.tensor([3 * (1 + 1.5), 1 * (1 + 0.5)]))


def test_an_image_of_zeros_has_a_finite_gradient():
    layer, features = shaken(ResponseNorm(3)), torch.zeros(1, 2, 2, 3, requires_grad=True)
    layer(features).sum().backward()
    assert features.grad.isfinite().all()


def test_normalization_is_over_the_channels_of_a_pixel():
    features = drawn(2, 6, 4, 5) * torch.linspace(1, 9, 5)
    normed = PixelNorm(6)(features)
    assert torch.allclose(normed.mean(dim=1), torch.zeros(2, 4, 5), atol=1e-5)
    assert torch.allclose(normed.var(dim=1, correction=0), torch.ones(2, 4, 5), atol=1e-3)


def test_a_block_is_a_residual_with_the_parameters_of_convnext_v2():
    width = 8
    block = ConvNeXtBlock(width)
    depthwise, norm, pointwise = width * (49 + 1), 2 * width, 2 * 4 * width**2 + 5 * width
    assert sum(parameter.numel() for parameter in block.parameters()) == depthwise + norm + pointwise + 2 * 4 * width
    last = block.pointwise[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    features = drawn(1, width, 9, 7)
    assert torch.equal(block(features), features)


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("modalities", [1, 2])
def test_any_multiple_of_the_stride_is_taken(stem, modalities):
    network = ConvNeXtUNet(modalities=modalities, outputs=3, stem=stem, **TINY)
    assert network.stride == (4 * stem, 4 * stem, 1)
    for sides in ((1, 1), (2, 3), (5, 4)):
        images = drawn(2, modalities, *(4 * stem * side for side in sides), 1)
        assert network(images, torch.ones_like(images, dtype=torch.bool)).shape == (2, 3, *images.shape[2:])


def test_the_transformer_sees_the_whole_grid_and_where_a_pixel_is():
    context, features = shaken(GlobalContext(8, layers=1, heads=2)).eval(), drawn(1, 8, 6, 6)
    changed = features.clone()
    changed[..., 5, 5] += 1
    difference = (context(changed) - context(features)).abs().amax(dim=1)[0]
    assert difference[0, 0] > 1e-5
    # without positions, exchanging two rows would exchange the answers and nothing else
    swapped = features[:, :, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(context(swapped)[:, :, [1, 0, 2, 3, 4, 5]], context(features), atol=1e-4)


@pytest.mark.parametrize("part", ["context", "refinements", "levels"])
def test_every_part_changes_the_logits(part):
    network, images = shaken(ConvNeXtUNet(modalities=1, outputs=1, **TINY)).eval(), drawn(1, 1, 16, 16, 1)
    presence = torch.ones_like(images, dtype=torch.bool)
    before = network(images, presence)
    for parameter in getattr(network, part).parameters():
        parameter.data.zero_()
    assert (network(images, presence) - before).abs().max() > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learning_goes_down_on_a_disc_from_any_start_and_works_on_a_larger_image(seed):
    torch.manual_seed(seed)
    network = ConvNeXtUNet(modalities=1, outputs=1, stem=2, **TINY)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)

    def discs(size, seed):
        center = torch.rand(4, 2, 1, 1, generator=torch.Generator().manual_seed(seed)) * (size - 16) + 8
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        mask = ((rows - center[:, 0]) ** 2 + (columns - center[:, 1]) ** 2 < 25)[:, None, ..., None].float()
        return 0.5 * mask + 0.1 * drawn(4, 1, size, size, 1, seed=seed), mask

    losses = []
    for step in range(40):
        images, mask = discs(32, step)
        logits = network(images, torch.ones_like(images, dtype=torch.bool))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    images, mask = discs(64, 99)
    found = network.eval()(images, torch.ones_like(images, dtype=torch.bool)) > 0
    assert 2 * (found & mask.bool()).sum() / (found.sum() + mask.sum()) > 0.8
