"""Fuse4Seg: what its parts must do, and what its traps (docs/method.md) must not."""

import math

import pytest
import torch

from diffufuse.models import build_model, is_slicewise, needs_clean_images
from diffufuse.models.fuse4seg.detail import details_of
from diffufuse.models.fuse4seg.haar import squeezed
from diffufuse.models.fuse4seg.head import MARGIN, gray_levels, stretched
from diffufuse.models.fuse4seg.leader import Fuse4SegLeader
from diffufuse.models.fuse4seg.network import Fuse4Seg
from diffufuse.models.layers.coupling import Coupling, CouplingNode, Mixing
from diffufuse.models.layers.restormer import AttentionBlock
from diffufuse.models.present import mean_of_present

HALF_A_GRAY_LEVEL = 0.5 / 255
LEADER = {"width": 8, "blocks": 1, "heads": 2, "nodes": 2}
FOLLOWER = {"follower_widths": [8, 16], "follower_blocks": 1, "follower_layers": 1, "follower_heads": 2}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def shaken(module, spread=0.1):
    """As after training: nothing stays at a zero that hides an effect."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += spread * torch.randn_like(parameter)
    return module


def leader(modalities=2, **changes):
    torch.manual_seed(0)
    return Fuse4SegLeader(modalities=modalities, outputs=1, **(LEADER | changes))


def network(modalities=2, **changes):
    torch.manual_seed(0)
    settings = {f"leader_{key}": value for key, value in LEADER.items()} | FOLLOWER | changes
    return Fuse4Seg(modalities=modalities, outputs=1, **settings)


class TestCoupling:
    @pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
    def test_features_come_back_with_random_and_with_large_weights(self, spread):
        torch.manual_seed(0)
        coupling, features = shaken(Coupling(8, nodes=3).double(), spread), drawn(2, 8, 6, 5).double() - 0.5
        coupled = coupling(features)
        assert (coupled - features).abs().max() > 0.1
        error = (coupling.inverse(coupled) - features).abs().max()
        assert error < 1e-6 * (1 + coupled.abs().max())

    def test_nothing_overflows_whatever_the_weights(self):
        torch.manual_seed(0)
        node = CouplingNode(8)
        for parameter in node.scale_first.parameters():
            parameter.data *= 1e4
        features = 100 * drawn(1, 8, 6, 6)
        coupled = node(features)
        assert coupled.isfinite().all()
        scales = torch.exp(node._log_scale(coupled.chunk(2, dim=1)[1]))
        assert 1 / math.e - 1e-6 <= scales.min() < scales.max() <= math.e + 1e-6

    def test_mixing_is_a_rotation_and_so_is_an_average_of_two(self):
        torch.manual_seed(0)
        one, other = Mixing(6), Mixing(6)
        one.generator.data = (one.generator.data + other.generator.data) / 2
        assert torch.allclose(one.rotation() @ one.rotation().T, torch.eye(6), atol=1e-5)
        assert not torch.allclose(one.rotation(), torch.eye(6), atol=0.1)

    def test_both_halves_are_changed_by_each_other(self):
        torch.manual_seed(0)
        node = CouplingNode(4)
        features = drawn(1, 4, 5, 5).requires_grad_()
        for channel in range(4):
            (gradient,) = torch.autograd.grad(node(features)[0, channel].sum(), features)
            assert (gradient.abs().amax(dim=(0, 2, 3)) > 1e-6).all(), channel


class TestHaar:
    @pytest.mark.parametrize("levels", [0, 1, 2])
    def test_it_is_orthonormal(self, levels):
        images = drawn(2, 3, 8, 12)
        bands = squeezed(images, levels=levels)
        assert bands.shape == (2, 3 * 4**levels, 8 // 2**levels, 12 // 2**levels)
        assert torch.allclose(bands.square().sum(), images.square().sum())

    def test_the_bands_are_mean_and_differences(self):
        bands = squeezed(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]), levels=1)
        assert bands.flatten().tolist() == [6.0, -3.0, -2.0, 1.0]


class TestDetails:
    def test_they_are_what_smoothing_takes_away_finest_first(self):
        images, levels = drawn(2, 2, 16, 24), 2
        details = details_of(images, everywhere(images), levels=levels).unflatten(1, (levels, 2))
        assert details.shape == (2, levels, 2, 16, 24)
        smooth = images - details.sum(dim=1)
        assert (details.std(dim=(3, 4))[:, 0] > details.std(dim=(3, 4))[:, 1]).all()
        assert (smooth.diff(dim=2).abs().mean() < 0.25 * images.diff(dim=2).abs().mean()).all()

    def test_neither_a_level_nor_a_border_of_presence_is_a_detail(self):
        images = torch.full((1, 1, 16, 16), 0.8)
        presence = drawn(*images.shape) > 0.4
        presence[..., :5, :] = False
        details = details_of(torch.where(presence, images, 0.0), presence, levels=2)
        assert details.abs().max() < 1e-6


class TestHead:
    def test_the_mean_is_over_the_present_modalities(self):
        images = torch.tensor([0.2, 0.6, 1.0]).reshape(1, 3, 1, 1)
        present = torch.tensor([True, True, False]).reshape(1, 3, 1, 1)
        assert mean_of_present(images, present).item() == pytest.approx(0.4)
        assert mean_of_present(images, ~present).item() == pytest.approx(1.0)
        assert mean_of_present(images, torch.zeros_like(present)).item() == 0

    def test_without_a_correction_the_image_is_the_mean_far_below_half_a_gray_level(self):
        mean = torch.linspace(0, 1, 1001).reshape(1, 1, 1, -1)
        image = gray_levels(mean, torch.zeros_like(mean), everywhere(mean), head="sigmoid")
        assert (image - mean).abs().max() < 0.01 * HALF_A_GRAY_LEVEL

    def test_black_stays_black_whatever_the_correction(self):
        mean = torch.zeros(1, 1, 2, 2)
        image = gray_levels(mean, torch.full_like(mean, 1e6), everywhere(mean), head="sigmoid")
        assert image.max() < 0.5 * HALF_A_GRAY_LEVEL
        assert image.min() > 0

    def test_a_correction_can_lift_one_source_to_the_maximum_and_lower_it_again(self):
        mean = torch.full((1, 1, 1, 2), 0.5)
        image = gray_levels(mean, torch.tensor([[[[9.0, -9.0]]]]), everywhere(mean), head="sigmoid")
        assert image[0, 0, 0, 0] > 0.95
        assert image[0, 0, 0, 1] < 0.05

    def test_min_max_lifts_black_where_the_sigmoid_does_not(self):
        mean = torch.zeros(1, 1, 8, 8)
        mean[..., 2:6, 2:6] = 0.5
        correction = torch.zeros_like(mean)
        correction[..., 3, 3] = -1.0
        heads = {name: gray_levels(mean, correction, everywhere(mean), head=name) for name in ("minmax", "sigmoid")}
        assert heads["minmax"][0, 0, 0, 0] == pytest.approx(0.5)
        assert heads["sigmoid"][0, 0, 0, 0] < HALF_A_GRAY_LEVEL

    def test_min_max_is_per_image_takes_a_constant_one_and_ignores_what_is_outside(self):
        images = drawn(3, 1, 4, 4)
        images[1] = 0.3
        alone = torch.cat([stretched(images[n : n + 1], everywhere(images[:1])) for n in range(3)])
        assert torch.equal(stretched(images, everywhere(images)), alone)
        assert alone[1].eq(0).all()
        assert alone[0].min() == 0
        assert alone[0].max() == pytest.approx(1.0)
        inside = everywhere(images)
        inside[:, :, 2:] = False
        padded = torch.where(inside, images, 99.0)
        assert torch.allclose(stretched(padded, inside)[:, :, :2], stretched(images[:, :, :2], inside[:, :, :2]))

    def test_no_gradient_flows_through_the_extremes_of_min_max(self):
        images = drawn(1, 1, 4, 4).requires_grad_()
        stretched(images, everywhere(images)).sum().backward()
        assert torch.allclose(images.grad, images.grad[0, 0, 0, 0].expand_as(images.grad))
        constant = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
        stretched(constant, everywhere(constant)).sum().backward()
        assert constant.grad.isfinite().all()


class TestLeader:
    @pytest.mark.parametrize("levels", [0, 1, 2])
    @pytest.mark.parametrize("head", ["sigmoid", "minmax"])
    @pytest.mark.parametrize("modalities", [1, 2, 3])
    def test_the_untrained_leader_gives_the_image_of_stage_1_to_the_bit(self, modalities, head, levels):
        built, images = leader(modalities, head=head, haar_levels=levels), drawn(2, modalities, 16, 12, 1)
        presence = drawn(*images.shape, seed=1) > 0.3
        image = built(images, presence)
        assert torch.equal(image, built.prior(images, presence))
        assert image.shape == (2, 1, 16, 12, 1)
        if head == "sigmoid":
            mean = mean_of_present(images, presence)
            assert (image - mean).abs().max() <= 2 * MARGIN

    @pytest.mark.parametrize("head", ["sigmoid", "minmax"])
    def test_one_step_of_learning_makes_it_another_image_within_bounds(self, head):
        built, images = leader(head=head), drawn(2, 2, 16, 16, 1)
        optimizer = torch.optim.Adam(built.parameters(), lr=1e-2)
        for _ in range(5):
            optimizer.zero_grad()
            (built(images, everywhere(images)) - images.amax(dim=1, keepdim=True)).square().mean().backward()
            optimizer.step()
        image = built(images, everywhere(images))
        assert (image - built.prior(images, everywhere(images))).abs().max() > 0.01
        assert 0 <= image.min() < image.max() <= 1 + 1e-6

    def test_an_absent_modality_changes_nothing_and_its_features_are_zero(self):
        built, images = shaken(leader(haar_levels=1)), drawn(2, 2, 16, 16, 1)
        presence, other = everywhere(images), images.clone()
        presence[0, 1] = False
        other[0, 1] = 1e3
        found, same = built.decomposed(images, presence), built.decomposed(other, presence)
        assert torch.equal(found.fused, same.fused)
        assert found.base[0, 1].eq(0).all()
        assert found.detail[0, 1].eq(0).all()
        assert not found.base[1, 1].eq(0).all()
        presence[0, 0] = False
        assert built(images, presence)[0].eq(0).all()

    def test_a_black_background_stays_black(self):
        built, images = shaken(leader(haar_levels=2), 0.5), torch.zeros(1, 2, 32, 32, 1)
        images[:, :, 8:24, 8:24] = drawn(1, 2, 16, 16, 1)
        image = built(images, everywhere(images))
        black = images.eq(0).all(dim=1, keepdim=True)
        assert image[black].max() < HALF_A_GRAY_LEVEL
        assert (image - built.prior(images, everywhere(images))).abs().max() > 0.05

    def test_images_of_a_batch_do_not_mix(self):
        built, images = shaken(leader(head="minmax")), drawn(3, 2, 16, 16, 1)
        alone = torch.cat([built(images[n : n + 1], everywhere(images[:1])) for n in range(3)])
        assert torch.allclose(built(images, everywhere(images)), alone, atol=1e-5)

    def test_exchanged_modalities_give_another_image(self):
        built, images = shaken(leader()), drawn(1, 2, 16, 16, 1)
        exchanged = built(images.flip(1), everywhere(images))
        assert not torch.allclose(built(images, everywhere(images)), exchanged, atol=1e-4)
        built.modality.data[:] = 0
        exchanged = built(images.flip(1), everywhere(images))
        assert torch.allclose(built(images, everywhere(images)), exchanged, atol=1e-5)

    def test_features_are_of_one_modality_each(self):
        built, images = shaken(leader(haar_levels=1)), drawn(1, 2, 16, 16, 1)
        other = images.clone()
        other[:, 1] = 1 - other[:, 1]
        one, two = (built.decomposed(each, everywhere(images)) for each in (images, other))
        for name in ("base", "detail"):
            before, after = getattr(one, name), getattr(two, name)
            assert before.shape == (1, 2, LEADER["width"], 8, 8)
            assert torch.allclose(before[:, 0], after[:, 0], atol=1e-5)
            assert not torch.allclose(before[:, 1], after[:, 1], atol=1e-2)

    @pytest.mark.parametrize("part", ["base_branch", "base_fusion", "detail_branch", "detail_fusion", "decoder"])
    def test_every_part_changes_the_image(self, part):
        built, images = shaken(leader()), drawn(1, 2, 16, 16, 1)
        before = built(images, everywhere(images))
        for parameter in getattr(built, part).parameters():
            parameter.data.zero_()
        assert (built(images, everywhere(images)) - before).abs().max() > HALF_A_GRAY_LEVEL

    def test_an_image_of_any_multiple_of_the_stride_is_fused(self):
        built = leader(haar_levels=2)
        assert built.stride == (4, 4, 1)
        for size in ((4, 4), (20, 12)):
            images = drawn(1, 2, *size, 1)
            assert built(images, everywhere(images)).shape == (1, 1, *size, 1)

    def test_a_level_that_is_constant_over_the_image_is_seen(self):
        torch.manual_seed(0)
        block = AttentionBlock(4, heads=2, feed_forward=2.0)
        levels = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.2, -0.7, 0.1, 1.0]])[:, :, None, None].expand(2, 4, 8, 8)
        change = (block(levels) - levels)[:, :, 3, 3]
        assert (change.abs().amax(dim=1) > 0.01).all()
        assert not torch.allclose(change[0], change[1], atol=0.01)


class TestFuse4Seg:
    def test_the_follower_reads_the_fused_image_alone(self):
        built, images = shaken(network()), drawn(2, 2, 16, 16, 1)
        presence = everywhere(images)
        presence[:, 1, :, :4] = False
        presence[:, :, 12:] = False
        fused = built.fuse(images, presence)
        logits = built.follower(fused, presence.any(dim=1, keepdim=True))
        assert torch.equal(built(images, presence), logits)
        assert logits.shape == (2, 1, 16, 16, 1)

    def test_before_stage_2_the_follower_answers_as_on_the_mean(self):
        built, images = network(), drawn(2, 2, 16, 16, 1)
        for parameter in built.follower.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        presence = drawn(*images.shape, seed=2) > 0.3
        prior = built.prior(images, presence)
        assert torch.equal(built(images, presence), built.follower(prior, presence.any(dim=1, keepdim=True)))

    def test_gradients_of_the_task_reach_every_parameter_of_the_leader_and_no_branch_is_dead(self):
        built, images = shaken(network(haar_levels=1), 0.02), drawn(2, 2, 32, 32, 1)
        built.follower.requires_grad_(False)
        built(images, everywhere(images)).square().mean().backward()
        silent = [name for name, p in built.leader.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
        assert not silent
        parts = ("base_branch", "detail_branch", "base_fusion", "detail_fusion", "encoder", "decoder")
        norms = {
            part: math.sqrt(sum(float(p.grad.square().sum()) for p in getattr(built.leader, part).parameters()))
            for part in parts
        }
        total = math.sqrt(sum(norm**2 for norm in norms.values()))
        assert all(norm > 1e-3 * total for norm in norms.values()), norms
        assert all(p.grad is None for p in built.follower.parameters())

    def test_it_is_built_from_a_block_for_any_number_of_modalities(self):
        block = {"architecture": "fuse4seg", "settings": FOLLOWER | {"leader_width": 8, "leader_heads": 2}}
        assert is_slicewise(block)
        assert not needs_clean_images(block)
        assert not needs_clean_images({"architecture": "fuse4seg_leader", "settings": {}})
        for modalities in (1, 3):
            built, images = build_model(block, modalities=modalities, outputs=2), drawn(1, modalities, 16, 16, 1)
            assert built(images, everywhere(images)).shape == (1, 2, 16, 16, 1)

    def test_mixed_precision_keeps_gray_levels_in_single_floats(self):
        built, images = shaken(network()), drawn(1, 2, 16, 16, 1)
        with torch.autocast("cpu", torch.bfloat16):
            low = built.fuse(images, everywhere(images))
        assert low.dtype == torch.float32
        assert torch.allclose(low, built.fuse(images, everywhere(images)), atol=0.05)


def test_flat_sources_give_a_flat_image_whatever_the_weights():
    """Whatever the leader adds there would be a pattern of its own grid."""
    torch.manual_seed(3)
    leader = Fuse4SegLeader(modalities=2, outputs=1, width=8, blocks=1, heads=2, nodes=1, haar_levels=2)
    for parameter in leader.correction[-1].parameters():
        torch.nn.init.normal_(parameter)
    images = torch.tensor([0.3, 0.7]).reshape(1, 2, 1, 1, 1).expand(1, 2, 96, 96, 1)
    fused = leader(images, torch.ones_like(images, dtype=torch.bool))[0, 0, 32:64, 32:64, 0]
    assert fused.std() < 1e-4
    assert (fused.mean() - 0.5).abs() > 1e-3


def test_the_image_has_no_steps_at_the_grid_of_the_haar_transform():
    """A correction in whole cells of 4 x 4 pixels would step at every fourth border and nowhere else."""
    built, images = shaken(leader(haar_levels=2), 0.3), drawn(1, 2, 16, 16, 1)
    images = torch.nn.functional.interpolate(images[..., 0], size=(128, 128), mode="bicubic").clamp(0.2, 0.8)[..., None]
    change = built(images, everywhere(images)) - built.prior(images, everywhere(images))
    steps = change[0, 0, ..., 0].diff(dim=0).abs()[3:].mean(dim=1)
    assert change.std() > 0.01
    assert steps[::4].mean() < 1.3 * steps.mean()
