"""What the paper's parts must do, and what its traps must not."""

import math

import pytest
import torch
from monai.networks.schedulers import DDIMScheduler

from diffufuse.models.diffufusemed import DiffuFuseMed
from diffufuse.models.diffufusemed.attention import CrossModalTransformer, gate_bias, windowed_attention
from diffufuse.models.diffufusemed.denoiser import Denoiser, denoise
from diffufuse.models.diffufusemed.reliability import gates_of, moments_of, roughness_of
from diffufuse.models.diffufusemed.tokens import TokenNorm, inside_at
from diffufuse.models.layers.diffusion import (
    T,
    clean_of,
    noise,
    noise_of,
    noised,
    signal,
    step_back,
    time_of_noise,
    velocity,
)
from diffufuse.models.multi_encoder import MultiEncoderCNN

M, D = 3, 8
SETTINGS = {"widths": [8, 8, 8, 16], "windows": [4, 0], "latest": [500, 250], "head_width": 4, "dropout": 0.0}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(**changes):
    torch.manual_seed(3)
    built = DiffuFuseMed(modalities=M, outputs=1, **(SETTINGS | changes))
    for parameter in built.parameters():  # nothing stays at a zero that hides an effect
        parameter.data += 0.05 * torch.randn_like(parameter)
    return built


def batch(size=32, z=1):
    return drawn(2, M, size, size, z), torch.ones(2, M, size, size, z, dtype=torch.bool)


class TestDiffusion:
    def test_variance_is_preserved_at_every_time(self):
        time = torch.linspace(0, T, 101)
        assert torch.allclose(signal(time) ** 2 + noise(time) ** 2, torch.ones(101), atol=1e-6)

    def test_the_cosine_schedule_meets_the_noise_that_it_should(self):
        for sd, time in ((0.1, 57), (0.3, 180), (0.5, 290)):
            found = time_of_noise(torch.tensor(sd**2 / (1 + sd**2)))
            assert abs(float(found) - time) < 1.5

    def test_time_and_noise_are_inverse(self):
        time = torch.linspace(1, T - 1, 50)
        assert torch.allclose(time_of_noise(noise(time) ** 2), time, atol=0.5)

    def test_the_true_velocity_gives_back_the_clean_tokens_and_the_noise(self):
        clean, random, time = drawn(4, 5), drawn(4, 5, seed=1), torch.full((4, 1), 400.0)
        noisy, v = noised(clean, random, time), velocity(clean, random, time)
        assert torch.allclose(clean_of(noisy, v, time), clean, atol=1e-6)
        assert torch.allclose(noise_of(noisy, v, time), random, atol=1e-6)

    def test_a_step_to_where_one_is_changes_nothing(self):
        noisy, v, time = drawn(4, 5), drawn(4, 5, seed=1), torch.full((4, 1), 300.0)
        assert torch.allclose(step_back(noisy, v, time, time), noisy, atol=1e-6)

    @pytest.mark.parametrize("steps", [1, 2, 4])
    def test_few_steps_on_a_known_gaussian_reach_the_closed_form(self, steps):
        sd, start = 0.5, torch.full((1, 1), 600.0)
        noisy = noised(sd * drawn(1, 50_000), drawn(1, 50_000, seed=1), start)

        def exact(x, _time, time):
            mean = signal(time) * sd**2 / (signal(time) ** 2 * sd**2 + noise(time) ** 2) * x  # E[z | x]
            return (signal(time) * x - mean) / noise(time)

        # a linear step multiplies the standard deviation by a known factor
        expected = float(torch.sqrt(signal(start) ** 2 * sd**2 + noise(start) ** 2))
        for done in range(steps):
            time, earlier = (start * (1 - part / steps) for part in (done, done + 1))
            shrunk = signal(time) * sd**2 / (signal(time) ** 2 * sd**2 + noise(time) ** 2)
            random = (1 - signal(time) * shrunk) / noise(time)
            noisy = step_back(noisy, exact(noisy, None, time), time, earlier)
            expected *= float(signal(earlier) * shrunk + noise(earlier) * random)
        assert float(noisy.std()) == pytest.approx(expected, rel=0.02)

    def test_many_steps_on_a_known_gaussian_recover_its_spread(self):
        sd, start, steps = 0.5, torch.full((1, 1), 600.0), 200
        noisy = noised(sd * drawn(1, 50_000), drawn(1, 50_000, seed=1), start)
        for done in range(steps):
            time, earlier = (start * (1 - part / steps) for part in (done, done + 1))
            mean = signal(time) * sd**2 / (signal(time) ** 2 * sd**2 + noise(time) ** 2) * noisy
            noisy = step_back(noisy, (signal(time) * noisy - mean) / noise(time), time, earlier)
        assert float(noisy.std()) == pytest.approx(sd, rel=0.03)

    def test_on_the_full_schedule_a_step_is_that_of_monai(self):
        scheduler = DDIMScheduler(
            num_train_timesteps=1000, schedule="cosine", prediction_type="v_prediction", clip_sample=False
        )
        scheduler.set_timesteps(1000)
        noisy, v = drawn(4, 5), drawn(4, 5, seed=1)
        for index in (900, 500, 100, 10):  # its index i is our time i + 1
            expected, _ = scheduler.step(v, index, noisy)
            found = step_back(noisy, v, torch.tensor(index + 1.0), torch.tensor(float(index)))
            assert torch.allclose(found, expected, atol=2e-4)
            other = step_back(noisy, v, torch.tensor(index + 1.0), torch.tensor(index - 8.0))
            assert not torch.allclose(other, expected, atol=2e-4)

    def test_tokens_that_start_at_time_zero_come_back_as_they_are(self):
        tokens, there = drawn(2, M, D, 4, 4), torch.ones(2, M, dtype=torch.bool)
        denoiser = Denoiser(M, D, blocks=1, dims=2)
        assert torch.allclose(denoise(denoiser, tokens, torch.zeros(2, M), there, steps=2), tokens, atol=1e-6)


