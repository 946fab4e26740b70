"""TFS-Diff for two images: its published size, its conditions, and that it learns to draw what they ask for."""

from types import SimpleNamespace

import pytest
import torch

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.models.layers import diffusion
from diffufuse.models.layers.noise import SeededNoise
from diffufuse.models.tfs_diff import TFSDiff, _Gate
from diffufuse.train import restoration

SIZES = {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "dropout": 0.0, "attention": (), "steps": 8}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def network(**changes):
    torch.manual_seed(0)
    return TFSDiff(modalities=2, outputs=1, **(SIZES | changes)).eval()


def pairs(count, *, side=32, seed=0):
    """A ring and a disc, of which each hides a part of the other where both are bright, in 0..1."""
    place, generator = torch.arange(side) - side / 2, torch.Generator().manual_seed(seed)
    center = 8 * torch.rand(count, 2, generator=generator) - 4
    radius = 8 + 4 * torch.rand(count, 1, 1, generator=generator)
    distance = (place[:, None].square() + place.square()).sqrt()
    from_center = ((place[:, None] - center[:, :1, None]) ** 2 + (place - center[:, 1:, None]) ** 2).sqrt()
    ring = 0.3 * (radius - distance).clamp(0, 1) + 0.5 * (2 - (distance - radius + 3).abs()).clamp(0, 1)
    return torch.stack([ring, 0.9 * (5 - from_center).clamp(0, 1)], dim=1)[..., None]


def learned(built, batches, steps):
    optimizer = torch.optim.Adam(built.train().parameters(), lr=1e-2)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for step in range(steps):
        images = batches(step)
        made = built.restored(images, everywhere(images))
        terms = {name: restoration.TERMS[name](made, SimpleNamespace()) for name in ("noise", "similarity")}
        optimizer.zero_grad()
        (terms["noise"] + 0.1 * terms["similarity"]).backward()
        optimizer.step()
        rate.step()
    return built.eval()


@pytest.fixture(scope="module")
def taught():
    return learned(network(), lambda step: pairs(6, seed=step), 100)


def fused_by(built, images, seeds=None):
    with torch.no_grad():
        return built(images, everywhere(images), noise=SeededNoise(seeds or range(len(images))))


def test_the_published_size_less_what_its_further_input_channels_had():
    with torch.device("meta"):
        built = TFSDiff(modalities=2, outputs=1)
    assert sum(p.numel() for p in built.parameters()) == pytest.approx(97_811_034, rel=1e-3)
    attends = [name for name, module in built.named_modules() if type(module).__name__ == "_Attention"]
    assert len(attends) == 6


def test_it_draws_the_brighter_of_its_sources_which_it_learned_from(taught):
    images = pairs(6, seed=999)
    wanted, fused = images.amax(dim=1, keepdim=True), fused_by(taught, images)
    for source in images.split(1, dim=1):
        darker = wanted - source > 0.3
        assert (fused - wanted)[darker].abs().mean() < 0.4 * (source - wanted)[darker].abs().mean()


@pytest.mark.parametrize("source", [0, 1])
def test_another_source_gives_another_image_there(taught, source):
    images, others = pairs(4, seed=7), pairs(4, seed=8)
    changed = images.clone()
    changed[:, source] = others[:, source]
    moved = (fused_by(taught, changed) - fused_by(taught, images)).abs()
    told = (changed.amax(1, keepdim=True) - images.amax(1, keepdim=True)).abs()
    assert moved[told > 0.3].mean() > 0.3
    assert moved[told > 0.3].mean() > 5 * moved[told == 0].mean()


def test_images_differ_less_between_noises_than_between_pairs(taught):
    images = pairs(4, seed=9)
    first, second = fused_by(taught, images, [1, 2, 3, 4]), fused_by(taught, images, [5, 6, 7, 8])
    between_noises = (first - second).abs().mean()
    assert 0 < between_noises < 0.5 * (first - first.roll(1, 0)).abs().mean()
    assert torch.equal(first, fused_by(taught, images, [1, 2, 3, 4]))


