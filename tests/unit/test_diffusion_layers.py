"""What the fusers by diffusion share: schedule and steps, the U-Net, and the prior of images."""

import math
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from diffufuse.evaluate.efficiency import macs_of
from diffufuse.models import build_model
from diffufuse.models.layers import diffusion
from diffufuse.models.layers.conditioning import TimeEmbedding, waves
from diffufuse.models.layers.denoising import countdown, displayed, random_times, signed
from diffufuse.models.layers.diffusion_unet import DiffusionUNet, Sizes
from diffufuse.models.layers.image_prior import ImagePrior
from diffufuse.models.layers.noise import SeededNoise

SIZES = Sizes(width=8, multipliers=(1, 1, 2), blocks=1, groups=4, dropout=0.0)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unet(sizes=SIZES, *, inputs=1, outputs=1):
    torch.manual_seed(0)
    return DiffusionUNet(sizes, inputs=inputs, outputs=outputs)


def time(value):
    return torch.tensor(float(value))


class TestSchedule:
    @pytest.mark.parametrize(("step", "spread"), [(0, 0.0), (5, 0.0106), (10, 0.0160), (20, 0.0251), (2000, 1.0)])
    def test_the_noise_of_published_steps_of_2000_is_that_of_the_cosine_schedule(self, step, spread):
        assert diffusion.noise(time(step * diffusion.T / 2000)).item() == pytest.approx(spread, abs=1e-4)

    @pytest.mark.parametrize(("late", "early"), [(1000, 900), (700, 300), (40, 5), (10, 0), (1000, 0)])
    def test_what_is_drawn_back_is_as_if_noised_to_the_earlier_time_at_once(self, late, early):
        units = torch.eye(3, dtype=torch.float64)
        late, early = time(late).double(), time(early).double()
        of_noisy, of_clean, of_fresh = (diffusion.drawn_back(*unit, late, early).item() for unit in units)
        signal, noise = diffusion.signal, diffusion.noise
        assert of_clean + of_noisy * signal(late) == pytest.approx(signal(early).item(), abs=1e-9)
        variance = (of_noisy * noise(late)) ** 2 + of_fresh**2
        assert variance.item() == pytest.approx(noise(early).square().item(), abs=1e-9)

    def test_a_sampler_steps_from_pure_noise_to_none_without_a_gap(self):
        steps = countdown(7, device=torch.device("cpu"))
        assert steps.shape == (7, 2)
        assert (steps[0, 0], steps[-1, 1]) == (diffusion.T, 0)
        assert torch.equal(steps[1:, 0], steps[:-1, 1])

    def test_times_of_a_training_are_spread_over_all_and_one_for_each_image(self):
        torch.manual_seed(0)
        times = random_times(torch.zeros(4000, 2, 3, 3))
        assert times.shape == (4000, 1, 1, 1)
        assert torch.histc(times, 4, 0, diffusion.T).min() > 900

    def test_gray_levels_come_back(self):
        levels = torch.linspace(0, 1, 11)
        assert (signed(levels).min(), signed(levels).max()) == (-1, 1)
        assert torch.allclose(displayed(signed(levels)), levels)


class TestTime:
    def test_the_embedding_tells_apart_the_times_that_a_number_below_1_would_not(self):
        """The release embeds a-bar itself, .9999 or .9995 here."""
        embedding = TimeEmbedding(128)
        embedding.perceptron = nn.Identity()
        scaled = embedding(torch.tensor([2.5, 10.0]))
        release = waves(torch.tensor([0.9999, 0.9995]), 128)
        assert (scaled[0] - scaled[1]).abs().max() > 1
        assert (release[0] - release[1]).abs().max() < 4e-4

    def test_the_perceptron_can_be_wider_than_the_embedding(self):
        embedding = TimeEmbedding(8, hidden=32)
        assert [tuple(p.shape) for p in embedding.parameters()] == [(32, 8), (32,), (8, 32), (8,)]
        assert embedding(torch.rand(3)).shape == (3, 8)


