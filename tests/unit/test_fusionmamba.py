"""FusionMamba: what its parts must do, and what its traps (docs/method.md) must not."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.models import build_model, is_slicewise
from diffufuse.models.fusionmamba.blocks import DynamicBlock
from diffufuse.models.fusionmamba.cross import CrossBlock, Enhancement
from diffufuse.models.fusionmamba.dynamic import ChannelAttention, DescriptiveConvolution
from diffufuse.models.fusionmamba.network import FusionMamba
from diffufuse.phantom.pairs import draw_pair, heat_of, structure_of
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_losses import gradient, maximum_squared, multiscale_dissimilarity
from diffufuse.train.fusion_objectives import label_free_objective
from diffufuse.train.structural import similarity

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config/models.yaml").read_text())["models"]
HALF_A_GRAY_LEVEL = 0.5 / 255
TINY = BLOCKS["fusionmamba_tiny"]["settings"]
PUBLISHED = {(2, 2, 9, 2): 225_419_541, (2, 2, 1, 2): 141_934_037}


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def network(**changes):
    torch.manual_seed(0)
    return FusionMamba(modalities=2, outputs=1, **(TINY | changes))


def trained(**changes):
    """As after training: the last layer is no longer 0."""
    built = network(**changes)
    torch.manual_seed(1)
    for parameter in built.head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def parameters_of(settings):
    with torch.device("meta"):
        built = FusionMamba(modalities=2, outputs=1, **settings)
    return sum(parameter.numel() for parameter in built.parameters())


def parts(built, kind):
    return [part for part in built.modules() if isinstance(part, kind)]


def without(built, kind, names):
    """The network with some parameters of all parts of a kind at zero."""
    for part in parts(built, kind):
        for name in names:
            part.get_parameter(name).data.zero_()
    return built


def changed_by(kind, names):
    images = drawn(1, 2, 32, 32, 1)
    with torch.no_grad():
        before, after = (built(images, everywhere(images)) for built in (trained(), without(trained(), kind, names)))
    return float((after - before).abs().max())


def loss_of(fused, images):
    """That of the release."""
    arguments = (fused, images, everywhere(images))
    return 10 * multiscale_dissimilarity(*arguments) + 10 * maximum_squared(*arguments) + gradient(*arguments)


class TestSizes:
    @pytest.mark.parametrize("blocks", PUBLISHED)
    def test_the_published_size_has_the_published_number_of_parameters(self, blocks):
        """The larger and the lighter of the release: blocks and cross blocks cannot both be wrong in both."""
        settings = BLOCKS["fusionmamba_paper"]["settings"] | {"blocks": blocks}
        assert parameters_of(settings) == pytest.approx(PUBLISHED[blocks], rel=0.01)

    def test_the_defaults_are_the_published_size(self):
        assert parameters_of({}) == parameters_of({"blocks": (2, 2, 9, 2), "widths": (96, 192, 384, 768)})

    def test_the_small_size_has_as_many_as_every_small_fuser(self):
        assert parameters_of(BLOCKS["fusionmamba_small"]["settings"]) == pytest.approx(69_957, rel=0.1)

    def test_the_tiny_size(self):
        assert 10_000 < parameters_of(TINY) < 20_000


class TestDescriptiveConvolution:
    def test_the_center_forgets_a_share_of_what_the_kernel_sums_to(self):
        layer = DescriptiveConvolution(1)
        layer.weight.data[:] = torch.arange(9.0).reshape(3, 3) / 10
        layer.mask.data[:] = 0.5
        kernel = layer.kernel()[0, 0].detach()
        assert kernel[1, 1] == pytest.approx(0.4 * (1 - 0.5 * 0.5 * 3.6))
        kernel[1, 1] = 0.4
        assert torch.equal(kernel, layer.weight[0, 0])

    def test_with_nothing_forgotten_it_is_a_convolution(self):
        torch.manual_seed(0)
        layer, features = DescriptiveConvolution(3), drawn(1, 3, 6, 5)
        plain = functional.conv2d(features, layer.weight, layer.bias, padding=1)
        assert (layer(features) - plain).abs().max() > 1e-3
        layer.strength.data.zero_()
        assert torch.allclose(layer(features), plain)

    def test_strength_and_mask_learn(self):
        torch.manual_seed(0)
        layer = DescriptiveConvolution(3)
        layer(drawn(1, 3, 6, 5)).square().sum().backward()
        assert layer.strength.grad.abs() > 0
        assert (layer.mask.grad.abs() > 0).all()


class TestChannelAttention:
    def test_a_channel_is_weighed_by_the_means_of_its_neighborhood(self):
        layer = ChannelAttention()
        layer.neighbors.weight.data[:] = torch.tensor([1.0, 10.0, 100.0])
        means = torch.tensor([0.01, 0.02, -0.01])
        features = means[None, :, None, None] + torch.tensor([[0.5, -0.5], [0.25, -0.25]])
        weights = torch.sigmoid(torch.tensor([0.1 + 2.0, 0.01 + 0.2 - 1.0, 0.02 - 0.1]))
        assert torch.allclose(layer(features), features * weights[None, :, None, None])


class TestCrossBlock:
    def test_equal_images_have_no_difference(self):
        torch.manual_seed(0)
        part, features = Enhancement(4), drawn(2, 4, 8, 8)
        quiet = part.difference(torch.zeros_like(features))
        assert torch.allclose(part(features, features), features + part.texture(features) + quiet)

    def test_a_difference_counts_more_where_the_other_image_is_brighter_on_the_whole(self):
        torch.manual_seed(0)
        part, own = Enhancement(1), torch.zeros(1, 1, 8, 8)
        part.difference.bias.data.zero_()
        dark, bright = (
            float((part(own, own + level) - part.texture(own))[0, 0, 4, 4].detach()) / level for level in (-3.0, 3.0)
        )
        assert bright / dark == pytest.approx(math.exp(3.0), rel=1e-4)

    def test_it_reads_both_images(self):
        torch.manual_seed(0)
        block, (first, second) = CrossBlock(4, states=4), drawn(2, 1, 4, 8, 8).requires_grad_()
        fused = block(first, second)
        (gradients,) = torch.autograd.grad(block.attention(block.scan(torch.cat([first, second], 1))).sum(), [first])
        assert fused.shape == first.shape
        assert gradients.abs().max() > 0
        assert not torch.allclose(fused, block(second, first), atol=1e-3)


class TestNetwork:
    def test_untrained_it_gives_the_mean_to_the_bit(self):
        images = drawn(2, 2, 24, 20, 1)
        assert torch.equal(network()(images, everywhere(images)), images.mean(dim=1, keepdim=True))

    def test_the_published_base_is_white_where_the_sources_add_up_to_half_of_white(self):
        images = drawn(1, 2, 16, 16, 1)
        fused = {base: network(base=base)(images, everywhere(images)) for base in ("mean", "twice_the_sum")}
        white = images.sum(dim=1, keepdim=True) >= 0.5
        assert white.float().mean() > 0.8
        assert torch.equal(fused["twice_the_sum"] == 1, white)
        assert fused["mean"].max() < 1

    @pytest.mark.parametrize("size", [(4, 4), (16, 12), (40, 64)])
    def test_an_image_of_any_multiple_of_the_stride_is_fused(self, size):
        built, images = trained(), drawn(2, 2, *size, 1)
        assert built.stride == (4, 4, 1)
        fused = built(images, everywhere(images))
        assert fused.shape == (2, 1, *size, 1)
        assert 0 <= fused.min() < fused.max() <= 1

    def test_images_of_a_batch_do_not_mix_and_exchanged_ones_give_another_image(self):
        built, images = trained(), drawn(3, 2, 16, 16, 1)
        together = built(images, everywhere(images))
        alone = torch.cat([built(images[n : n + 1], everywhere(images[:1])) for n in range(3)])
        assert torch.allclose(together, alone, atol=1e-5)
        assert (built(images.flip(1), everywhere(images)) - together).abs().max() > HALF_A_GRAY_LEVEL

    def test_an_absent_image_has_no_part(self):
        built, images = trained(), drawn(1, 2, 16, 16, 1)
        presence, other = everywhere(images), images.clone()
        presence[:, 1], other[:, 1] = False, 7.0
        twice = images[:, :1].expand(-1, 2, -1, -1, -1)
        fused = built(images, presence)
        assert torch.equal(fused, built(other, presence))
        assert torch.equal(fused, built(twice, everywhere(images)))

    def test_every_part_is_alive(self):
        """The gradient of the release's loss in each part, as a share of the whole."""
        built, images = trained(), drawn(2, 2, 32, 32, 1)
        loss_of(built.decomposed(images, everywhere(images)).fused, images).backward()
        gradients = {name: parameter.grad for name, parameter in built.named_parameters()}
        assert not [name for name, grad in gradients.items() if grad is None or not grad.any()]
        whole = sum(float(grad.square().sum()) for grad in gradients.values()) ** 0.5
        kinds = ("embeddings", "encoder", "decoder", "crossings", "texture", "difference", "scan", "local", "strength")
        for kind in kinds:
            part = sum(float(grad.square().sum()) for name, grad in gradients.items() if kind in name) ** 0.5
            assert part > (1e-5 if kind == "strength" else 1e-3) * whole, kind

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            (DescriptiveConvolution, ["strength"]),
            (Enhancement, ["texture.weight", "texture.bias"]),
            (Enhancement, ["difference.weight", "difference.bias"]),
            (CrossBlock, ["scan.result.weight"]),
            (DynamicBlock, ["scan.result.weight"]),
            (DynamicBlock, ["local.0.weight", "local.0.bias"]),
            (ChannelAttention, ["neighbors.weight"]),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else value[0],
    )
    def test_every_part_changes_the_image(self, kind, names):
        assert changed_by(kind, names) > HALF_A_GRAY_LEVEL

    def test_what_the_scans_remember_changes_the_image_from_the_start(self):
        """Little at first, as published: a pixel's own value counts for more than what its states keep of others."""
        assert changed_by((DynamicBlock, CrossBlock), ["scan.selection"]) > 0.05 / 255

    def test_the_cross_blocks_change_the_image_at_every_level(self):
        images = drawn(1, 2, 32, 32, 1)
        before = trained()(images, everywhere(images))
        for level in range(len(TINY["widths"])):
            built = trained()
            built.crossings[level].forward = lambda first, second: torch.zeros_like(first)
            assert (built(images, everywhere(images)) - before).abs().max() > HALF_A_GRAY_LEVEL

    def test_scans_alone_carry_information_across_the_image(self):
        """Means over the image are turned off, as they carry some too; then nothing is left without scans."""
        reach = {}
        for scanned in (True, False):
            built = without(trained(), ChannelAttention, ["neighbors.weight"])
            without(built, Enhancement, ["difference.weight"])
            if not scanned:
                without(built, (DynamicBlock, CrossBlock), ["scan.selection"])
            images = drawn(1, 2, 96, 96, 1).requires_grad_()
            built.decomposed(images, everywhere(images)).fused[0, 0, -4:, -4:].sum().backward()
            reach[scanned] = images.grad[0, :, :4, :4].abs().amax(dim=(1, 2, 3))
        assert (reach[True] > 0).all()
        assert reach[False].eq(0).all()

    def test_the_same_seed_gives_the_same_network_and_paths_are_dropped_in_training_alone(self):
        images = drawn(2, 2, 16, 16, 1)
        one, other = (trained(drop_path=0.5)(images, everywhere(images)) for _ in range(2))
        assert not torch.equal(one, trained(drop_path=0.0)(images, everywhere(images)))
        assert torch.equal(one, other)
        built = trained(drop_path=0.5)
        assert not torch.equal(built(images, everywhere(images)), built(images, everywhere(images)))
        assert torch.equal(built.eval()(images, everywhere(images)), trained(drop_path=0.0)(images, everywhere(images)))

    def test_it_is_built_from_its_block_pickled_and_counted_without_memory(self):
        block = BLOCKS["fusionmamba_small"]
        assert is_slicewise(block)
        built, images = build_model(block, modalities=2, outputs=1), drawn(1, 2, 64, 64, 1)
        again = pickle.loads(pickle.dumps(built))
        assert torch.equal(built(images, everywhere(images)), again(images, everywhere(images)))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            built.to("meta")(images.to("meta"), everywhere(images).to("meta"))
        assert counter.get_total_flops() > 1e7

    def test_mixed_precision_gives_nearly_the_same_image(self):
        built, images = trained(), drawn(1, 2, 32, 32, 1)
        with torch.autocast("cpu", torch.bfloat16):
            low = built(images, everywhere(images))
        assert torch.allclose(low.float(), built(images, everywhere(images)), atol=0.05)


