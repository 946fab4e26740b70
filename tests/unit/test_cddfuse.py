"""CDDFuse: its sizes, what it restores and what it fuses, and that no part of it is idle."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from diffufuse.models import build_model, is_slicewise
from diffufuse.models.cddfuse import CDDFuse
from diffufuse.models.layers.coupling import Coupling
from diffufuse.models.layers.restormer import DenseAttentionBlock
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_objectives import label_free_objective
from diffufuse.train.restoration import restoration_objective
from diffufuse.train.structural import similarity

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config/models.yaml").read_text())["models"]
SMALLEST = {"width": 8, "blocks": 1, "heads": 2, "nodes": 2}
HALF_A_GRAY_LEVEL = 0.5 / 255
# Of the release; the encoder with its branches. Our coupling nodes have biases, theirs have none but in the mixing.
PUBLISHED = {"encoder": 599_144, "decoder": 207_936, "base_fusion": 363_016, "detail_fusion": 18_176}
SIZES = ("small", "tiny")
PARTS = ("encoder", "base_branch", "detail_branch", "base_fusion", "detail_fusion", "decoder")


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def built(**changes):
    torch.manual_seed(0)
    return CDDFuse(modalities=2, outputs=1, **(SMALLEST | changes))


def shaken(module, spread=0.1):
    """As after training: nothing stays at a zero that hides an effect."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += spread * torch.randn_like(parameter)
    return module


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def batch_of(images):
    presence, spacing = everywhere(images), torch.ones(len(images), 3)
    return Batch(images, images, presence, torch.zeros(len(images), 0, *images.shape[2:]), torch.ones(2, 2), spacing)


def loss_of(objective, name, network, images):
    plan = {"block": BLOCKS[name]}
    return objective(plan)(network, batch_of(images), progress=0.0, generator=torch.Generator())["loss"]


class TestSize:
    def test_that_of_the_paper_is_the_published_one(self):
        with torch.device("meta"):
            network = build_model(BLOCKS["cddfuse_paper"], modalities=2, outputs=1)
        found = {name: count(getattr(network, name)) for name in PUBLISHED}
        found["encoder"] += count(network.base_branch) + count(network.detail_branch)
        assert found["decoder"] == PUBLISHED["decoder"]
        assert found["base_fusion"] == PUBLISHED["base_fusion"]
        assert sum(found.values()) == count(network) == pytest.approx(sum(PUBLISHED.values()), rel=0.002)
        biases = 4 * sum(part.numel() for name, part in network.detail_fusion.named_parameters() if "bias" in name)
        mixings = 4 * 64  # theirs have one each
        assert count(network) - biases + mixings == sum(PUBLISHED.values())

    def test_the_small_one_is_as_large_as_other_trained_fusers(self):
        sizes = {name: count(build_model(BLOCKS[f"cddfuse_{name}"], modalities=2, outputs=1)) for name in SIZES}
        assert 63_000 < sizes["small"] < 76_900
        assert 10_000 < sizes["tiny"] < 20_000


class TestFusing:
    def test_the_image_is_one_of_any_size_within_bounds(self):
        network = shaken(built())
        assert is_slicewise({"architecture": "cddfuse", "settings": {}})
        for size in ((16, 16), (21, 13), (5, 4)):
            images = drawn(2, 2, *size, 1)
            image = network(images, everywhere(images))
            assert image.shape == (2, 1, *size, 1)
            assert 0 <= image.min() < image.max() <= 1

    def test_features_are_of_one_image_each_and_exchanged_images_give_the_same(self):
        network, images = shaken(built()), drawn(1, 2, 16, 16, 1)
        other = images.clone()
        other[:, 1] = 1 - other[:, 1]
        one, two = (network.decomposed(each, everywhere(images)) for each in (images, other))
        for name in ("base", "detail"):
            before, after = getattr(one, name), getattr(two, name)
            assert before.shape == (1, 2, SMALLEST["width"], 16, 16)
            assert torch.allclose(before[:, 0], after[:, 0], atol=1e-5)
            assert not torch.allclose(before[:, 1], after[:, 1], atol=1e-2)
        exchanged = network(images.flip(1), everywhere(images))
        assert torch.allclose(network(images, everywhere(images)), exchanged, atol=1e-5)

    def test_the_decoder_knows_the_features_alone(self):
        """The form for infrared images adds one of them to what the decoder draws; that for medical ones does not."""
        network, images = shaken(built()), drawn(1, 2, 16, 16, 1)
        for part in (network.base_fusion, network.detail_fusion):
            part.register_forward_hook(lambda module, given, features: torch.zeros_like(features))
        assert torch.equal(network(images, everywhere(images)), network(1 - images, everywhere(images)))

    def test_images_of_a_batch_do_not_mix(self):
        network, images = shaken(built()), drawn(3, 2, 16, 16, 1)
        alone = torch.cat([network(images[n : n + 1], everywhere(images[:1])) for n in range(3)])
        assert torch.allclose(network(images, everywhere(images)), alone, atol=1e-5)

    def test_an_absent_image_changes_nothing(self):
        network, images = shaken(built()), drawn(2, 2, 16, 16, 1)
        presence, other = everywhere(images), images.clone()
        presence[0, 1], presence[1, :, 10:] = False, False
        other[~presence] = 1e3
        assert torch.equal(network(images, presence), network(other, presence))
        assert network(images, presence)[1, :, 10:].eq(0).all()

    @pytest.mark.parametrize("part", PARTS)
    def test_every_part_changes_the_image(self, part):
        network, images = shaken(built()), drawn(1, 2, 16, 16, 1)
        before = network(images, everywhere(images))
        for parameter in getattr(network, part).parameters():
            parameter.data.zero_()
        assert (network(images, everywhere(images)) - before).abs().max() > HALF_A_GRAY_LEVEL


