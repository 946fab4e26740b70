"""DDFM: the correction raises the likelihood of which it is made, and turns samples of a prior into fused images."""

from types import SimpleNamespace

import pytest
import torch

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.models.ddfm import em
from diffufuse.models.ddfm import network as sampler
from diffufuse.models.ddfm.em import LEAST, LEVELS, Penalty, Scales, corrected, smoothed
from diffufuse.models.ddfm.network import DDFM
from diffufuse.models.layers import diffusion
from diffufuse.models.layers.denoising import signed
from diffufuse.models.layers.noise import SeededNoise
from diffufuse.train import restoration

SIZES = {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "dropout": 0.0, "steps": 8}
PUBLISHED = Penalty(smoothness=0.5, splitting=0.001)
NONE = Penalty(smoothness=0.0, splitting=1e-12)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def network(**changes):
    torch.manual_seed(0)
    return DDFM(modalities=2, outputs=1, **(SIZES | changes)).eval()


def problem(seed=0):
    """An image, two sources and unequal scales."""
    images = 2 * drawn(2, 3, 12, 10, seed=seed).double() - 1
    scales = Scales(*(torch.full((2, 1, 1, 1), each).double() for each in (0.3, 0.7)))
    return images[:, :1], images[:, 1:], scales


def negative_log_likelihood(fused, sources, scales, penalty):
    """Twice that of each image, without what depends on neither it nor the scales, with the best u."""
    x, y = fused - sources[:, :1], sources[:, 1:] - sources[:, :1]
    total = 0
    for distance, mean_variance in ((y - x, scales.rho), (x, scales.gamma)):
        length = (distance.square() + LEAST**2).sqrt()
        total = total + (2 * (2 / mean_variance).sqrt() * length + mean_variance.log()).sum(dim=(1, 2, 3))
    weight, splitting = 2 * penalty.smoothness / (2 * penalty.smoothness + penalty.splitting), penalty.splitting
    u = smoothed(x, weight)
    gradient = sum((u.roll(-1, axis) - u).square() for axis in (2, 3))
    rough = ((u - x).square() + weight * gradient).sum(dim=(1, 2, 3))
    return total + splitting * LEVELS**2 / 2 * rough