def test_one_pair_is_learned_to_the_best_sum_of_ssim():
    """Of a pair of equal images, as only of such a pair the best sum, that of the image itself, is known: 2.

    It has contrast everywhere, as what is left of the noise counts most where an image is flat.
    """
    place = torch.arange(32.0)
    image = 0.5 + 0.2 * torch.cos(place[:, None] / 2) + 0.2 * torch.cos(place / 3 + place[:, None] / 5)
    pair = image.expand(1, 2, 32, 32)[..., None]
    built = learned(network(), lambda step: pair.repeat(4, 1, 1, 1, 1), 80)
    images = (part[0, 0, :, :, 0].double().numpy() for part in (pair[:, :1], pair[:, 1:], fused_by(built, pair)))
    assert FUSION_METRICS["ssim_sum"].of(Fusion(*images)) >= 1.9


@pytest.mark.parametrize("target", ["maximum", "mean"])
def test_it_is_held_to_the_target_and_to_the_noise_in_it(target, monkeypatch):
    built, images = network(target=target), drawn(3, 2, 8, 8, 1)
    presence = everywhere(images)
    presence[0] = False
    presence[1, 1] = False
    seen = {}
    monkeypatch.setattr(built, "_velocity", lambda noisy, pair, time: seen.update(noisy=noisy, time=time) or 0 * noisy)
    made = built.restored(images, presence)
    wanted = images.amax(1, keepdim=True) if target == "maximum" else images.mean(1, keepdim=True)
    assert torch.allclose(made.wanted[2], wanted[2])
    assert torch.equal(made.wanted[1], images[1, :1])
    assert made.presence.flatten(1).all(dim=1).tolist() == [False, True, True]
    noise = made.noise[1][..., 0]
    assert torch.allclose(seen["noisy"], diffusion.noised(2 * made.wanted[..., 0] - 1, noise, seen["time"]))
    assert len(seen["time"].unique()) == 3
    # a velocity of 0 says that clean image and noise are those parts of the noisy image
    signal, spread = diffusion.signal(seen["time"]), diffusion.noise(seen["time"])
    assert torch.allclose(2 * made.given[..., 0] - 1, signal * seen["noisy"], atol=1e-6)
    assert torch.allclose(made.noise[0][..., 0], spread * seen["noisy"], atol=1e-6)


def test_the_sampler_with_a_network_that_knows_the_image_gives_it_whatever_the_noise(monkeypatch):
    built, images = network(steps=3), drawn(2, 2, 8, 8, 1)
    known = 2 * images[:, 1:, ..., 0] - 1

    def velocity(noisy, pair, time):
        signal, spread = diffusion.signal(time), diffusion.noise(time)
        return (signal * noisy - known) / spread

    monkeypatch.setattr(built, "_velocity", velocity)
    assert torch.allclose(fused_by(built, images), images[:, 1:], atol=1e-5)


def test_the_gate_weighs_whole_channels_by_what_is_in_all_of_them():
    torch.manual_seed(0)
    gate, images = _Gate(3), drawn(2, 3, 4, 4)
    weights = gate(images) / images
    assert torch.allclose(weights, weights[..., :1, :1].expand_as(weights), atol=1e-5)
    assert 0 < weights.min() < weights.max() < 1
    gate.weights[0].weight.data.fill_(1.0)
    assert not torch.allclose(gate(images.roll(1, 0)).roll(-1, 0), 0 * images)
    assert sum(p.numel() for p in _Gate(12).parameters()) == 87  # what the release has for its twelve


def test_of_one_image_alone_the_other_is_not_seen(taught):
    images = pairs(1, seed=4)
    presence = everywhere(images)
    presence[:, 0] = False
    with torch.no_grad():
        fused, same = (
            taught(each, presence, noise=SeededNoise([0])) for each in (images, torch.where(presence, images, 3.0))
        )
    assert torch.equal(fused, same)
    assert (fused - images[:, 1:]).abs().mean() < 0.7 * (fused - images[:, :1]).abs().mean()
