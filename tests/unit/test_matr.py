"""MATR: its gated kernels, its shared branches, and the images that its authors released."""

from pathlib import Path

import matr as released
import pytest
import torch
import yaml
from safetensors.torch import load_file

from diffufuse.models import build_model, is_slicewise
from diffufuse.models.layers import norms
from diffufuse.models.layers.norms import BatchNorm
from diffufuse.models.matr import MATR
from diffufuse.models.matr.convolution import ContextGatedConv, GatedLayer
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_objectives import label_free_objective
from diffufuse.train.player import rate_factor
from diffufuse.train.structural import similarity

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config/models.yaml").read_text())["models"]
PUBLISHED, NEVER_APPLIED = 13_422, 2 * 96
SMALLEST = {"width": 8, "branches": 2, "layers": 2, "heads": 2, "window": 4}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def built(**changes):
    torch.manual_seed(0)
    return MATR(modalities=2, outputs=1, **(SMALLEST | changes))


def shaken(network):
    """As after training: no weight is at a zero that hides an effect."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def trained_a_little(network):
    """The same, and running moments that are not those of the start."""
    shaken(network)
    images = drawn(4, 2, 16, 16, 1, seed=9)
    for _ in range(20):
        network.train()(images, everywhere(images))
    return network.eval()


class TestContextGatedConv:
    def test_open_gates_make_it_a_convolution(self):
        torch.manual_seed(0)
        layer, features = ContextGatedConv(3, 5).eval(), drawn(2, 3, 9, 7)
        for gate in (layer.of_input, layer.of_output):
            torch.nn.init.zeros_(gate.weight)
        expected = torch.nn.functional.conv2d(features, layer.kernel / 2, padding=1)
        assert torch.allclose(layer(features), expected, atol=1e-5)

    def test_each_image_has_a_kernel_of_its_own_from_its_own_context(self):
        torch.manual_seed(0)
        layer, features = ContextGatedConv(3, 5).eval(), drawn(2, 3, 12, 12)
        gates = layer.gates(features)
        assert gates.shape == (2, 5, 3, 3, 3)
        assert 0 < gates.min() < gates.max() < 1
        for one in (0, 1):
            kernel = gates[one] * layer.kernel
            expected = torch.nn.functional.conv2d(features[one : one + 1], kernel, padding=1)
            assert torch.allclose(layer(features)[one : one + 1], expected, atol=1e-5)

    def test_what_is_far_away_changes_the_kernel(self):
        torch.manual_seed(0)
        layer, features = ContextGatedConv(3, 5).eval(), drawn(1, 3, 30, 30)
        other = features.clone()
        other[:, :, 20:, 20:] = 3
        before, after = layer(features)[..., :5, :5], layer(other)[..., :5, :5]
        assert (after - before).abs().max() > 0.01 * before.std()

    def test_the_gate_is_the_sum_of_one_of_the_input_and_one_of_the_output_channel(self):
        torch.manual_seed(0)
        layer, features = ContextGatedConv(2, 4).eval(), drawn(1, 2, 9, 9)
        means = features.unfold(2, 3, 3).unfold(3, 3, 3).mean(dim=(4, 5)).flatten(2)
        code = means @ layer.encode.weight.T  # batch normalization is the identity before training, to 5e-6
        of_input = code.relu() @ layer.of_input.weight.T
        mixed = torch.einsum("oi,bic->boc", layer.mix.weight, code.relu())
        of_output = mixed.relu() @ layer.of_output.weight.T
        expected = torch.sigmoid(of_input[:, None] + of_output[:, :, None]).reshape(1, 4, 2, 3, 3)
        assert torch.allclose(layer.gates(features), expected, atol=1e-4)

    def test_gradients_reach_every_weight(self):
        torch.manual_seed(0)
        layer = GatedLayer(3, 5)
        layer(drawn(4, 3, 12, 12)).square().mean().backward()
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in layer.parameters())


class TestBatchNorm:
    def test_in_one_process_and_place_it_is_that_of_torch(self):
        ours, theirs, features = BatchNorm(3), torch.nn.BatchNorm2d(3), 3 * drawn(4, 3, 5, 6) + 1
        assert torch.equal(ours(features), theirs(features))
        assert torch.equal(ours.eval()(features), theirs.eval()(features))

    def test_each_place_has_moments_of_its_own(self):
        norm, dark, bright = BatchNorm(3, places=2), drawn(4, 3, 5, 6), 3 * drawn(4, 3, 5, 6, seed=1) + 4
        for _ in range(100):
            seen = norm(dark, 0), norm(bright, 1)
        norm.eval()
        assert torch.allclose(norm(dark, 0), seen[0], atol=0.02)
        assert torch.allclose(norm(bright, 1), seen[1], atol=0.02)
        assert norm(bright, 0).mean() > 5
        assert len(list(norm.parameters())) == 2

    def test_a_process_counts_what_the_other_has(self, monkeypatch):
        """The other one has the same samples: sums double, and moments are those of the batch of both."""
        features, alone, shared = 3 * drawn(4, 3, 5, 6) + 1, BatchNorm(3), BatchNorm(3)
        expected = alone(torch.cat([features, features]))[:4]
        monkeypatch.setattr(norms, "processes", lambda: 2)
        monkeypatch.setattr(norms, "total", lambda part: 2 * part)
        assert torch.allclose(shared(features), expected, atol=1e-5)
        assert torch.allclose(shared.variance, alone.variance, atol=1e-6)
        assert torch.allclose(shared.mean, alone.mean, atol=1e-6)
        assert not torch.equal(shared.mean, BatchNorm(3).mean)
        shared.eval()
        assert torch.allclose(shared(features), alone.eval()(features), atol=1e-5)


class TestMATR:
    def test_its_size_is_the_published_one_but_for_a_layer_that_is_never_applied(self):
        network = build_model(BLOCKS["matr_paper"], modalities=2, outputs=1)
        assert count(network) + NEVER_APPLIED == PUBLISHED

    def test_the_small_one_is_as_large_as_other_trained_fusers(self):
        sizes = {
            name: count(build_model(BLOCKS[f"matr_{name}"], modalities=2, outputs=1)) for name in ("small", "tiny")
        }
        assert 63_000 < sizes["small"] < 76_900
        assert 10_000 < sizes["tiny"] < 20_000

    @pytest.mark.parametrize("literal", [False, True])
    def test_the_image_is_one_of_any_multiple_of_the_window_within_bounds(self, literal):
        network = trained_a_little(built(literal=literal))
        assert is_slicewise({"architecture": "matr", "settings": {}})
        assert network.stride == (4, 4, 1)
        for size in ((4, 4), (16, 16), (20, 8)):
            images = drawn(2, 2, *size, 1)
            image = network(images, everywhere(images))
            assert image.shape == (2, 1, *size, 1)
            assert 0 <= image.min() < image.max() <= 1

    def test_branches_share_their_layers_and_each_adds_to_the_image(self):
        few, many = built(branches=1), built(branches=3)
        assert count(few) == count(many)
        images = drawn(2, 2, 16, 16, 1)
        made = [shaken(network).train()(images, everywhere(images)) for network in (few, many)]
        assert torch.equal(few.head.weight, many.head.weight)
        assert (made[0] - made[1]).abs().max() > 0.01

    def test_images_of_a_batch_do_not_mix_in_evaluation(self):
        network, images = trained_a_little(built()), drawn(3, 2, 16, 16, 1)
        alone = torch.cat([network(images[n : n + 1], everywhere(images[:1])) for n in range(3)])
        assert torch.allclose(network(images, everywhere(images)), alone, atol=1e-5)

    def test_an_absent_image_changes_nothing(self):
        network, images = trained_a_little(built()), drawn(2, 2, 16, 16, 1)
        presence, other = everywhere(images), images.clone()
        presence[0, 1], presence[1, :, 12:] = False, False
        other[~presence] = 1e3
        assert torch.equal(network(images, presence), network(other, presence))
        assert network(images, presence)[1, :, 12:].eq(0).all()

    def test_exchanged_images_give_another_one(self):
        network, images = trained_a_little(built()), drawn(1, 2, 16, 16, 1)
        exchanged = network(images.flip(1), everywhere(images))
        assert (network(images, everywhere(images)) - exchanged).abs().max() > 0.01

    def test_attention_chooses_in_a_window_of_several_pixels_and_in_one_of_one_it_cannot(self):
        for window, chooses in ((4, True), (1, False)):
            network, images = shaken(built(window=window)), drawn(2, 2, 16, 16, 1)
            network.decomposed(images, everywhere(images)).fused.square().mean().backward()
            reached = [
                block.attn.qkv.weight.grad.chunk(3)[part].abs().max() > 1e-7
                for block in network.transformer.blocks
                for part in (0, 1)  # queries and keys
            ]
            assert all(reached) if chooses else not any(reached)
            rest = [w for name, w in network.named_parameters() if "qkv" not in name and "relative" not in name]
            assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in rest)

    def test_what_was_seen_in_training_is_fused_alike_in_evaluation(self, monkeypatch):
        """With the same moments for all places, as in the release, it is not."""
        monkeypatch.setattr(norms, "MOMENTUM", 0.5)  # ten batches are enough
        images, away = drawn(4, 2, 16, 16, 1, seed=9), {}
        for literal in (False, True):
            network = shaken(built(literal=literal)).train()
            with torch.no_grad():
                for _ in range(10):
                    seen = network(images, everywhere(images))
            away[literal] = (network.eval()(images, everywhere(images)) - seen).abs().mean().item()
        assert away[False] < 0.02
        assert away[True] > 5 * away[False]

    def test_the_image_begins_black_and_gradients_reach_it(self):
        network, images = built(), drawn(2, 2, 16, 16, 1)
        image = network.decomposed(images, everywhere(images)).fused
        assert image.eq(0).all()
        (image - images.amax(dim=1, keepdim=True)).square().mean().backward()
        assert network.head.weight.grad.abs().max() > 0.01

    def test_the_literal_order_mixes_neighbors_where_the_sound_one_does_not(self):
        """In a window of one pixel the transformer sees nothing of a pixel's neighbors."""
        for literal in (False, True):
            network = trained_a_little(built(window=1, literal=literal))
            features = drawn(1, SMALLEST["width"], 16, 16).requires_grad_()
            (gradient,) = torch.autograd.grad(network._transformed(features)[0, :, 5, 5].sum(), features)
            elsewhere = gradient.abs().sum(dim=(0, 1)).clone()
            elsewhere[5, 5] = 0
            assert bool(elsewhere.max() > 0) is literal