def test_the_objective_of_its_blocks_is_the_loss_of_the_release():
    built, images = trained(), drawn(2, 2, 32, 32, 1)
    batch = Batch(images, images, everywhere(images), images[:, :0], torch.ones(2, 2), torch.ones(2, 3))
    for size in ("tiny", "small", "paper"):
        objective = label_free_objective({"block": BLOCKS[f"fusionmamba_{size}"]})
        told = objective(built, batch, progress=0.0, generator=torch.Generator())
        fused = built.decomposed(images, everywhere(images)).fused
        assert float(told["loss"].detach()) == pytest.approx(float(loss_of(fused, images).detach()), rel=1e-5)


def phantom_pairs(count, seed):
    """(pairs, 2, 96, 96, 1): structure with noise, and uptake."""
    draw = np.random.default_rng(seed)
    pairs = [
        (structure_of(one) + draw.normal(0, 0.01, (96, 96)), heat_of(one)) for one in map(draw_pair, [draw] * count)
    ]
    return torch.tensor(np.array(pairs), dtype=torch.float32).clamp(0, 1)[..., None]


def fitted(built, batches, *, steps, rate):
    optimizer = torch.optim.Adam(built.parameters(), lr=rate)
    for _, images in zip(range(steps), batches, strict=False):
        optimizer.zero_grad()
        loss_of(built.decomposed(images, everywhere(images)).fused, images).backward()
        optimizer.step()
    return built.eval()