class TestUNet:
    def test_weights_are_orthogonal_and_biases_zero(self):
        for module in unet().modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                rows = module.weight.detach().flatten(1)
                product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
                assert torch.allclose(product, torch.eye(len(product)), atol=1e-5)
                assert module.bias is None or not module.bias.any()

    @pytest.mark.parametrize("size", [(4, 4), (4, 12), (20, 8)])
    def test_images_of_any_multiple_of_the_stride_are_answered_each_for_itself(self, size):
        assert SIZES.stride == (4, 4, 1)
        network, images, times = unet(inputs=3, outputs=2), drawn(2, 3, *size), torch.tensor([10.0, 700.0])
        answer = network(images, times)
        assert answer.shape == (2, 2, *size)
        alone = torch.cat([network(images[n : n + 1], times[n : n + 1]) for n in range(2)])
        assert torch.allclose(answer, alone, atol=1e-5)

    def test_the_time_changes_the_answer(self):
        network, images = unet(), drawn(1, 1, 8, 8)
        answers = [network(images, torch.tensor([each])) for each in (2.5, 10.0, 500.0)]
        assert min((answers[0] - other).abs().max() for other in answers[1:]) > 1e-3

    def test_features_are_what_the_first_block_of_each_level_of_the_decoder_gives_and_no_more_is_computed(self):
        network, images, times = unet(Sizes(8, (1, 1, 2), blocks=2, groups=4)).eval(), drawn(2, 1, 8, 12), torch.rand(2)
        seen, called = {}, []
        for level, blocks in enumerate(network.decoder.levels):
            for number, block in enumerate(blocks):

                def note(module, arguments, result, place=(level, number)):
                    called.append(place)
                    seen[place] = result

                block.register_forward_hook(note)
        network(images, times)
        assert len(called) == 9
        called.clear()
        features = network.features(images, times)
        assert called == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
        assert [tuple(part.shape) for part in features] == [(2, 16, 2, 3), (2, 8, 4, 6), (2, 8, 8, 12)]
        assert all(torch.equal(part, seen[level, 0]) for level, part in enumerate(features))

    @pytest.mark.parametrize("part", ["time", "encoder.stem", "encoder.halvings", "middle", "decoder.doublings"])
    def test_every_part_changes_the_answer(self, part):
        network, images, times = unet(), drawn(1, 1, 8, 8), torch.tensor([300.0])
        before = network(images, times)
        for parameter in network.get_submodule(part).parameters():
            parameter.data.zero_()
        assert (network(images, times) - before).abs().max() > 1e-2

    def test_attention_is_where_it_is_asked_for_and_acts(self):
        def attends(network):
            return [name for name, module in network.named_modules() if type(module).__name__ == "_Attention"]

        assert attends(unet()) == ["middle.0.attention"]
        network = unet(Sizes(8, (1, 1, 2), 1, 4, 0.0, attention=(2,)))
        assert len(attends(network)) == 4  # one more of the encoder, two of the decoder
        images, times = drawn(1, 1, 8, 8), torch.tensor([300.0])
        before = network(images, times)
        for name in attends(network):
            network.get_submodule(name).out.weight.data.zero_()
        assert (network(images, times) - before).abs().max() > 1e-2

    def test_gradients_reach_every_parameter(self):
        network = unet(Sizes(8, (1, 1, 2), 1, 4, 0.0, attention=(2,)))
        network(drawn(2, 1, 16, 16), torch.tensor([20.0, 600.0])).square().mean().backward()
        assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def discs(count, side=16, seed=0):
    """Bright discs on black, in -1..1."""
    place = torch.arange(side) - side / 2
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator) * 6 - 3
    distance = ((place[:, None] - center[:, :1, None]) ** 2 + (place - center[:, 1:, None]) ** 2).sqrt()
    return signed((5 - distance).clamp(0, 1))[:, None]


