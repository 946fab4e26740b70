"""Fusers without training: known answers, and what must hold for each of them."""

import numpy as np
import pytest
import pywt
import torch

from diffufuse.models import build_model
from diffufuse.models.fusers.pyramid import decomposed, recomposed

RULES = {
    "average": {},
    "maximum": {},
    "laplacian_pyramid": {"levels": 4},
    "wavelet": {"wavelet": "db2", "levels": 4},
}
M, TO_ROUNDING = 3, 2e-6


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


@pytest.fixture(params=RULES)
def rule(request):
    return build_model({"architecture": request.param, "settings": RULES[request.param]}, modalities=M, outputs=1)


@pytest.mark.parametrize("size", [(32, 32), (37, 50), (16, 5), (3, 4)])
def test_equal_sources_are_fused_to_themselves_at_any_size(rule, size):
    image = drawn(2, 1, *size, 2)
    fused = rule(image.expand(-1, M, -1, -1, -1), everywhere(image).expand(-1, M, -1, -1, -1))
    assert torch.allclose(fused, image, atol=TO_ROUNDING)


def test_gray_levels_stay_in_bounds_and_no_weight_is_learned(rule):
    images = (drawn(2, M, 32, 32, 1) > 0.5).float()
    fused = rule(images, everywhere(images))
    assert fused.shape == (2, 1, 32, 32, 1)
    assert fused.dtype == torch.float32
    assert 0 <= fused.min() <= fused.max() <= 1
    assert not list(rule.parameters())
    assert not rule.state_dict()


def test_an_absent_source_is_as_if_it_were_not_there(rule):
    images = drawn(2, M, 32, 32, 1)
    presence = everywhere(images)
    presence[:, 1] = False
    other = images.clone()
    other[:, 1] = 1e3
    fused = rule(images, presence)
    assert torch.equal(fused, rule(other, presence))
    assert torch.allclose(fused, rule(images[:, [0, 2]], presence[:, [0, 2]]), atol=TO_ROUNDING)
    presence[:, 2] = False
    assert torch.allclose(rule(images, presence), images[:, :1], atol=TO_ROUNDING)


def test_the_edge_of_a_field_of_view_is_no_edge_of_the_fused_image(rule):
    image = drawn(1, 1, 32, 32, 1)
    images, presence = image.expand(-1, M, -1, -1, -1).clone(), everywhere(image).expand(-1, M, -1, -1, -1).clone()
    images[:, 1, 10:], presence[:, 1, 10:] = 0, False
    assert torch.allclose(rule(images, presence), image, atol=TO_ROUNDING)


def test_where_nothing_is_present_the_image_is_black(rule):
    images = drawn(1, M, 32, 32, 1)
    presence = everywhere(images)
    presence[:, :, :, 20:] = False
    fused = rule(images, presence)
    assert fused[:, :, :, 20:].eq(0).all()
    assert rule(images, torch.zeros_like(presence)).eq(0).all()


def test_slices_do_not_mix(rule):
    images = drawn(2, M, 32, 32, 3)
    each = [rule(images[:, :, :, :, z : z + 1], everywhere(images)[..., z : z + 1]) for z in range(3)]
    assert torch.allclose(rule(images, everywhere(images)), torch.cat(each, dim=-1), atol=TO_ROUNDING)


def fused(name, *sources):
    images = torch.stack(sources)[None, ..., None]
    model = build_model({"architecture": name, "settings": RULES[name]}, modalities=len(sources), outputs=1)
    return model(images, everywhere(images))[0, 0, ..., 0]


def test_average_and_maximum_are_what_they_say():
    a, b = drawn(8, 8), drawn(8, 8, seed=1)
    assert torch.allclose(fused("average", a, b), (a + b) / 2)
    assert torch.equal(fused("maximum", a, b), torch.maximum(a, b))


@pytest.mark.parametrize("name", ["laplacian_pyramid", "wavelet"])
def test_the_edge_of_one_source_keeps_its_height_where_the_average_halves_it(name):
    step = torch.zeros(64, 64)
    step[:, 33:] = 0.6
    flat = torch.full((64, 64), 0.3)
    images = {rule: fused(rule, step, flat) for rule in (name, "average")}
    height = {rule: float(image[32, 34:37].mean() - image[32, 30:33].mean()) for rule, image in images.items()}
    assert height["average"] == pytest.approx(0.3, abs=1e-6)
    assert height[name] > 0.5


@pytest.mark.parametrize("size", [(64, 64), (63, 50), (5, 9)])
def test_the_bands_of_a_pyramid_give_back_the_image(size):
    image = drawn(2, 3, *size)
    bands, rest = decomposed(image, levels=3)
    assert torch.allclose(recomposed(bands, rest), image, atol=1e-6)


def test_the_bands_of_a_constant_image_are_zero_and_the_rest_keeps_its_level():
    bands, rest = decomposed(torch.full((1, 1, 64, 48), 0.7), levels=3)
    assert [band.shape[2:] for band in bands] == [(64, 48), (32, 24), (16, 12)]
    assert all(band.abs().max() < 1e-6 for band in bands)
    assert torch.allclose(rest, torch.full((1, 1, 8, 6), 0.7))


def test_a_wavelet_s_approximation_is_the_mean_of_the_sources_and_its_details_are_the_larger_ones():
    a, b = drawn(32, 32), 0.1 * drawn(32, 32, seed=1) + 0.4
    bands = [pywt.wavedec2(image.numpy(), "haar", level=1) for image in (0.25 + 0.5 * a, b)]
    model = build_model(
        {"architecture": "wavelet", "settings": {"wavelet": "haar", "levels": 1}}, modalities=2, outputs=1
    )
    images = torch.stack([0.25 + 0.5 * a, b])[None, ..., None]
    approximation, details = pywt.wavedec2(model(images, everywhere(images))[0, 0, ..., 0].numpy(), "haar", level=1)
    # where no gray level met a bound
    inside = np.abs(approximation / 2 - 0.5) < 0.2
    assert np.allclose(approximation[inside], np.mean([band[0] for band in bands], axis=0)[inside], atol=1e-5)
    for one, other, found in zip(bands[0][1], bands[1][1], details, strict=True):
        expected = np.where(np.abs(one) >= np.abs(other), one, other)
        assert np.allclose(found[inside], expected[inside], atol=1e-5)