def qabf(fused, images):
    planes = torch.cat([images, fused], dim=1)[..., 0].double().numpy()
    return float(np.mean([FUSION_METRICS["qabf"].of(Fusion(*three)) for three in planes]))


def test_it_learns_one_pair_of_equal_images_by_heart():
    """From an untrained last layer that is not 0: of equal images the network is otherwise perfect at once."""
    image = phantom_pairs(1, 0)[:, :1, 16:80, 16:80]
    images = image.expand(-1, 2, -1, -1, -1)

    def sum_of_similarities(built):
        with torch.no_grad():
            return 2 * float(similarity(built(images, everywhere(images)), image, everywhere(image)))

    built = trained()
    assert sum_of_similarities(built) < 0.5
    assert sum_of_similarities(fitted(built, [images] * 60, steps=60, rate=1e-2)) > 1.9


def test_after_forty_steps_it_has_more_edges_of_unseen_phantom_pairs_than_their_average():
    torch.manual_seed(0)
    pairs, unseen = phantom_pairs(16, 0), phantom_pairs(3, 1)
    draw = torch.Generator().manual_seed(0)

    def batches():
        while True:
            chosen, (x, y) = torch.randint(16, (4,), generator=draw), torch.randint(49, (2,), generator=draw)
            yield pairs[chosen, :, x : x + 48, y : y + 48]

    built = fitted(network(), batches(), steps=40, rate=5e-3)
    with torch.no_grad():
        assert qabf(built(unseen, everywhere(unseen)), unseen) > qabf(unseen.mean(dim=1, keepdim=True), unseen) + 0.05
