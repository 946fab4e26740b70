"""Structural similarity as a loss: that of two other implementations, and where it is compared."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from diffufuse.metrics.fusion.images import Fusion
from diffufuse.metrics.fusion.structure import ssim
from diffufuse.train.structural import SIDE, SIGMA, mean_where, similarities, similarity

MARGIN = SIDE // 2


def pair(*shape, seed=0):
    """An image, and the same with some noise."""
    draw = torch.Generator().manual_seed(seed)
    image = torch.nn.functional.interpolate(torch.rand(*shape[:2], 6, 6, generator=draw), shape[2:4], mode="bicubic")
    image = image.clamp(0, 1)[..., None].expand(*shape[:4], shape[4] if len(shape) > 4 else 1).clone()
    return (image + 0.1 * torch.randn(image.shape, generator=draw)).clamp(0, 1), image


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def test_it_is_that_of_torchmetrics():
    given, wanted = pair(2, 1, 40, 33)
    _, windows = structural_similarity_index_measure(
        given[..., 0], wanted[..., 0], data_range=1.0, kernel_size=SIDE, sigma=SIGMA, return_full_image=True
    )
    whole = windows[..., MARGIN:-MARGIN, MARGIN:-MARGIN]  # theirs has padding beyond
    assert similarity(given, wanted, everywhere(given)).item() == pytest.approx(whole.mean().item(), abs=1e-5)


def test_it_is_that_of_the_metric_of_fused_images():
    given, wanted = pair(1, 1, 40, 33)
    fused, source = (image[0, 0, ..., 0].double().numpy() for image in (given, wanted))
    assert similarity(given, wanted, everywhere(given)).item() == pytest.approx(
        ssim(Fusion(source, source, fused)), abs=1e-5
    )


def test_an_image_is_wholly_similar_to_itself_and_constants_differ_by_their_level_alone():
    given, _ = pair(1, 2, 20, 20)
    assert similarity(given, given, everywhere(given)).item() == pytest.approx(1, abs=1e-6)
    one, other = torch.full((1, 1, 20, 20, 1), 0.3), torch.full((1, 1, 20, 20, 1), 0.6)
    ssim_of, structure, whole = similarities(one, other, everywhere(one))
    level = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    assert torch.allclose(structure, torch.ones_like(structure), atol=1e-3)
    assert torch.allclose(ssim_of, torch.full_like(ssim_of, level), atol=1e-3)
    assert whole.all()


def test_only_windows_count_that_are_present_throughout():
    given, wanted = pair(2, 1, 40, 40)
    presence = everywhere(given)
    presence[0, :, 25:], presence[1] = False, False
    alone = similarity(given[:1, :, :25], wanted[:1, :, :25], everywhere(given[:1, :, :25])).item()
    given[~presence] = 9.0
    assert similarity(given, wanted, presence).item() == pytest.approx(alone, abs=1e-6)
    assert similarity(given, wanted, torch.zeros_like(presence)).item() == 1


def test_slices_of_a_volume_do_not_mix():
    one, other = pair(1, 1, 30, 30, seed=1), pair(1, 1, 30, 30, seed=2)
    given, wanted = (torch.cat(images, dim=-1) for images in zip(one, other, strict=True))
    each = [similarity(*images, everywhere(images[0])).item() for images in (one, other)]
    assert similarity(given, wanted, everywhere(given)).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_climbing_it_noise_becomes_the_image():
    _, wanted = pair(1, 1, 32, 32)
    given = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(5)).requires_grad_()
    climber = torch.optim.Adam([given], lr=0.05)
    before = similarity(given, wanted, everywhere(wanted)).item()
    for _ in range(80):
        climber.zero_grad()
        (1 - similarity(given, wanted, everywhere(wanted))).backward()
        climber.step()
    assert before < 0.2
    assert similarity(given, wanted, everywhere(wanted)).item() > 0.95


def test_a_mean_is_over_the_places_and_zero_without_any():
    values = torch.tensor([1.0, 2.0, 6.0])
    assert mean_where(values, torch.tensor([True, False, True])).item() == pytest.approx(3.5)
    assert mean_where(values, torch.zeros(3, dtype=torch.bool)).item() == 0
