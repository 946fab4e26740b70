"""Loss terms of fused images: known values, and that the end of a field of view is no edge."""

import numpy as np
import pytest
import torch

from diffufuse.train.fusion_losses import (
    anchor,
    correlation,
    decomposition,
    dissimilarity,
    distance_from_mean,
    gradient,
    maximum,
    maximum_squared,
)
from diffufuse.train.structural import similarity

SHAPE = (2, 2, 12, 10, 1)


def everywhere(shape=SHAPE):
    return torch.ones(shape, dtype=torch.bool)


def ramp(slope=0.05):
    return (slope * torch.arange(12.0))[None, None, :, None, None].expand(2, 1, 12, 10, 1)


def test_the_gradient_of_a_ramp_is_eight_times_its_slope():
    images = torch.cat([ramp(0.05), torch.zeros_like(ramp())], 1)
    assert gradient(torch.zeros_like(ramp()), images, everywhere()).item() == pytest.approx(8 * 0.05, rel=1e-5)
    assert gradient(ramp(0.02), images, everywhere()).item() == pytest.approx(8 * 0.03, rel=1e-5)


def test_a_fused_image_with_the_sharper_edge_of_each_voxel_has_no_gradient_loss():
    images = torch.cat([ramp(0.05), ramp(-0.02)], 1)
    assert gradient(ramp(0.05), images, everywhere()).item() == pytest.approx(0, abs=1e-6)
    assert gradient(images.mean(1, keepdim=True), images, everywhere()).item() == pytest.approx(8 * 0.035, rel=1e-4)


def test_where_a_field_of_view_ends_there_is_no_edge_to_learn():
    images, presence = torch.cat([ramp(0.05), torch.ones(2, 1, 12, 10, 1)], 1), everywhere()
    presence[:, 1, :, 5:] = False
    images[:, 1, :, 5:] = 0
    assert gradient(ramp(0.05), images, presence).item() == pytest.approx(0, abs=1e-6)
    assert gradient(ramp(0.05), images, everywhere()).item() > 0.5
    moved = ramp(0.05).clone()
    moved[:, :, :, 5:] += 0.3  # a seam of the fused image itself is not compared either
    assert gradient(moved, images, presence).item() == pytest.approx(0, abs=1e-6)


def test_an_absent_modality_is_neither_a_target_nor_part_of_the_mean():
    draw = torch.Generator().manual_seed(0)
    images, presence = torch.rand(SHAPE, generator=draw), everywhere()
    presence[:, 1] = False
    assert gradient(images[:, :1], images, presence).item() == 0
    assert anchor(images[:, :1], images, presence).item() == 0
    assert distance_from_mean(images[:, :1] + 0.1, images, presence).item() == pytest.approx(0.1, rel=1e-5)


def test_voxels_without_any_modality_do_not_count():
    images, presence = torch.full(SHAPE, 0.5), everywhere()
    presence[:, :, 6:] = False
    fused = torch.zeros(2, 1, 12, 10, 1)
    fused[:, :, 6:] = 9
    assert anchor(fused, images, presence).item() == pytest.approx(0.25)
    assert gradient(fused, images, torch.zeros_like(presence)).item() == 0
    assert anchor(fused, images, torch.zeros_like(presence)).item() == 0


def test_the_anchor_is_smallest_at_the_mean():
    images = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    mean = images.mean(1, keepdim=True)
    assert anchor(mean, images, everywhere()).item() == pytest.approx(0, abs=1e-12)
    assert anchor(mean + 0.1, images, everywhere()).item() == pytest.approx(0.01, rel=1e-5)


def test_the_maximum_is_of_the_present_modalities():
    images, presence = torch.full(SHAPE, 0.2), everywhere()
    images[:, 1] = 0.7
    fused = torch.full((2, 1, 12, 10, 1), 0.6)
    assert maximum(fused, images, presence).item() == pytest.approx(0.1, rel=1e-5)
    assert maximum_squared(fused, images, presence).item() == pytest.approx(0.01, rel=1e-5)
    presence[:, 1, 6:] = False  # there the other one is 0.4 away
    assert maximum(fused, images, presence).item() == pytest.approx((0.1 + 0.4) / 2, rel=1e-5)
    assert maximum_squared(fused, images, presence).item() == pytest.approx((0.01 + 0.16) / 2, rel=1e-5)
    presence[:, 0, 6:] = False
    assert maximum(fused, images, presence).item() == pytest.approx(0.1, rel=1e-5)
    assert maximum_squared(fused, images, torch.zeros_like(presence)).item() == 0