class TestCorrection:
    @pytest.mark.parametrize("penalty", [NONE, PUBLISHED, Penalty(0.1, 0.1)])
    @pytest.mark.parametrize("learned", [False, True])
    def test_no_step_lowers_the_likelihood_and_the_first_raise_it_much(self, penalty, learned):
        fused, sources, scales = problem()
        losses = [negative_log_likelihood(fused, sources, scales, penalty)]
        for _ in range(30):
            fused, after = corrected(fused, sources, scales, penalty)
            scales = after if learned else scales
            losses.append(negative_log_likelihood(fused, sources, scales, penalty))
        steps = torch.stack(losses).diff(dim=0)
        assert (steps < 1e-9).all()
        assert (steps[0] < -10).all()

    def test_the_mean_variances_are_those_of_the_posterior_by_numerical_integration(self):
        distance, before = torch.tensor([[[[0.3]]]]).double(), torch.tensor([[[[0.5]]]]).double()
        m = torch.linspace(1e-5, 12, 2_000_000).double()
        density = m.rsqrt() * torch.exp(-(distance.item() ** 2) / (2 * m) - m / before.item())
        mean, inverse = (((part * density).sum() / density.sum()).item() for part in (m, 1 / m))
        assert em._mean_variance(distance, before).item() == pytest.approx(mean, rel=1e-3)
        assert ((2 / before).sqrt() / distance).item() == pytest.approx(inverse, rel=1e-3)

    def test_without_a_penalty_the_image_is_the_weighted_mean_of_its_sources(self):
        fused, sources, scales = problem()
        given, _ = corrected(fused, sources, scales, NONE)
        first, second = sources[:, :1], sources[:, 1:]
        near_first, near_second = (1 / ((fused - each).square() + LEAST**2).sqrt() for each in (first, second))
        near_first, near_second = near_first / scales.gamma.sqrt(), near_second / scales.rho.sqrt()
        wanted = (near_first * first + near_second * second) / (near_first + near_second)
        assert torch.allclose(given, wanted, atol=1e-6)
        assert (given <= sources.amax(1, keepdim=True)).all()
        assert (given >= sources.amin(1, keepdim=True)).all()

    def test_equal_sources_draw_the_image_to_them_all_at_once_without_a_penalty(self):
        fused, sources, scales = problem()
        same, before = sources[:, :1], (fused - sources[:, :1]).abs()
        left = [
            (corrected(fused, same.expand_as(sources), scales, penalty)[0] - same).abs()
            for penalty in (NONE, PUBLISHED)
        ]
        assert left[0].max() < 1e-7
        assert left[1].mean() < 0.5 * before.mean()

    @pytest.mark.parametrize("scales", ["equal", "learned"])
    def test_between_the_sources_equal_scales_leave_the_choice_open_and_learned_ones_take_the_nearer(self, scales):
        _, sources, _ = problem()
        first, second = sources[:, :1], sources[:, 1:]
        fused, now = 0.6 * first + 0.4 * second, Scales(*(torch.ones(2, 1, 1, 1).double() for _ in range(2)))
        for _ in range(60):
            fused, after = corrected(fused, sources, now, NONE)
            now = after if scales == "learned" else now
        share = ((fused - first).abs().sum() / (second - first).abs().sum()).item()
        assert share == pytest.approx(0.4, abs=0.01) if scales == "equal" else share < 0.02

    def test_the_smooth_image_solves_its_equation_and_keeps_what_is_level(self):
        x = drawn(1, 1, 12, 10).double()
        u = smoothed(x, 0.7)
        curvature = sum(u.roll(1, axis) + u.roll(-1, axis) - 2 * u for axis in (2, 3))
        assert torch.allclose(u - 0.7 * curvature, x, atol=1e-12)
        assert torch.allclose(smoothed(torch.full_like(x, 0.3), 0.7), torch.full_like(x, 0.3))

    def test_the_weights_of_the_release_act_on_levels_of_8_bits_and_not_on_ours(self):
        fused, sources, _ = problem()
        scales = Scales(*(torch.ones(2, 1, 1, 1).double() for _ in range(2)))
        free, ours, release = (
            corrected(fused, sources, scales, penalty)[0]
            for penalty in (NONE, PUBLISHED, Penalty(0.5 / LEVELS**2, 0.001 / LEVELS**2))
        )
        assert LEVELS * (release - free).abs().max() < 0.1
        assert LEVELS * (ours - free).abs().mean() > 5
        rough = [((each - sources[:, :1]).diff(dim=2)).abs().mean() for each in (free, ours)]
        assert rough[1] < 0.9 * rough[0]


@pytest.fixture(scope="module")
def taught():
    """A prior that has seen some of the images below."""
    built = network().train()
    optimizer = torch.optim.Adam(built.parameters(), lr=5e-3)
    losses = []
    for step in range(60):
        pair = pairs(8, seed=step)[..., None]
        made = built.restored(pair, everywhere(pair))
        terms = [restoration.TERMS[name](made, SimpleNamespace()) for name in ("noise", "absolute")]
        optimizer.zero_grad()
        sum(terms).backward()
        optimizer.step()
        losses.append(sum(terms).item())
    assert losses[-1] < 0.5 * losses[0]
    return built.eval()