class TestTokens:
    def test_over_all_patches_tokens_have_mean_zero_and_variance_one(self):
        norm, inside = TokenNorm(M, D), torch.ones(4, M, 8, 8, dtype=torch.bool)
        scale = torch.arange(1.0, D + 1)[:, None, None]
        for seed in range(300):
            norm(5 + scale * drawn(4, M, D, 8, 8, seed=seed), inside)
        tokens = norm.eval()(5 + scale * drawn(64, M, D, 8, 8, seed=999), inside)
        assert torch.allclose(tokens.mean(dim=(0, 3, 4)), torch.zeros(M, D), atol=0.05)
        assert torch.allclose(tokens.var(dim=(0, 3, 4)), torch.ones(M, D), atol=0.1)

    def test_what_is_constant_over_a_patch_is_kept_and_noise_adds_variance(self):
        norm, features = TokenNorm(M, D).eval(), torch.ones(1, M, D, 4, 4)
        inside = torch.ones(1, M, 4, 4, dtype=torch.bool)
        assert norm(3 * features, inside).mean() > 2 * norm(features, inside).mean()

    def test_moments_come_from_where_a_modality_was_acquired(self):
        norm, inside = TokenNorm(M, D), torch.zeros(2, M, 4, 4, dtype=torch.bool)
        inside[:, 0, :2] = True
        features = torch.where(inside[:, :, None], 7.0, 100.0).expand(2, M, D, 4, 4)
        norm(features, inside)
        assert torch.allclose(norm.mean[0], torch.full((D,), 7.0))
        assert not norm.mean[1:].any()

    def test_a_place_is_inside_if_anything_in_it_is(self):
        presence = torch.zeros(1, M, 8, 8, 1, dtype=torch.bool)
        presence[0, 1, 5, 2] = True
        inside = inside_at(presence, torch.zeros(1, M, D, 4, 4))
        assert inside.nonzero().tolist() == [[0, 1, 2, 1]]

    def test_features_of_reliability_ignore_what_was_not_acquired(self):
        features, inside = drawn(1, M, D, 4, 4), torch.zeros(1, M, 4, 4, dtype=torch.bool)
        inside[..., :2, :] = True
        other = features.clone()
        other[..., 2:, :] = 50.0
        assert torch.allclose(moments_of(features, inside), moments_of(other, inside))
        expected = features[..., :2, :].mean(dim=(2, 3, 4))
        assert torch.allclose(moments_of(features, inside)[..., 0], expected, atol=1e-5)

    def test_roughness_is_blind_to_planes_and_tells_the_strength_of_noise(self):
        x, y = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        plane = (3 * x - 2 * y)[None, None, :, :, None].expand(1, M, 16, 16, 2)
        presence = torch.ones_like(plane, dtype=torch.bool)
        presence[..., :3, :, :] = False
        shown = torch.where(presence, plane, 0.0)
        assert (roughness_of(shown, presence) < -10).all()
        faint, strong = (roughness_of(shown + sd * drawn(1, M, 16, 16, 2), presence) for sd in (0.1, 0.4))
        # the mask has the weights 1, 2 and 4, so noise of SD s has the mean magnitude 6 s sqrt(2 / pi)
        assert torch.allclose(faint.exp(), torch.full_like(faint, 0.6 * math.sqrt(2 / math.pi)), rtol=0.2)
        assert torch.allclose(strong - faint, torch.full_like(faint, math.log(4)), atol=0.1)