@pytest.mark.parametrize("term", [maximum, maximum_squared])
def test_it_is_smallest_at_the_maximum_of_every_pixel(term):
    images = torch.rand(SHAPE, generator=torch.Generator().manual_seed(4))
    largest = images.amax(1, keepdim=True)
    assert term(largest, images, everywhere()).item() == 0
    for other in (images[:, :1], images.mean(1, keepdim=True)):
        assert term(other, images, everywhere()).item() > 0.01


def test_dissimilarity_is_the_mean_of_one_less_ssim_of_each_modality():
    images = torch.rand(2, 2, 16, 14, 1, generator=torch.Generator().manual_seed(5))
    presence = torch.ones_like(images, dtype=torch.bool)
    one, other = (similarity(images[:, :1], images[:, n : n + 1], presence[:, :1]).item() for n in (0, 1))
    assert one == pytest.approx(1, abs=1e-6)
    assert other < 0.2
    assert dissimilarity(images[:, :1], images, presence).item() == pytest.approx((1 - other) / 2, abs=1e-5)
    presence[:, 1] = False
    assert dissimilarity(images[:, :1], images, presence).item() == pytest.approx(0, abs=1e-6)


def features(seed=2):
    return torch.randn(2, 2, 3, 12, 10, generator=torch.Generator().manual_seed(seed))


def test_the_correlation_is_pearsons_where_both_are_present():
    values, presence = features(), everywhere()
    presence[:, 0, :4], presence[:, 1, :, 7:] = False, False
    inside = values[:, :, :, 4:, :7].flatten(3).numpy()
    expected = [np.corrcoef(one, other)[0, 1] for sample in inside for one, other in zip(*sample, strict=True)]
    assert correlation(values, presence).item() == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_sample_without_both_modalities_has_no_part_in_the_correlation():
    values, presence = features(), everywhere()
    presence[1, 0] = False
    assert correlation(values, presence).item() == pytest.approx(correlation(values[:1], presence[:1]).item())
    assert correlation(values, torch.zeros_like(presence)).item() == 0


@pytest.mark.parametrize("factor", [2.0, -0.5])
def test_features_in_proportion_correlate_fully_also_on_a_coarser_grid(factor):
    first = torch.randn(2, 1, 3, 6, 5, generator=torch.Generator().manual_seed(3))
    assert correlation(torch.cat([first, factor * first], 1), everywhere()).item() == pytest.approx(np.sign(factor))


def test_constant_features_have_a_finite_gradient():
    values = torch.zeros(2, 2, 3, 12, 10, requires_grad=True)
    decomposition(correlation(values, everywhere()), correlation(values, everywhere())).backward()
    assert torch.isfinite(values.grad).all()


def test_the_pull_on_the_base_ends_with_the_correlation_of_the_details():
    pulls = {}
    for correlated in (0.8, 0.4, 0.0):
        base, detail = torch.tensor(0.5, requires_grad=True), torch.tensor(correlated, requires_grad=True)
        decomposition(base, detail).backward()
        pulls[correlated] = base.grad.item()
        assert detail.grad.item() == pytest.approx(2 * correlated / 1.51)
    assert pulls[0.8] == pytest.approx(-(0.8**2) / 1.51**2)
    assert pulls[0.8] == pytest.approx(4 * pulls[0.4])
    assert pulls[0.0] == 0


@pytest.mark.parametrize("correlated", [0.9, 0.1])
def test_bases_come_to_correlate_while_details_do(correlated):
    base, held = features().requires_grad_(), torch.tensor(correlated)
    learner = torch.optim.Adam([base], lr=0.05)
    before = correlation(base, everywhere()).item()
    for _ in range(100):
        learner.zero_grad()
        decomposition(correlation(base, everywhere()), held).backward()
        learner.step()
    assert before < 0.2
    assert correlation(base, everywhere()).item() > 0.9


def test_decomposition_wants_equal_bases_and_unequal_details():
    one, none = torch.tensor(1.0), torch.tensor(0.0)
    assert decomposition(one, none) == 0
    assert decomposition(one, one).item() == pytest.approx(1 / 2.01)
    assert decomposition(none, one) > decomposition(one, one) > decomposition(one, 0.5 * one)