class TestSampler:
    def test_the_correction_draws_a_sample_of_the_prior_to_its_sources(self, taught, monkeypatch):
        pair = pairs(8, seed=999)
        distances = {}
        for name in ("with", "without"):
            if name == "without":
                monkeypatch.setattr(sampler, "corrected", lambda clean, *others: (clean, others[1]))
            with torch.no_grad():
                fused = taught.fuse_pair(pair, SeededNoise(range(8))).fused[..., 0]
            outside = (fused - fused.clamp(pair.amin(1, keepdim=True), pair.amax(1, keepdim=True))).abs().mean()
            distances[name] = ((fused - pair).abs().mean().item(), outside.item())
        apart = (pair[:, 0] - pair[:, 1]).abs().mean()
        assert distances["with"][0] < 0.6 * distances["without"][0]
        assert distances["with"][0] < 0.7 * apart  # an image between both has .5
        assert distances["with"][1] < 0.1 * distances["without"][1]

    def test_equal_sources_are_fused_to_the_best_sum_of_ssim(self, taught, monkeypatch):
        """No part of it learns to fuse; of equal sources the correction makes them."""
        monkeypatch.setattr(taught, "steps", 25)
        pair = pairs(1, seed=1)[:, :1].expand(1, 2, 16, 16)[..., None]
        with torch.no_grad():
            fused = taught(pair, everywhere(pair), noise=SeededNoise([0]))
        images = (part[0, 0, :, :, 0].double().numpy() for part in (pair[:, :1], pair[:, 1:], fused))
        assert FUSION_METRICS["ssim_sum"].of(Fusion(*images)) > 1.99

    def test_the_prior_of_a_sample_is_asked_at_each_step_of_the_countdown(self, monkeypatch):
        built, times = network(steps=5), []
        monkeypatch.setattr(built.prior, "clean", lambda noisy, time: times.append(time.item()) or noisy)
        built.fuse_pair(drawn(1, 2, 4, 4), SeededNoise([0]))
        assert times == pytest.approx([1000, 800, 600, 400, 200])

    def test_with_a_prior_that_knows_the_image_a_sample_is_this_image(self, monkeypatch):
        """An image between its sources, to which the correction without a penalty has no objection."""
        built, pair = network(splitting=1e-12), drawn(2, 2, 8, 8)
        known = signed(0.3 * pair[:, :1] + 0.7 * pair[:, 1:])
        monkeypatch.setattr(built.prior, "clean", lambda noisy, time: known)
        fused = built.fuse_pair(pair, SeededNoise([0, 1])).fused[..., 0]
        assert torch.allclose(signed(fused), known, atol=1e-3)

    def test_the_same_noise_gives_the_same_image_and_other_noise_another(self):
        built, images = network(), drawn(2, 2, 8, 8, 1)
        made = [built(images, everywhere(images), noise=SeededNoise(seeds)) for seeds in ((1, 2), (1, 2), (1, 3))]
        assert torch.equal(made[0], made[1])
        assert torch.equal(made[0][0], made[2][0])
        assert (made[0][1] - made[2][1]).abs().max() > 1e-3

    def test_of_one_image_alone_the_sample_is_near_that_image_whatever_the_other_holds(self, taught):
        images = pairs(1, seed=2)[..., None]
        presence = everywhere(images)
        presence[:, 1] = False
        with torch.no_grad():
            fused, same = (
                taught(each, presence, noise=SeededNoise([0])) for each in (images, torch.where(presence, images, 3.0))
            )
        assert torch.equal(fused, same)
        assert (fused - images[:, :1]).abs().mean() < 0.02
        assert (fused - images[:, 1:]).abs().mean() > 0.1

    def test_learned_scales_are_a_setting(self):
        pair = drawn(1, 2, 8, 8)
        equal, learned = (
            network(scales=scales).fuse_pair(pair, SeededNoise([0])).fused for scales in ("equal", "learned")
        )
        assert (equal - learned).abs().max() > 0.01

    def test_its_prior_tells_the_velocity(self):
        noisy = drawn(1, 1, 8, 8) - 0.5
        built, time = network(), torch.tensor(500.0)
        velocity = built.prior.unet(noisy, time[None])
        assert torch.equal(built.prior.clean(noisy, time), diffusion.clean_of(noisy, velocity, time))


def pairs(count, *, side=16, seed=0):
    """A ring and a disc beside its center, in 0..1."""
    place, generator = torch.arange(side) - side / 2, torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 4, generator=generator)
    radius = 5 + draws[:, 0, None, None]
    center = 4 * draws[:, 1:3] - 2
    distance = (place[:, None].square() + place.square()).sqrt()
    from_center = ((place[:, None] - center[:, :1, None]) ** 2 + (place - center[:, 1:, None]) ** 2).sqrt()
    ring = 0.3 * (radius - distance).clamp(0, 1) + 0.5 * (1.5 - (distance - radius + 2).abs()).clamp(0, 1)
    return torch.stack([ring, 0.9 * (3 - from_center).clamp(0, 1)], dim=1)
