"""BSAFusion: what its parts must do, and what its traps (docs/method.md) must not."""

import math
import pickle

import pytest
import torch
import yaml
from test_registering import NETWORK, batch_of, generator, inner

from diffufuse.models import build_model
from diffufuse.models.bsafusion.network import BSAFusion
from diffufuse.models.bsafusion.registration import Registration, fits
from diffufuse.models.bsafusion.representation import Representation
from diffufuse.models.layers.warping import moved
from diffufuse.train.fusion_losses import confusion, recognition
from diffufuse.train.registering import endpoint_error, registering_objective
from diffufuse.train.structural import similarity
from diffufuse.train.warps import misaligned

SMALL = 69_957  # parameters of the leader of Fuse4Seg at that size
PUBLISHED = 10_028_296


def network(**changes):
    torch.manual_seed(0)
    return BSAFusion(modalities=2, outputs=1, **(NETWORK | changes))


def shaken(module, spread=0.1):
    """As after training: nothing stays at a zero that hides an effect."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += spread * torch.randn_like(parameter)
    return module


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def size(module, *, trained=False):
    return sum(part.numel() for part in module.parameters() if part.requires_grad or not trained)


def of_catalog(root, name):
    block = yaml.safe_load((root / "config" / "models.yaml").read_text())["models"][name]
    with torch.device("meta"):
        return build_model(block, modalities=2, outputs=1)


class TestSizes:
    def test_the_published_size(self, root):
        built = of_catalog(root, "bsafusion_paper")
        assert size(built) == pytest.approx(PUBLISHED, rel=0.01)
        assert size(built.encoder) == pytest.approx(24_470, rel=0.06)
        assert size(built.registration) == pytest.approx(4.24e6, rel=0.06)
        assert size(built.fusion) == pytest.approx(1.94e6, rel=0.06)
        assert built.stride == (16, 16, 1)
        frozen = built.representation.discriminator
        assert size(built) - size(built, trained=True) == size(frozen) == size(built.representation.classifier)

    @pytest.mark.parametrize("name", ["bsafusion_small", "bsafusion_small_aligned"])
    def test_small_is_as_large_as_any_fuser_of_its_size_in_both_forms(self, root, name):
        assert size(of_catalog(root, name)) == pytest.approx(SMALL, rel=0.1)

    @pytest.mark.parametrize("name", ["bsafusion_tiny", "bsafusion_tiny_aligned"])
    def test_tiny_is_a_third_of_it(self, root, name):
        assert size(of_catalog(root, name)) == pytest.approx(SMALL / 3, rel=0.3)


def representation(*, layers=1):
    torch.manual_seed(0)
    sizes = {"patch": 4, "heads": 2, "feed_forward": 8, "dropout": 0.0}
    return Representation(3, 8, layers=layers, **sizes)


class TestRepresentation:
    def test_the_class_token_is_dropped_and_every_patch_stays_in_its_place(self):
        built, maps = representation(layers=0).eval(), drawn(2, 1, 3, 16, 20)
        built.positions.weight.data.zero_()
        alike = built(*maps)
        assert alike.first.shape == (1, 8, 4, 5)
        expected = built.patches(maps[0]) + built.positions.bias[:, None, None] + built.classifier.token[:, None, None]
        assert torch.allclose(alike.first, expected, atol=1e-5)

    def test_each_image_is_told_of_the_others_modality(self):
        built, maps = shaken(representation()).eval(), drawn(2, 1, 3, 16, 16)
        one, other = built(*maps), built(maps[0], drawn(1, 3, 16, 16, seed=5))
        assert not torch.allclose(one.first, other.first, atol=1e-4)

    def test_the_modality_is_told_in_training_alone(self):
        built, maps = representation(), drawn(2, 3, 3, 16, 16)
        assert built(*maps).told.shape == built(*maps).hidden.shape == (3, 2, 2)
        assert built.eval()(*maps).told is None

    def test_the_classifier_learns_to_tell_and_the_transfer_to_hide_and_the_discriminator_nothing(self):
        built, maps = shaken(representation()), drawn(2, 3, 3, 16, 16)
        presence = torch.ones(3, 2, 16, 16, 1, dtype=torch.bool)

        def moved_by(loss):
            built.zero_grad()
            loss.backward()
            return {name.split(".")[0] for name, part in built.named_parameters() if part.grad is not None}

        assert moved_by(recognition(built(*maps).told, presence)) == {"patches", "positions", "classifier"}
        assert moved_by(confusion(built(*maps).hidden, presence)) == {"patches", "positions", "classifier", "transfers"}

    def test_the_discriminator_is_a_running_mean_of_the_classifier_in_training(self):
        built, maps = representation(), drawn(2, 1, 3, 16, 16)
        before = built.discriminator.head[1].weight.clone()
        built.classifier.head[1].weight.data += 1
        built.eval()(*maps)
        assert torch.equal(built.discriminator.head[1].weight, before)
        built.train()(*maps)
        assert torch.allclose(built.discriminator.head[1].weight, before + 0.01, atol=1e-6)
        for _ in range(600):
            built._follow()
        assert torch.allclose(built.discriminator.head[1].weight, built.classifier.head[1].weight, atol=0.01)


def registration(**changes):
    torch.manual_seed(0)
    return Registration([8, 8, 4], **({"reach": 1, "heads": 2, "feed_forward": 1.0} | changes))


class TestRegistration:
    def test_what_fits_best_is_found_in_the_direction_in_which_it_lies(self):
        there = torch.randn(1, 8, 12, 12, generator=generator())
        for shift in ((0, 0), (1, 0), (0, -1), (-1, 1)):
            here = there.roll((-shift[0], -shift[1]), dims=(2, 3))  # the like of x is at x + shift
            found = inner(fits(here, there, 1), 2).mean(dim=(0, 2, 3))
            assert found.argmax().item() == (shift[0] + 1) * 3 + shift[1] + 1
            assert found.max() > 0.9

    def test_what_is_the_same_all_over_a_map_does_not_count(self):
        maps = torch.randn(1, 8, 12, 12, generator=generator())
        assert torch.allclose(fits(maps, maps, 1), fits(maps + 5, maps - 3, 1), atol=1e-4)

    def test_untrained_both_images_lie_as_they_should(self):
        maps = torch.randn(2, 1, 8, 4, 4, generator=generator())
        assert registration()(*maps).eq(0).all()

    @pytest.mark.parametrize(("level", "pixels"), [(0, 4), (1, 2), (2, 1)])
    def test_a_step_is_a_place_of_its_own_grid_and_what_is_found_from_behind_counts_the_other_way(self, level, pixels):
        maps = torch.randn(2, 1, 8, 4, 4, generator=generator())
        forth, back = registration(), registration()
        forth.forth[level].displacement.bias.data[0] = back.back[level].displacement.bias.data[1] = 99.0
        forth, back = forth(*maps), back(*maps)
        assert forth.shape == (1, 2, 16, 16)
        assert torch.allclose(forth[:, 0], torch.full((1, 16, 16), float(pixels)), atol=1e-4)
        assert torch.allclose(back[:, 1], torch.full((1, 16, 16), -float(pixels)), atol=1e-4)
        assert forth[:, 1].eq(0).all()

    def test_the_field_is_bounded_whatever_the_weights(self):
        field = shaken(registration(), 99.0)(*torch.randn(2, 1, 8, 4, 4, generator=generator()))
        assert 1 < field.abs().max() <= 2 * (4 + 2 + 1)

    def test_later_steps_see_the_second_map_as_the_field_so_far_has_moved_it(self):
        built, seen = registration(), []
        maps = torch.randn(2, 1, 8, 4, 4, generator=generator())
        built.forth[0].displacement.bias.data[0] = 99.0
        built.forth[1].register_forward_pre_hook(lambda module, maps: seen.append(maps[1]))
        built(*maps)
        still = registration()
        still.forth[1].register_forward_pre_hook(lambda module, maps: seen.append(maps[1]))
        still(*maps)
        assert torch.allclose(
            seen[0], moved(seen[1], 2 * torch.eye(2)[:1, :, None, None].expand(1, 2, 8, 8)), atol=1e-4
        )


class TestNetwork:
    def test_slices_of_any_multiple_of_the_stride_are_fused_within_bounds(self):
        built = shaken(network()).eval()
        assert built.stride == (4, 4, 1)
        for sides in ((8, 12), (36, 20)):
            images = drawn(2, 2, *sides, 1)
            made = built.decomposed(images, everywhere(images))
            assert made.fused.shape == (2, 1, *sides, 1)
            assert made.flow.shape == (2, 2, *sides)
            assert 0 <= made.fused.min() < made.fused.max() <= 1

    def test_aligned_there_is_no_registration_and_no_field(self):
        built = network(aligned=True)
        assert built.registration is None
        assert built.decomposed(drawn(1, 2, 16, 16, 1), everywhere(drawn(1, 2, 16, 16, 1))).flow is None

    def test_one_image_in_place_of_both_is_not_moved(self):
        built, images = shaken(network()).eval(), drawn(2, 2, 16, 16, 1)
        presence = everywhere(images)
        presence[0, 1] = False
        made = built.decomposed(images, presence)
        assert made.flow[0].eq(0).all()
        assert made.flow[1].abs().max() > 0.1
        other = images.clone()
        other[0, 1] = 0.7
        assert torch.equal(built(images, presence), built(other, presence))

    def test_the_second_image_is_fused_as_the_field_moves_it(self):
        built, images = shaken(network()).eval(), batch_of(1, 32).images
        still = built.decomposed(images, everywhere(images)).fused
        for step in (*built.registration.forth, *built.registration.back):
            step.displacement.weight.data.zero_()
            step.displacement.bias.data.zero_()
        assert (built.decomposed(images, everywhere(images)).fused - still).abs().max() > 1e-3

    def test_every_part_has_a_share_in_the_gradient(self):
        built, batch = shaken(network(), 0.02), batch_of(2, 32)
        training = {
            "warp": {"degrees": 3.0, "translation_mm": 3.0, "bend_mm": 3.0},
            "fusion_loss": {"similarity": 2.0, "maximum": 0.5, "gradient": 1.0, "recognition": 1.0, "confusion": 1.0},
            "registration_loss": {"endpoint": 1.0, "smoothness": 1.0, "registered": 1.0},
        }
        objective = registering_objective({"block": {"training": training}})
        objective(built, batch, progress=0.0, generator=generator())["loss"].backward()
        silent = [name for name, part in built.named_parameters() if part.requires_grad and not part.grad.abs().max()]
        assert not silent
        parts = {
            "encoder": built.encoder,
            "classifier": built.representation.classifier,
            "transfers": built.representation.transfers,
            "forth": built.registration.forth,
            "back": built.registration.back,
            "fusion": built.fusion,
        }
        norms = {
            name: math.sqrt(sum(float(p.grad.square().sum()) for p in part.parameters()))
            for name, part in parts.items()
        }
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert all(norm > 1e-3 * total for norm in norms.values()), norms

    def test_it_is_pickled_and_runs_on_the_meta_device(self):
        built = pickle.loads(pickle.dumps(network()))
        images = torch.rand(1, 2, 16, 16, 1, device="meta")
        assert built.to("meta").eval()(images, everywhere(images)).shape == (1, 1, 16, 16, 1)

    def test_levels_that_do_not_fit_are_refused(self):
        with pytest.raises(ValueError, match="expected 8 channels at the first"):
            network(registration_widths=[8, 4])
        assert network(aligned=True, registration_widths=[1]).registration is None


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learned(built, steps, rate, objective, batch_at):
    learner = torch.optim.AdamW([part for part in built.parameters() if part.requires_grad], lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(learner, rate, total_steps=steps, pct_start=0.1)
    warps = generator(1)
    for step in range(steps):
        learner.zero_grad()
        objective(built.train(), batch_at(step), progress=step / steps, generator=warps)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(built.parameters(), 1.0)
        learner.step()
        schedule.step()
    return built.eval()


@pytest.mark.usefixtures("one_thread")
class TestLearning:
    def test_known_displacements_are_recovered_and_the_fused_image_gains(self):
        warp = {"degrees": 0.0, "translation_mm": 3.0, "bend_mm": 1.0}
        training = {"warp": warp, "fusion_loss": {"maximum": 1.0}, "registration_loss": {"endpoint": 1.0}}
        objective = registering_objective({"block": {"training": training}})
        built = learned(network(), 90, 5e-3, objective, lambda step: batch_of(8, 32, seed=step))
        unseen = batch_of(16, 32, seed=1000)
        seen = misaligned(unseen, warp, generator=generator(2))
        with torch.no_grad():
            made = built.decomposed(seen.batch.images, seen.batch.presence)
            still = built.decomposed(unseen.images, unseen.presence)
            apart = endpoint_error(torch.zeros_like(seen.back), seen)
            for step in (*built.registration.forth, *built.registration.back):
                step.displacement.weight.zero_()
                step.displacement.bias.zero_()
            unmoved = built.decomposed(seen.batch.images, seen.batch.presence)
        error = endpoint_error(made.flow, seen)
        assert apart > 2
        assert error < 0.6 * apart, (error, apart)
        assert still.flow.square().sum(dim=1).sqrt().mean() < 0.3 * apart
        brightest = unseen.images.amax(dim=1, keepdim=True)
        distances = [(inner(one.fused[..., 0] - brightest[..., 0], 4)).abs().mean() for one in (made, unmoved)]
        assert distances[0] < 0.95 * distances[1], distances

    def test_one_pair_is_learned_by_heart(self):
        built = network(aligned=True)
        batch = batch_of(1, 32)
        images = torch.cat([batch.images[:, :1], 0.9 * batch.images[:, :1] + 0.05], dim=1)

        def objective(built, batch, **others):
            fused = built.decomposed(images, everywhere(images)).fused
            return {"loss": 2 - similarity_sum(fused, images)}

        built = learned(built, 120, 1e-2, objective, lambda step: batch)
        with torch.no_grad():
            reached = similarity_sum(built(images, everywhere(images)), images)
        assert reached > 1.9, reached


def similarity_sum(fused, images):
    parts = [similarity(fused, one, everywhere(one)) for one in images.split(1, dim=1)]
    return sum(parts)
