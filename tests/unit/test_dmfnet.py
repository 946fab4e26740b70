"""DM-FNet: the sizes published, what its head does with features, and that these are of a network that is held."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.models.dmfnet import attention
from diffufuse.models.dmfnet.attention import AdaptiveFusion
from diffufuse.models.dmfnet.head import FusionHead
from diffufuse.models.dmfnet.network import DMFNet
from diffufuse.models.layers import diffusion
from diffufuse.models.layers.noise import SeededNoise
from diffufuse.train import fusion_objectives
from diffufuse.train import restoration as restoration_objectives

SIZES = {"width": 8, "multipliers": (1, 1, 2), "blocks": 1, "groups": 4, "dropout": 0.0}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def network(**changes):
    torch.manual_seed(0)
    return DMFNet(modalities=2, outputs=1, **(SIZES | changes))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def seeded(images):
    return SeededNoise(range(len(images)))


def test_both_stages_have_the_published_number_of_parameters():
    with torch.device("meta"):
        published = DMFNet(modalities=2, outputs=1)
    assert (count(published.prior), count(published.head)) == (20_670_081, 3_026_640)


class TestFeatures:
    def test_they_are_of_a_held_network_in_evaluation_mode_even_in_training(self):
        built, pair = network(dropout=0.5), drawn(2, 2, 16, 16)
        held = built.eval().features(pair, seeded(pair))
        built.train()
        learning = built.features(pair, seeded(pair))
        assert all(torch.equal(one, other) for one, other in zip(held, learning, strict=True))
        assert built.prior.training
        assert built.prior.unet.middle.training
        built.head(learning).sum().backward()
        assert all(p.grad is None for p in built.prior.parameters())
        assert all(p.grad is not None for p in built.head.parameters())

    def test_the_first_stage_does_drop(self):
        built, images = network(dropout=0.5).train(), drawn(1, 2, 16, 16, 1)
        given = []
        for _ in range(2):
            torch.manual_seed(0)
            given.append(built.restored(images, everywhere(images)).given)
        assert torch.equal(*given)
        torch.manual_seed(0)
        assert not torch.equal(built.eval().restored(images, everywhere(images)).given, given[0])

    def test_the_stages_share_no_weight_and_leave_none(self):
        built = network()
        first, second = (set(map(id, weights)) for weights in (built.first_stage(), built.second_stage()))
        assert not first & second
        assert first | second == set(map(id, built.parameters()))

    def test_both_images_are_noised_by_one_schedule_to_each_of_the_published_times(self, monkeypatch):
        built, pair = network(), drawn(3, 2, 16, 16)
        seen = {}
        monkeypatch.setattr(built.prior.unet, "features", lambda *given: seen.update(given=given) or [given[0]])
        [noisy] = built.features(pair, seeded(pair))
        alone, times = seen["given"]
        assert alone.shape == (3 * 3 * 2, 1, 16, 16)
        assert times.reshape(3, 6).T.tolist() == [[2.5, 5.0, 10.0]] * 6
        assert noisy.shape == (3, 2, 3, 16, 16)
        clean, times = (2 * pair - 1)[:, :, None], torch.tensor(built.times).reshape(3, 1, 1)
        signal, spread = diffusion.signal(times), diffusion.noise(times)
        noise = (noisy - signal * clean) / spread
        assert noise.std(dim=(0, 1, 3, 4)).tolist() == pytest.approx([1, 1, 1], abs=0.1)
        assert torch.corrcoef(noise.transpose(0, 2).flatten(1)).fill_diagonal_(0).abs().max() < 0.1  # anew each time

    def test_without_noise_they_are_the_images_alone(self):
        pair = drawn(1, 2, 16, 16)
        for times, same in (((0,), True), ((0, 20), False)):
            features = [network(times=times).features(pair, SeededNoise([seed])) for seed in (1, 2)]
            assert all(torch.equal(*each) for each in zip(*features, strict=True)) is same

    def test_a_time_more_is_further_channels_of_the_same_features(self):
        pair = drawn(1, 2, 16, 16)
        one, three = (network(times=times).features(pair, SeededNoise([1])) for times in ((5,), (5, 10, 20)))
        for alone, among in zip(one, three, strict=True):
            assert torch.allclose(alone, among[:, :, : alone.shape[2]], atol=1e-5)


class TestAdaptiveFusion:
    def test_the_weight_is_in_0_to_1_and_its_literal_form_is_not(self):
        torch.manual_seed(0)
        one, other = 5 * torch.randn(2, 1, 8, 6, 6)
        fusion = AdaptiveFusion(8, weights="bounded")
        weight = fusion.weight(one + other)
        assert 0 <= weight.min() < weight.max() <= 1
        assert torch.allclose(fusion(one, other), weight * one + (1 - weight) * other + one + other)
        fusion.weights = "literal"
        literal = weight * (one + other)
        assert literal.abs().max() > 2
        assert torch.allclose(fusion(one, other), literal * one + (1 - literal) * other + one + other, atol=1e-5)

    @pytest.mark.parametrize("part", ["spatial", "channel", "pixel"])
    def test_each_of_the_three_attentions_moves_the_weight(self, part):
        torch.manual_seed(0)
        fusion, both = AdaptiveFusion(16, weights="bounded"), torch.randn(1, 16, 8, 8)
        before = fusion.weight(both)
        for parameter in getattr(fusion, part).parameters():
            parameter.data.zero_()
        assert (fusion.weight(both) - before).abs().max() > 0.01

    def test_spatial_attention_is_alike_in_all_channels_and_channel_attention_at_all_pixels(self):
        torch.manual_seed(0)
        fusion, both = AdaptiveFusion(4, weights="bounded"), torch.randn(1, 4, 9, 9)
        seen = {}
        fusion.pixel.register_forward_pre_hook(lambda module, arguments: seen.update(pairs=arguments[0]))
        fusion.weight(both)
        pairs = seen["pairs"].unflatten(1, (4, 2))
        assert torch.equal(pairs[:, :, 0], both)
        rough, between_channels = pairs[0, :, 1], pairs[0, :, 1] - pairs[0, :1, 1]
        assert (between_channels.std(dim=(1, 2)) < 1e-5).all()
        assert (between_channels[1:, 0, 0].abs() > 1e-4).all()
        assert (rough.std(dim=(1, 2)) > 0.01).all()

    def test_no_channel_is_lost_where_there_are_few(self):
        assert AdaptiveFusion(4, weights="bounded").channel[0].out_channels == 1
        assert AdaptiveFusion(128, weights="bounded").channel[0].out_channels == 128 // attention.REDUCTION


class TestHead:
    def head(self, times=2):
        torch.manual_seed(0)
        return FusionHead((16, 8, 8), times=times, weights="bounded")

    def features(self, times=2, side=4):
        return [torch.randn(1, 2, times * width, side * 2**n, side * 2**n) for n, width in enumerate((16, 8, 8))]

    def test_the_image_is_in_0_to_1_at_the_finest_size(self):
        image = self.head()([100 * part for part in self.features()])
        assert image.shape == (1, 1, 16, 16)
        assert 0 <= image.min() < image.max() <= 1

    def test_every_scale_time_and_image_is_used(self):
        head, features = self.head(), self.features()
        parts = [part.requires_grad_() for part in features]
        head(parts).square().sum().backward()
        shares = torch.stack([part.grad.flatten(3).norm(dim=3)[0].unflatten(1, (2, -1)).norm(dim=2) for part in parts])
        assert shares.shape == (3, 2, 2)  # scale, image, time
        assert (shares > 1e-3 * shares.sum()).all()

    def test_both_images_are_merged_by_the_same_weights(self):
        head, features = self.head(), self.features()
        for fusion in head.fusions:
            nn.init.zeros_(fusion.pixel.weight)
            nn.init.zeros_(fusion.pixel.bias)  # w is 1/2
        exchanged = [part.flip(1) for part in features]
        assert torch.allclose(head(features), head(exchanged), atol=1e-6)

    def test_a_grid_as_small_as_the_stride_is_fused(self):
        for size in ((4, 4), (4, 24)):
            images = drawn(1, 2, *size, 1)
            assert network()(images, everywhere(images)).shape == (1, 1, *size, 1)


class TestNetwork:
    def test_the_same_noise_gives_the_same_image_and_other_noise_another(self):
        built, images = network(times=(200,)).eval(), drawn(2, 2, 16, 16, 1)
        made = [built(images, everywhere(images), noise=SeededNoise(seeds)) for seeds in ((1, 2), (1, 2), (1, 3))]
        assert torch.equal(made[0], made[1])
        assert torch.equal(made[0][0], made[2][0])
        assert (made[0][1] - made[2][1]).abs().max() > 1e-4

    def test_an_absent_image_is_not_seen(self):
        built, images = network(), drawn(1, 2, 16, 16, 1)
        presence = everywhere(images)
        presence[:, 1] = False
        made = [
            built(each, presence, noise=SeededNoise([1])) for each in (images, torch.where(presence, images, math.pi))
        ]
        assert torch.equal(*made)
        assert not built(images, torch.zeros_like(presence)).any()


def test_both_stages_learn_one_pair_to_the_best_sum_of_ssim_by_what_the_features_tell_where(monkeypatch):
    """Of a pair of equal images, as only of such a pair the best sum, that of the image itself, is known: 2."""
    torch.manual_seed(0)
    built, pair = network(), pair_of_equals()
    batch = SimpleNamespace(images=pair, presence=everywhere(pair))
    for weights, steps, terms in (
        (built.first_stage(), 30, lambda: restoration(built.restored(pair, batch.presence), batch)),
        (built.second_stage(), 80, lambda: fusion(built.decomposed(pair, batch.presence), batch)),
    ):
        optimizer = torch.optim.Adam(weights, lr=3e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            terms().backward()
            optimizer.step()
    fused = built.eval()(pair, batch.presence, noise=SeededNoise([0]))
    images = (part[0, 0, :, :, 0].detach().double().numpy() for part in (pair[:, :1], pair[:, 1:], fused))
    assert FUSION_METRICS["ssim_sum"].of(Fusion(*images)) >= 1.9
    with torch.no_grad():
        learned = fusion(built.decomposed(pair, batch.presence), batch)
        features = built.features
        monkeypatch.setattr(built, "features", lambda *of: [part.flip(4) for part in features(*of)])
        assert fusion(built.decomposed(pair, batch.presence), batch) > 3 * learned


def pair_of_equals(side=32):
    place = torch.linspace(-1, 1, side)
    distance = (place[:, None].square() + (place - 0.2).square()).sqrt()
    image = (3 * (0.7 - distance)).clamp(0, 0.6) + 0.3 * (distance < 0.3) * (place > 0.1)
    return image.expand(1, 2, side, side)[..., None]


def restoration(made, batch):
    return restoration_objectives.TERMS["squared"](made, batch)


def fusion(made, batch):
    weights = {"maximum": 1.5, "gradient": 1.0, "structure": 0.5}
    return sum(weight * fusion_objectives.TERMS[name](made, batch) for name, weight in weights.items())
