"""Known misalignment, and the training that undoes it: directions, units, and that nothing else moves."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from diffufuse.errors import BadInput
from diffufuse.models.fused import Fused
from diffufuse.models.layers.warping import coarser, finer, inverse, moved
from diffufuse.plan.plans import network_of
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_losses import confusion, recognition
from diffufuse.train.history import UNITS, History
from diffufuse.train.loop import fabric_for_this_machine, fit
from diffufuse.train.regimens import REGIMENS
from diffufuse.train.registering import difference, endpoint_error, registering_objective, roughness
from diffufuse.train.warps import misaligned

WARP = {"degrees": 3.0, "translation_mm": 4.0, "bend_mm": 6.0}
STILL = {"degrees": 0.0, "translation_mm": 0.0, "bend_mm": 0.0}
NETWORK = {
    "width": 8,
    "layers": 1,
    "token_heads": 2,
    "token_feed_forward": 8,
    "dropout": 0.0,
    "encoder_width": 4,
    "shallow": 4,
    "fusion_widths": [8, 8, 4],
    "registration_widths": [8, 8, 4],
    "heads": 2,
    "feed_forward": 1.0,
}
TRAINING = {
    "regimen": "registering",
    "steps": 4,
    "batch": 2,
    "accumulate": 1,
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
    "warmup_steps": 1,
    "validate_every": 2,
    "ema": 0.5,
    "precision": "32-true",
    "patch": [16, 16, 1],
    "fusion_loss": {"maximum": 1.0, "recognition": 0.5, "confusion": 0.5},
    "registration_loss": {"endpoint": 2.0, "smoothness": 1.0, "registered": 1.0},
    "warp": WARP,
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(count, side, seed=0):
    """Random images in 0..1 of some pixels' smoothness."""
    images = torch.rand(count, 1, side + 8, side + 8, generator=generator(seed))
    for width in (5, 5, 3):
        images = avg_pool2d(images, width, 1, width // 2)
    images = images[..., 4:-4, 4:-4]
    lowest, highest = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return (images - lowest) / (highest - lowest)


def batch_of(count=4, side=48, *, spacing_mm=1.0, seed=0):
    """Pairs of images that show the same, bright where the other is dark."""
    first = smooth(count, side, seed)
    images = torch.cat([first, 0.9 * (1 - first)], dim=1)[..., None]
    presence, spacing = torch.ones_like(images, dtype=torch.bool), torch.full((count, 3), spacing_mm)
    return Batch(images, images, presence, torch.zeros(count, 0, side, side, 1), torch.ones(count, 2), spacing)


def constant(x, y, side=8):
    return torch.tensor([x, y], dtype=torch.float32)[None, :, None, None].expand(1, 2, side, side).clone()


def inner(values, margin=8):
    return values[..., margin:-margin, margin:-margin]


class TestMoving:
    def test_a_field_says_where_a_value_comes_from(self):
        image = torch.arange(64.0).reshape(1, 1, 8, 8)
        assert torch.allclose(moved(image, constant(1, 0))[..., :-1, :], image[..., 1:, :], atol=1e-4)
        assert torch.allclose(moved(image, constant(0, -2))[..., 2:], image[..., :-2], atol=1e-4)
        assert torch.allclose(moved(image, constant(0.5, 0))[..., :-1, :], image[..., :-1, :] + 4, atol=1e-4)
        assert torch.allclose(moved(image, constant(0, 0)), image, atol=1e-4)

    def test_beyond_the_image_is_its_border_or_nothing(self):
        image = torch.arange(64.0).reshape(1, 1, 8, 8) + 1
        assert torch.allclose(moved(image, constant(3, 0))[..., 5:, :], image[..., 7:, :].expand(1, 1, 3, 8), atol=1e-4)
        assert moved(image, constant(3, 0), outside="zeros")[..., 5:, :].abs().max() < 1e-4

    def test_the_inverse_brings_an_image_back(self):
        seen = misaligned(batch_of(), WARP, generator=generator())
        away = inverse(seen.back)
        assert away.abs().max() > 3
        returned = moved(away, seen.back) + seen.back  # where a pixel comes from that came back
        assert inner(returned, 12).abs().max() < 0.01
        assert torch.allclose(inverse(constant(2, -1)), constant(-2, 1), atol=1e-5)

    def test_a_field_on_another_grid_is_in_its_pixels(self):
        slope = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))[None]
        assert torch.allclose(inner(coarser(finer(slope), 2), 1), inner(slope, 1), atol=1e-5)
        assert torch.allclose(finer(constant(1, 2)), constant(2, 4, side=16))
        assert torch.allclose(coarser(constant(8, 4), 4), constant(2, 1, side=2))

    def test_half_precision_can_tell_the_pixels_of_a_large_image_apart(self):
        image = torch.rand(1, 1, 400, 400, generator=generator())
        near = moved(image.bfloat16(), constant(1, 0, side=400).bfloat16())
        assert near.dtype == torch.bfloat16
        assert torch.allclose(near.float()[..., :-1, :], image[..., 1:, :], atol=0.01)