@pytest.mark.real
@pytest.mark.parametrize("pair", released.PAIRS)
def test_with_the_released_weights_the_released_images_come_out(shared_data, pair):
    assert (shared_data / "fused" / "matr").is_dir()
    levels = released.differences(released.released_network(), pair)
    assert levels.max() <= 1
    assert levels.mean() < 0.05
    sound = released.differences(released.released_network(literal=False), pair)
    assert sound.max() > 1


@pytest.mark.real
def test_every_released_weight_has_its_place_but_those_never_applied(shared_data):
    weights = load_file(shared_data / "fused" / "matr" / "weights.safetensors")
    network, moments = released.released_network(), ("running", "tracked", "index")
    unused = sum(part.numel() for name, part in weights.items() if name.startswith(released.UNUSED))
    learned = sum(part.numel() for name, part in weights.items() if not any(word in name for word in moments))
    assert (learned, unused) == (PUBLISHED, NEVER_APPLIED)
    assert count(network) == learned - unused
    assert len(released.ours_of(weights, places=1)) == len(network.state_dict())


def test_one_pair_of_nearly_equal_sources_can_be_learned_by_heart():
    """Of equal sources the sum of both similarities can be 2."""
    torch.manual_seed(0)
    network = build_model(BLOCKS["matr_tiny"], modalities=2, outputs=1)
    image = torch.nn.functional.interpolate(drawn(1, 1, 8, 8), (48, 48), mode="bicubic").clamp(0, 1)
    images = torch.cat([image, 0.95 * image], dim=1)[..., None]
    presence, learner = everywhere(images), torch.optim.Adam(network.parameters(), lr=6e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(learner, lambda step: rate_factor(step, {"steps": 80, "warmup_steps": 0}))
    batch = Batch(images, images, presence, torch.zeros(1, 0, 48, 48, 1), torch.ones(1, 2), torch.ones(1, 3))
    objective = label_free_objective({"block": BLOCKS["matr_tiny"]})
    for _ in range(80):
        learner.zero_grad()
        objective(network, batch, progress=0.0, generator=torch.Generator())["loss"].backward()
        learner.step()
        rate.step()
    with torch.no_grad():
        fused = network.eval()(images, presence)
        parts = [similarity(fused, images[:, n : n + 1], presence[:, :1]).item() for n in (0, 1)]
    assert sum(parts) >= 1.9
