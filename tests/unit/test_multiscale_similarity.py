"""MS-SSIM as a loss: known values, and the values of torchmetrics."""

import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as of_torchmetrics

from diffufuse.metrics.fusion.structure import C1, SCALE_WEIGHTS
from diffufuse.train.fusion_losses import multiscale_dissimilarity
from diffufuse.train.structural import multiscale_similarity

# torchmetrics counts windows that reach beyond the border, ours lie within the image.
BORDER = 1e-3


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def smooth(side, seed=0):
    """(2, 1, side, side, 1), of structures that all scales see."""
    coarse = drawn(2, 1, side // 8, side // 8, seed=seed)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)[..., None]


def ours(given, wanted):
    return float(multiscale_similarity(given, wanted, everywhere(given)))


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_it_is_that_of_torchmetrics_where_all_scales_fit(noise):
    wanted = smooth(256)
    given = (wanted + noise * (drawn(*wanted.shape, seed=1) - 0.5)).clamp(0, 1)
    expected = of_torchmetrics(given[..., 0], wanted[..., 0], data_range=1.0, normalize="simple")
    assert ours(given, wanted) == pytest.approx(float(expected), abs=BORDER)
    assert ours(given, wanted) < 0.9999


def test_a_patch_of_80_has_three_scales_with_their_weights_made_one():
    wanted = smooth(80)
    given = (wanted + 0.2 * (drawn(*wanted.shape, seed=1) - 0.5)).clamp(0, 1)
    weights = tuple(weight / sum(SCALE_WEIGHTS[:3]) for weight in SCALE_WEIGHTS[:3])
    expected = of_torchmetrics(given[..., 0], wanted[..., 0], data_range=1.0, normalize="simple", betas=weights)
    assert ours(given, wanted) == pytest.approx(float(expected), abs=5 * BORDER)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (88, 4), (175, 4), (176, 5)])
def test_flat_images_differ_by_the_luminance_of_the_last_scale_alone(side, scales):
    one, other = (torch.full((1, 1, side, side, 1), level) for level in (0.2, 0.6))
    light = (2 * 0.2 * 0.6 + C1) / (0.2**2 + 0.6**2 + C1)
    weight = SCALE_WEIGHTS[scales - 1] / sum(SCALE_WEIGHTS[:scales])
    assert ours(one, other) == pytest.approx(((1 + light) / 2) ** weight, rel=1e-4)


def test_equal_images_are_1_and_opposite_ones_still_have_a_gradient():
    wanted = drawn(1, 1, 64, 64, 1)
    assert ours(wanted, wanted) == pytest.approx(1.0, abs=1e-6)
    given = (1 - wanted).requires_grad_()
    similar = multiscale_similarity(given, wanted, everywhere(wanted))
    similar.backward()
    assert similar < 0.3
    assert given.grad.isfinite().all()
    assert (given.grad * (wanted - given.detach())).sum() > 0


def test_what_is_absent_has_no_part():
    wanted, presence = drawn(2, 1, 64, 64, 1), torch.ones(2, 1, 64, 64, 1, dtype=torch.bool)
    given = (wanted + 0.2 * drawn(*wanted.shape, seed=1)).clamp(0, 1)
    presence[0, :, :, 45:] = False
    presence[1] = False
    other = torch.where(presence, given, 0.0)
    found = float(multiscale_similarity(given, wanted, presence))
    assert float(multiscale_similarity(other, wanted, presence)) == pytest.approx(found, abs=1e-6)
    assert found == pytest.approx(ours(given[:1, :, :, :45], wanted[:1, :, :, :45]), abs=1e-5)
    assert float(multiscale_similarity(given, wanted, torch.zeros_like(presence))) == 1


def test_the_loss_is_the_mean_over_both_sources():
    images, fused = drawn(2, 2, 48, 48, 1), drawn(2, 1, 48, 48, 1, seed=1)
    parts = [1 - ours(fused, images[:, one : one + 1]) for one in (0, 1)]
    assert float(multiscale_dissimilarity(fused, images, everywhere(images))) == pytest.approx(sum(parts) / 2, rel=1e-5)
    assert float(multiscale_dissimilarity(images[:, :1], images, everywhere(images))) < sum(parts) / 2