class TestStages:
    def test_each_image_is_restored_from_itself(self):
        network, images = shaken(built()), drawn(2, 2, 16, 16, 1)
        presence, other = everywhere(images), images.clone()
        presence[0, 0, 9:] = False
        other[:, 1] = 1 - other[:, 1]
        made, changed = network.restored(images, presence), network.restored(other, presence)
        assert made.given.shape == images.shape
        assert torch.equal(made.wanted, torch.where(presence, images, 0.0))
        assert torch.allclose(made.given[1, 0], changed.given[1, 0], atol=1e-6)
        assert not torch.allclose(made.given[1, 1], changed.given[1, 1], atol=1e-3)

    def test_the_first_stage_has_all_weights_but_those_of_the_fusion_units(self):
        network = built()
        first, second = list(network.first_stage()), list(network.second_stage())
        assert len(second) == len(list(network.parameters()))
        fusing = [*network.base_fusion.parameters(), *network.detail_fusion.parameters()]
        assert {id(weight) for weight in second} - {id(weight) for weight in first} == {id(part) for part in fusing}

    @pytest.mark.parametrize(
        ("objective", "reached"),
        [(restoration_objective, [part for part in PARTS if "fusion" not in part]), (label_free_objective, PARTS)],
    )
    def test_the_loss_of_each_stage_reaches_its_weights_and_no_branch_is_dead(self, objective, reached):
        network, images = shaken(built(), 0.02), drawn(2, 2, 32, 32, 1)
        loss_of(objective, "cddfuse_tiny", network, images).backward()
        norms = {
            part: math.sqrt(
                sum(float(p.grad.square().sum()) for p in getattr(network, part).parameters() if p.grad is not None)
            )
            for part in PARTS
        }
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert {part for part, norm in norms.items() if norm > 1e-3 * total} == set(reached), norms
        stage = network.first_stage() if objective is restoration_objective else network.second_stage()
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in stage)

    def test_the_second_stage_begins_with_the_image_of_the_summed_features(self):
        network, images = built(), drawn(1, 2, 16, 16, 1)
        base, detail = network._features(images[..., 0])
        expected = network._decoded(base.sum(dim=1), detail.sum(dim=1))[..., None]
        assert torch.allclose(network(images, everywhere(images)), expected, atol=1e-6)


class TestUnits:
    @pytest.mark.parametrize("unit", [Coupling(8, nodes=2), DenseAttentionBlock(8, heads=2)])
    def test_one_that_changes_nothing_learns_from_there(self, unit):
        features = drawn(2, 8, 9, 7) - 0.5
        assert not torch.allclose(unit(features), features, atol=0.01)
        unit.change_nothing()
        assert torch.allclose(unit(features), features, atol=1e-6)
        learner = torch.optim.Adam(unit.parameters(), lr=1e-2)
        for _ in range(20):
            learner.zero_grad()
            (unit(features) - features.flip(1)).square().mean().backward()
            learner.step()
        assert all(weight.grad.abs().max() > 0 for weight in unit.parameters())
        assert (unit(features) - features).abs().max() > 0.05

    def test_dense_attention_mixes_all_channels_of_a_neighborhood(self):
        torch.manual_seed(0)
        block = DenseAttentionBlock(4, heads=2)
        assert block.attention.qkv_dwconv.conv.weight.shape == (12, 12, 3, 3)
        assert block.feed_forward.dwconv.conv.weight.shape == (8, 2, 3, 3)


def test_one_pair_of_nearly_equal_sources_can_be_learned_by_heart():
    """Of equal sources the sum of both similarities can be 2."""
    torch.manual_seed(0)
    network = build_model(BLOCKS["cddfuse_tiny"], modalities=2, outputs=1)
    image = torch.nn.functional.interpolate(drawn(1, 1, 8, 8), (32, 32), mode="bicubic").clamp(0, 1)
    images = torch.cat([image, 0.95 * image], dim=1)[..., None]
    batch, learner = batch_of(images), torch.optim.Adam(network.parameters(), lr=3e-3)
    objective = label_free_objective({"block": BLOCKS["cddfuse_tiny"]})
    for _ in range(150):
        learner.zero_grad()
        objective(network, batch, progress=0.0, generator=torch.Generator())["loss"].backward()
        learner.step()
    with torch.no_grad():
        fused, present = network(images, batch.presence), batch.presence[:, :1]
        parts = [similarity(fused, images[:, n : n + 1], present).item() for n in (0, 1)]
    assert sum(parts) >= 1.9