class TestMisaligned:
    def test_the_known_field_undoes_the_displacement(self):
        batch = batch_of()
        seen = misaligned(batch, WARP, generator=generator())
        before = (seen.batch.images[:, 1:, ..., 0] - batch.images[:, 1:, ..., 0]).abs()
        after = (moved(seen.batch.images[:, 1:, ..., 0], seen.back) - batch.images[:, 1:, ..., 0]).abs()
        assert inner(before).mean() > 0.05
        assert inner(after).mean() < 0.1 * inner(before).mean()
        assert torch.equal(seen.batch.images[:, 0], batch.images[:, 0])
        assert torch.equal(seen.batch.presence[:, 0], batch.presence[:, 0])

    def test_what_came_from_beyond_the_image_is_absent(self):
        seen = misaligned(batch_of(), {**STILL, "translation_mm": 6.0}, generator=generator(1))
        absent = ~seen.batch.presence[:, 1]
        assert absent.any()
        assert seen.batch.images[:, 1][absent].eq(0).all()
        margin = seen.back.abs().ceil().amax().int().item()
        assert not inner(absent[..., 0], margin).any()

    def test_displacements_are_in_millimeters_and_fields_in_pixels(self):
        shift = {**STILL, "translation_mm": 4.0}
        fine, coarse = (misaligned(batch_of(spacing_mm=mm), shift, generator=generator()).back for mm in (1.0, 2.0))
        assert torch.allclose(fine, 2 * coarse, atol=1e-5)
        assert 1 < fine.abs().max() <= 4

    def test_each_sample_has_its_own_and_a_generator_gives_the_same_again(self):
        first, again, other = (misaligned(batch_of(), WARP, generator=generator(seed)).back for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.allclose(first, other, atol=0.1)
        assert not torch.allclose(first[0], first[1], atol=0.1)

    def test_without_a_displacement_nothing_moves(self):
        batch = batch_of()
        seen = misaligned(batch, STILL, generator=generator())
        assert torch.allclose(seen.batch.images, batch.images, atol=1e-4)
        assert seen.batch.presence.all()
        assert seen.back.abs().max() < 1e-6


class TestTerms:
    def test_the_error_is_a_distance_in_pixels_where_both_images_are(self):
        batch = batch_of()
        seen = misaligned(batch, STILL, generator=generator())
        three_four = torch.tensor([3.0, 4.0])[None, :, None, None].expand_as(seen.back)
        assert endpoint_error(three_four, seen).item() == pytest.approx(5, rel=1e-4)
        presence = batch.presence.clone()
        presence[:, 1, :24] = False
        half = replace(seen, batch=replace(seen.batch, presence=presence))
        wrong = torch.where(presence[:, 1:, ..., 0], 0.0, 99.0).expand_as(seen.back)
        assert endpoint_error(wrong, half).item() == pytest.approx(0, abs=1e-3)

    def test_a_field_that_is_the_same_everywhere_is_smooth(self):
        assert roughness(constant(3, 1)).item() == 0
        slope = torch.arange(8.0)[None, None, :, None].expand(1, 2, 8, 8)
        assert roughness(0.5 * slope).item() == pytest.approx(0.25)

    def test_the_known_field_registers_and_none_does_not(self):
        batch = batch_of()
        seen = misaligned(batch, WARP, generator=generator())
        known, none = (difference(flow, batch, seen).item() for flow in (seen.back, torch.zeros_like(seen.back)))
        assert known < 0.1 * none

    def test_a_guess_at_the_modality_costs_log_2_and_a_sample_without_one_of_them_nothing(self):
        presence = torch.ones(2, 2, 4, 4, 1, dtype=torch.bool)
        presence[1, 0] = False
        sure = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]], [[-9.0, 9.0], [9.0, -9.0]]])
        assert recognition(sure, presence).item() == pytest.approx(0, abs=1e-6)
        assert recognition(-sure, presence).item() == pytest.approx(18, rel=1e-4)
        assert confusion(sure, presence).item() == pytest.approx(9, rel=1e-4)
        for term in (recognition, confusion):
            assert term(torch.zeros(2, 2, 2), presence).item() == pytest.approx(0.6931, abs=1e-4)


