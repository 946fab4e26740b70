"""Terms of restored images: known values, each on its own, and only where an image is present."""

import pytest
import torch

from diffufuse.models.fused import Restored
from diffufuse.train.batches import Batch
from diffufuse.train.restoration import TERMS, restoration_objective
from diffufuse.train.structural import similarity

SHAPE = (2, 2, 24, 20, 1)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def ramp(slope):
    return (slope * torch.arange(24.0))[None, None, :, None, None].expand(2, 1, 24, 20, 1)


def batch_of(images, presence=None):
    presence = torch.ones_like(images, dtype=torch.bool) if presence is None else presence
    quality, spacing = torch.ones(len(images), 2), torch.ones(len(images), 3)
    return Batch(images, images, presence, torch.zeros(len(images), 0, *images.shape[2:]), quality, spacing)


def restored(given, wanted, presence=None, **others):
    presence = torch.ones_like(wanted, dtype=torch.bool) if presence is None else presence
    return Restored(given, wanted, presence, **others)


def value(name, made, presence=None):
    return TERMS[name](made, batch_of(made.wanted, presence)).item()


def test_distances_are_means_over_both_images():
    wanted = drawn(*SHAPE)
    given = wanted + torch.tensor([0.1, -0.3])[None, :, None, None, None]
    assert value("absolute", restored(given, wanted)) == pytest.approx(0.2, rel=1e-5)
    assert value("squared", restored(given, wanted)) == pytest.approx((0.01 + 0.09) / 2, rel=1e-5)


def test_similarity_is_that_of_all_images_and_its_loss_is_0_for_the_same():
    wanted, given = drawn(*SHAPE), drawn(*SHAPE, seed=1)
    assert value("similarity", restored(wanted, wanted)) == pytest.approx(0, abs=1e-6)
    each = [
        1 - similarity(given[:, n : n + 1], wanted[:, n : n + 1], torch.ones(2, 1, *SHAPE[2:], dtype=torch.bool)).item()
        for n in (0, 1)
    ]
    assert value("similarity", restored(given, wanted)) == pytest.approx(sum(each) / 2, abs=1e-5)


def test_the_gradient_is_that_of_the_first_image_alone():
    wanted = torch.cat([ramp(0.03), ramp(0.01)], 1)
    given = torch.cat([ramp(0.02), drawn(2, 1, *SHAPE[2:])], 1)
    assert value("gradient", restored(given, wanted)) == pytest.approx(8 * 0.01, rel=1e-4)
    assert value("gradient", restored(torch.cat([ramp(0.03), given[:, 1:]], 1), wanted)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["squared", "absolute", "similarity", "gradient"])
def test_where_an_image_is_absent_nothing_is_compared(name):
    wanted, given = drawn(*SHAPE), drawn(*SHAPE, seed=1)
    presence = torch.ones(SHAPE, dtype=torch.bool)
    presence[0, :, 12:], presence[1, 0] = False, False
    other = torch.where(presence, given, 5.0)
    assert value(name, restored(given, wanted, presence), presence) > 0.01
    assert value(name, restored(given, wanted, presence), presence) == value(
        name, restored(other, wanted, presence), presence
    )
    nothing = torch.zeros_like(presence)
    assert value(name, restored(given, wanted, nothing), nothing) == 0


def test_decomposition_reads_the_features_and_a_network_without_is_refused():
    images, features = drawn(*SHAPE), torch.randn(2, 2, 3, 24, 20, generator=torch.Generator().manual_seed(2))
    alike = features[:, :1].expand(-1, 2, -1, -1, -1)
    apart, same = (restored(images, images, base=alike, detail=detail) for detail in (features, alike))
    assert value("decomposition", same) == pytest.approx(1 / 2.01, rel=1e-4)
    assert value("decomposition", apart) < 0.01
    with pytest.raises(ValueError, match="expected a network with base and detail features"):
        value("decomposition", restored(images, images))


def test_the_distance_of_noise_is_to_the_noise_that_was_there():
    images, there = drawn(*SHAPE), torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    presence = torch.ones(SHAPE, dtype=torch.bool)
    presence[1] = False
    seen = torch.where(presence, there + 0.25, 9.0)
    assert value("noise", restored(images, images, presence, noise=(seen, there)), presence) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="expected a network that predicts the noise"):
        value("noise", restored(images, images))


class Fading(torch.nn.Module):
    """Gives images back at a share of their gray levels."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.5))

    def restored(self, images, presence):
        return Restored(self.share * images, images, presence)


def test_the_objective_is_the_weighted_sum_of_the_named_terms():
    plan = {"block": {"training": {"restoration_loss": {"squared": 2.0, "absolute": 0.5}}}}
    network, batch = Fading(), batch_of(torch.full(SHAPE, 0.8))
    terms = restoration_objective(plan)(network, batch, progress=0.0, generator=torch.Generator())
    assert set(terms) == {"loss", "loss_squared", "loss_absolute"}
    assert terms["loss"].item() == pytest.approx(2 * 0.4**2 + 0.5 * 0.4)
    terms["loss"].backward()
    assert network.share.grad.item() == pytest.approx(2 * 2 * 0.4 * -0.8 + 0.5 * -0.8)
    assert not terms["loss_squared"].requires_grad