class TestPrior:
    @pytest.mark.parametrize("answer", ["clean", "velocity"])
    def test_after_a_short_training_less_noise_is_left_than_the_best_linear_function_of_a_pixel_leaves(self, answer):
        torch.manual_seed(0)
        prior = ImagePrior(SIZES, answer=answer)
        optimizer = torch.optim.Adam(prior.parameters(), lr=5e-3)
        for step in range(120):
            images = displayed(discs(8, seed=step))[:, None, 0, ..., None]
            made = prior.restored(images, torch.ones_like(images, dtype=torch.bool))
            optimizer.zero_grad()
            (made.given - made.wanted).square().mean().backward()
            optimizer.step()
        images, held = discs(32, seed=999), prior.eval()
        for late in (300.0, 600.0):
            noisy = diffusion.noised(images, drawn(*images.shape), time(late))
            with torch.no_grad():
                left = (held.clean(noisy, time(late)) - images).square().mean().sqrt()
            signal, noise, spread = diffusion.signal(time(late)), diffusion.noise(time(late)), images.std()
            of_each_pixel_alone = spread * noise / (signal.square() * spread.square() + noise.square()).sqrt()
            assert left < 0.6 * of_each_pixel_alone < 0.6 * noise / signal

    def test_a_velocity_gives_the_noise_too_and_keeps_what_little_noise_leaves(self):
        torch.manual_seed(0)
        images, prior = torch.rand(2, 2, 8, 8, 1), ImagePrior(SIZES, answer="velocity")
        made = prior.restored(images, torch.ones_like(images, dtype=torch.bool))
        seen, there = made.noise
        assert seen.shape == there.shape == made.given.shape == (2, 2, 8, 8, 1)
        noisy = signed(images[:, :1, ..., 0])
        assert (prior.clean(noisy, time(5)) - noisy).abs().max() < 5 * diffusion.noise(time(5))
        assert ImagePrior(SIZES, answer="clean").restored(images, images > 2).noise is None

    def test_times_and_noise_differ_between_the_images_and_follow_from_the_global_seed(self):
        prior, images = ImagePrior(SIZES, answer="velocity"), torch.rand(3, 2, 8, 8, 1)
        presence = torch.ones_like(images, dtype=torch.bool)
        torch.manual_seed(5)
        first, second = prior.restored(images, presence), prior.restored(images, presence)
        torch.manual_seed(5)
        again = prior.restored(images, presence)
        assert torch.equal(first.given, again.given)
        assert not torch.equal(first.given, second.given)
        noise = first.noise[1].flatten(0, 1).flatten(1)
        assert (torch.corrcoef(noise) - torch.eye(6)).abs().max() < 0.6

    def test_what_is_absent_is_not_seen(self):
        prior, images = ImagePrior(SIZES, answer="clean"), torch.rand(1, 2, 8, 8, 1)
        presence = torch.ones_like(images, dtype=torch.bool)
        presence[:, 1] = False
        other = torch.where(presence, images, math.pi)
        made = []
        for each in (images, other):
            torch.manual_seed(0)
            made.append(prior.restored(each, presence))
        assert torch.equal(made[0].given, made[1].given)
        assert torch.equal(made[0].wanted[:, 1], images[:, 0])
        assert torch.equal(made[0].presence, presence)


BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
FUSERS = ("dmfnet", "ddfm", "tfs_diff")


def built(name, **settings):
    block = BLOCKS[name]
    torch.manual_seed(0)
    return build_model(block | {"settings": block["settings"] | settings}, modalities=2, outputs=1).eval()


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


class TestFusers:
    @pytest.mark.parametrize("name", [*(f"{name}_small" for name in FUSERS), "dmfnet_small_t0", "dmfnet_small_t50"])
    def test_small_ones_are_of_the_size_of_every_small_fuser(self, name):
        assert count(built(name)) == pytest.approx(69_957, rel=0.1)
        stride, patch = built(name).stride, BLOCKS[name]["training"]["patch"]
        assert all(side % step == 0 for side, step in zip(patch, stride, strict=True))

    @pytest.mark.parametrize("name", FUSERS)
    def test_tiny_ones_are_a_third_of_it_at_most(self, name):
        assert 10_000 < count(built(f"{name}_tiny")) < 23_000

    @pytest.mark.parametrize(
        ("name", "parameters"), [("dmfnet", 20_670_081 + 3_026_640), ("ddfm", 20_670_081), ("tfs_diff", 97_811_034)]
    )
    def test_published_ones_have_the_published_size(self, name, parameters):
        with torch.device("meta"):
            assert count(built(f"{name}_paper")) == pytest.approx(parameters, rel=1e-3)

    @pytest.mark.parametrize("name", FUSERS)
    def test_their_operations_can_be_counted_and_they_can_be_sent_to_another_process(self, name):
        network = built(f"{name}_tiny", **({} if name == "dmfnet" else {"steps": 2}))
        images = torch.rand(1, 2, 16, 24, 1, generator=torch.Generator().manual_seed(0))
        again = pickle.loads(pickle.dumps(network))
        presence = torch.ones_like(images, dtype=torch.bool)
        made = [each(images, presence, noise=SeededNoise([1])) for each in (network, again)]
        assert torch.equal(*made)
        assert 1e6 < macs_of(network, images) < 1e8
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            half = network(images, presence, noise=SeededNoise([1])).float()
        assert (half - made[0]).abs().mean() < 0.05

    def test_a_sampler_costs_its_steps(self):
        images = torch.rand(1, 2, 16, 16, 1)
        for name in ("ddfm", "tfs_diff"):
            costs = [macs_of(built(f"{name}_tiny", steps=steps), images) for steps in (2, 8)]
            assert costs[1] == pytest.approx(4 * costs[0], rel=1e-3)

    @pytest.mark.parametrize("name", FUSERS)
    def test_the_seed_alone_decides_the_weights(self, name):
        first, second = built(f"{name}_tiny").state_dict(), built(f"{name}_tiny").state_dict()
        assert all(torch.equal(weight, second[key]) for key, weight in first.items())