def plan_with(aligned=False, **training):
    block = {"architecture": "bsafusion", "settings": NETWORK | {"aligned": aligned}, "output": "image"}
    modalities = [{"name": name, "kind": "picture", "normalization": {"method": "display"}} for name in ("a", "b")]
    names = {"dataset": "d", "model": "m", "fold": 0, "seed": 0, "study_seed": 1, "regions": []}
    return names | {"modalities": modalities, "block": block | {"training": TRAINING | training}}


class Drawing:
    """A sampler of the same pairs."""

    def draw(self, size, generator):
        return batch_of(size, 16, seed=int(generator.integers(3)))


def regimen_of(plan):
    fabric = fabric_for_this_machine("32-true")
    kind = REGIMENS[plan["block"]["training"]["regimen"]]
    return kind(network_of(plan), plan, Drawing(), lambda network: {}, seed=3, fabric=fabric)


def fitted(plan, folder):
    history = History(lambda step, values: None)
    settings = {"device": torch.device("cpu"), "history": history, "title": "Train m", "identity": "this"}
    where = {"checkpoints": folder / "checkpoints"}
    trained = fit(regimen_of(plan), settings=plan["block"]["training"], seed=3, **settings, **where)
    return trained, {name: value for step, name, value, _ in history.rows if step == TRAINING["steps"]}


class TestTraining:
    def test_the_curves_tell_how_far_the_images_were_apart_and_are(self, tmp_path):
        _, curves = fitted(plan_with(), tmp_path)
        weights = {"endpoint": 2.0, "smoothness": 1.0, "registered": 1.0, "maximum": 1.0}
        weights |= {"recognition": 0.5, "confusion": 0.5}
        assert curves["loss"] == pytest.approx(sum(w * curves[f"loss_{name}"] for name, w in weights.items()), rel=1e-4)
        assert curves["registration_error"] == curves["loss_endpoint"]
        assert 0.5 < curves["warp_size"] < 8
        assert UNITS["registration_error"] == UNITS["warp_size"] == "pixel"

    def test_the_same_seed_gives_the_same_network(self, tmp_path):
        first, again = (fitted(plan_with(), tmp_path / str(number))[0].state_dict() for number in range(2))
        assert all(torch.equal(weight, again[name]) for name, weight in first.items())

    def test_the_fused_image_is_held_to_the_pair_as_it_was(self):
        batch, plan = batch_of(), plan_with(fusion_loss={"maximum": 1.0}, registration_loss={"endpoint": 0.0})

        class Perfect(torch.nn.Module):
            def decomposed(self, images, presence):
                return Fused(batch.images.amax(dim=1, keepdim=True), flow=torch.zeros(4, 2, 48, 48))

        terms = registering_objective(plan)(Perfect(), batch, progress=0.0, generator=generator())
        assert terms["loss"].item() == 0
        assert terms["registration_error"] == terms["warp_size"] > 1

    def test_a_network_that_does_not_register_is_refused(self):
        with pytest.raises(BadInput, match=r"models.m.training.regimen: expected a network that registers"):
            regimen_of(plan_with(aligned=True))
        with pytest.raises(ValueError, match="without a field"):
            objective, network = registering_objective(plan_with()), network_of(plan_with(aligned=True))
            objective(network, batch_of(side=16), progress=0.0, generator=generator())

    def test_an_aligned_network_learns_label_free_with_the_same_terms(self, tmp_path):
        _, curves = fitted(plan_with(aligned=True, regimen="label_free"), tmp_path)
        assert {"loss_maximum", "loss_recognition", "loss_confusion"} <= set(curves)
        assert "registration_error" not in curves
