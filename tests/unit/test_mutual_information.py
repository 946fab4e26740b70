"""Region mutual information: that of normal noise is known, and what no region tells is not asked for."""

import math

import pytest
import torch

from diffufuse.train import mutual_information
from diffufuse.train.mutual_information import LEAST_VARIANCE, left_open

SPREAD = 0.2


def normal(*shape, seed=0):
    return SPREAD * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def nats_of(correlation):
    """What is open of a pixel of normal noise, in nat, above one gray level."""
    return 0.5 * math.log(1 + SPREAD**2 * (1 - correlation**2) / LEAST_VARIANCE)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9, 0.99, -0.9])
def test_of_normal_noise_it_is_known(monkeypatch, correlation):
    monkeypatch.setattr(mutual_information, "POOL", 1)
    source, other = normal(1, 1, 300, 300, 1), normal(1, 1, 300, 300, 1, seed=1)
    fused = correlation * source + math.sqrt(1 - correlation**2) * other
    found = left_open(fused, source, everywhere(source)).item()
    # what is known of each region is also known to a gray level only
    assert found == pytest.approx(nats_of(correlation), abs=0.02)


def test_the_source_itself_leaves_less_than_half_a_bit_open():
    source = normal(2, 1, 60, 60, 1)
    assert 0 <= left_open(source, source, everywhere(source)) < 0.5 * math.log(2)


@pytest.mark.parametrize("changed", [lambda image: 0.3 * image + 0.4, lambda image: 1 - image])
def test_any_linear_map_of_gray_levels_tells_as_much(monkeypatch, changed):
    monkeypatch.setattr(mutual_information, "POOL", 1)  # the brightest pixel of an inverted image is another one
    source, other = normal(1, 1, 80, 80, 1), normal(1, 1, 80, 80, 1, seed=1)
    fused = 0.8 * source + 0.6 * other
    one, two = (left_open(image, source, everywhere(source)) for image in (fused, changed(fused)))
    assert two.item() == pytest.approx(one.item(), abs=0.01)


def test_neighbors_tell_where_the_pixel_itself_does_not(monkeypatch):
    monkeypatch.setattr(mutual_information, "POOL", 1)
    source = normal(1, 1, 100, 100, 1)
    shifted = source.roll(1, dims=2)
    alone = normal(1, 1, 100, 100, 1, seed=1)
    assert left_open(shifted, source, everywhere(source)) < 0.5 * left_open(alone, source, everywhere(source))


def test_a_cell_is_its_brightest_pixel():
    source = normal(1, 1, 60, 60, 1).abs()
    brightest = torch.nn.functional.max_pool2d(source[..., 0], 3)
    enlarged = brightest.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)[..., None]
    noise = normal(1, 1, 60, 60, 1, seed=1)
    for fused in (noise, 0.5 * noise + source):
        assert torch.equal(left_open(fused, enlarged, everywhere(source)), left_open(fused, source, everywhere(source)))


def test_only_regions_count_that_are_present_throughout():
    source, fused = normal(2, 1, 60, 60, 1), normal(2, 1, 60, 60, 1, seed=1)
    presence = everywhere(source)
    presence[0, :, 30:], presence[1] = False, False
    alone = left_open(fused[:1, :, :30], source[:1, :, :30], everywhere(source[:1, :, :30]))
    fused[~presence], source[~presence] = 7.0, -3.0
    assert left_open(fused, source, presence).item() == pytest.approx(alone.item(), rel=1e-6)
    assert left_open(fused, source, torch.zeros_like(presence)) == 0


def test_slices_are_compared_one_by_one():
    source, fused = normal(1, 1, 40, 40, 2), normal(1, 1, 40, 40, 2, seed=1)
    fused[..., 1] = source[..., 1]
    each = [left_open(fused[..., z : z + 1], source[..., z : z + 1], everywhere(source[..., :1])) for z in (0, 1)]
    assert left_open(fused, source, everywhere(source)).item() == pytest.approx(sum(each).item() / 2, rel=1e-6)


def test_constant_images_have_a_finite_gradient():
    fused = torch.zeros(1, 1, 30, 30, 1, requires_grad=True)
    open_of_it = left_open(fused, normal(1, 1, 30, 30, 1), everywhere(fused))
    open_of_it.backward()
    assert torch.isfinite(fused.grad).all()
    assert left_open(fused, torch.zeros_like(fused), everywhere(fused)).item() == pytest.approx(0, abs=1e-6)


def test_descending_it_an_image_comes_to_tell_of_the_source():
    source = torch.nn.functional.avg_pool2d(normal(1, 1, 62, 62, 1)[..., 0], 3, 1)[..., None]
    fused = normal(1, 1, 60, 60, 1, seed=1).requires_grad_()
    learner = torch.optim.Adam([fused], lr=0.02)
    before = left_open(fused, source, everywhere(source)).item()
    for _ in range(100):
        learner.zero_grad()
        left_open(fused, source, everywhere(source)).backward()
        learner.step()
    assert left_open(fused, source, everywhere(source)).item() < 0.5 * before