class TestAttention:
    def transformer(self, time_on):
        torch.manual_seed(0)
        built = CrossModalTransformer(
            M, D, blocks=2, head_width=4, ffn=2, window=0, dropout=0.0, time_on="queries and keys"
        )
        for parameter in built.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        for block in built.blocks:
            block.time_on = time_on
        return built

    def said(self, time_on, time, gates=None, there=None):
        there = torch.ones(2, M, dtype=torch.bool) if there is None else there
        gates = gates_of(torch.zeros(2, M), there, temperature=1.0) if gates is None else gates
        return self.transformer(time_on)(drawn(2, M, D, 4, 4), time, there, gates)

    def test_one_time_on_the_keys_alone_is_the_same_as_no_time(self):
        time = torch.full((2, M), 300.0)
        assert torch.allclose(self.said("keys", time), self.said("off", time), atol=1e-5)

    def test_a_time_per_modality_on_the_keys_is_not(self):
        time = torch.tensor([[10.0, 200.0, 400.0]] * 2)
        assert not torch.allclose(self.said("keys", time), self.said("off", time), atol=1e-3)

    def test_one_time_on_queries_and_keys_is_not(self):
        early, late = (self.said("queries and keys", torch.full((2, M), time)) for time in (10.0, 400.0))
        assert not torch.allclose(early, late, atol=1e-3)

    def test_uniform_gates_equal_no_gates(self):
        there = torch.tensor([[True, True, True], [True, False, True]])
        gates = gates_of(torch.zeros(2, M), there, temperature=5.0)
        bias = gate_bias(gates, there)
        assert torch.allclose(bias[there], torch.zeros(5), atol=1e-6)
        assert torch.isinf(bias[~there]).all()

    def test_a_gate_of_almost_zero_hides_a_modality(self):
        tokens, there = drawn(1, M, D, 4, 4), torch.ones(1, M, dtype=torch.bool)
        gates = torch.tensor([[0.5, 0.5, 0.0]])
        other = tokens.clone()
        other[:, 2] = drawn(1, D, 4, 4, seed=9)
        transformer = self.transformer("off")
        seen = [transformer(each, torch.zeros(1, M), there, gates)[:, :2] for each in (tokens, other)]
        assert torch.allclose(*seen, atol=1e-4)

    @pytest.mark.parametrize("window", [1, 2, 3, 4])
    def test_windows_attend_within_themselves_alone(self, window):
        tokens, bias = drawn(1, M, 4, 4, D), torch.zeros(1, M)
        other = tokens.clone()
        other[:, :, 3, 3] += 1.0
        first, second = (windowed_attention(t, t, t, bias, heads=2, window=window) for t in (tokens, other))
        changed = (first != second).any(dim=-1)[0].any(dim=0)
        block = (torch.arange(4) // window) == (3 // window)
        assert torch.equal(changed, block[:, None] & block[None, :])

    def test_full_attention_is_one_softmax_over_all_tokens(self):
        q, k, v = (drawn(2, M, 3, 5, D, seed=seed) for seed in range(3))
        bias = drawn(2, M, seed=7)
        flat = [part.reshape(2, M * 15, D) for part in (q, k, v)]
        logits = flat[0] @ flat[1].transpose(1, 2) / math.sqrt(D) + bias.repeat_interleave(15, dim=1)[:, None]
        expected = (logits.softmax(dim=2) @ flat[2]).reshape(2, M, 3, 5, D)
        assert torch.allclose(windowed_attention(q, k, v, bias, heads=1, window=0), expected, atol=1e-5)


class TestGates:
    def test_gates_are_a_distribution_over_the_present_modalities(self):
        there = torch.tensor([[True, True, False], [False, True, False]])
        gates = gates_of(drawn(2, M), there, temperature=5.0)
        assert torch.allclose(gates.sum(dim=1), torch.ones(2))
        assert not gates[~there].any()

    def test_a_more_reliable_modality_gets_the_larger_gate_and_temperature_sharpens(self):
        rho, there = torch.tensor([[0.9, 0.5, 0.1]]), torch.ones(1, M, dtype=torch.bool)
        mild, sharp = (gates_of(rho, there, temperature=value)[0] for value in (1.0, 5.0))
        assert mild[0] > mild[1] > mild[2]
        assert sharp[0] > mild[0]

    def test_where_nothing_is_present_gates_are_zero_and_finite(self):
        assert torch.equal(
            gates_of(drawn(1, M), torch.zeros(1, M, dtype=torch.bool), temperature=5.0), torch.zeros(1, M)
        )


class TestNetwork:
    @pytest.mark.parametrize("diffusion", ["observed", "renoise", "off"])
    @pytest.mark.parametrize("steps", [1, 2])
    def test_the_content_of_an_absent_modality_changes_nothing_to_the_bit(self, diffusion, steps):
        built = network(diffusion=diffusion, steps=steps).eval()
        images, presence = batch()
        presence[:, 1] = False
        other = images.clone()
        other[:, 1] = 1e3
        assert torch.equal(built(images, presence), built(other, presence))

    def test_without_its_parts_it_is_the_multi_encoder_cnn(self):
        built = network(widths=[8, 8], windows=[], latest=[], gates="uniform").eval()
        plain = MultiEncoderCNN(modalities=M, outputs=1, widths=[8, 8]).eval()
        plain.load_state_dict({name: value for name, value in built.state_dict().items() if name in plain.state_dict()})
        images, presence = batch()
        presence[0, 1] = False
        assert torch.allclose(built(images, presence), plain(images, presence), atol=1e-5)

    def test_temperature_zero_makes_a_trained_network_weigh_all_alike(self):
        built = network().eval()
        images, presence = batch()
        gated = built(images, presence)
        built.temperature = 0.0
        uniform = built(images, presence)
        built.gates = "uniform"
        assert torch.allclose(built(images, presence), uniform, atol=1e-5)
        assert not torch.allclose(gated, uniform, atol=1e-4)

    def test_a_trace_has_the_logits_of_a_plain_pass(self):
        built = network().eval()
        images, presence = batch()
        expected = built(images, presence)
        logits, _ = built.trace(images, presence, clean=images, generator=torch.Generator().manual_seed(0))
        assert torch.equal(logits, expected)

    def test_the_noise_loss_reaches_the_denoisers_alone(self):
        built = network()
        images, presence = batch()
        _, trace = built.trace(images, presence, clean=images, generator=torch.Generator().manual_seed(0))
        sum((level.predicted - level.velocity).square().mean() for level in trace.levels).backward()
        touched = {name.split(".")[0] for name, parameter in built.named_parameters() if parameter.grad is not None}
        assert touched == {"denoisers"}

    def test_clean_tokens_are_those_of_the_images_without_corruption(self):
        built = network().eval()
        clean, presence = batch()
        images = clean.clone()
        images[0, 1] += drawn(32, 32, 1, seed=5)
        _, trace = built.trace(images, presence, clean=clean, generator=torch.Generator().manual_seed(0))
        _, expected = built.trace(clean, presence, clean=clean, generator=torch.Generator().manual_seed(0))
        for level, other in zip(trace.levels, expected.levels, strict=True):
            assert torch.allclose(level.clean, other.tokens, atol=1e-5)
            assert not torch.allclose(level.tokens, other.tokens, atol=1e-2)

    def test_it_remembers_what_the_probe_finds_in_clean_tokens(self):
        built = network()
        images, presence = batch()
        presence[:, 2] = False
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            built.trace(images, presence, clean=images, generator=generator)
        assert (built.clean_energy[:, :2] > 0).all()
        assert not built.clean_energy[:, 2].any()

    def test_renoising_is_repeatable_and_differs_from_observing(self):
        images, presence = batch()
        twice = [network(diffusion="renoise").eval()(images, presence) for _ in range(2)]
        assert torch.equal(*twice)
        assert not torch.equal(twice[0], network().eval()(images, presence))

    @pytest.mark.parametrize(("dims", "slices", "z", "out"), [(2, 1, 1, 1), (2, 3, 3, 1), (3, 1, 16, 16)])
    def test_two_dimensions_neighboring_slices_and_three_dimensions_are_one_argument(self, dims, slices, z, out):
        built = network(dims=dims, slices=slices).eval()
        assert built(*batch(size=16, z=z)).shape == (2, 1, 16, 16, out)

    def test_what_stands_for_an_absent_modality_has_a_say(self):
        built = network()
        images, presence = batch()
        presence[:, 1] = False
        before = built(images, presence)
        for fusion in built.fusions:
            fusion.absent.data[1] += 1.0
        assert (built(images, presence) - before).abs().mean() > 1e-3 * before.abs().mean()

    def test_a_patch_without_any_modality_has_finite_logits(self):
        images, presence = batch()
        assert network().eval()(images, torch.zeros_like(presence)).isfinite().all()
