"""What holds for every block of config/models.yaml."""

from pathlib import Path

import pytest
import torch
import yaml

from diffufuse.models import build_model, is_slicewise

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
TRAINED = {name: block for name, block in BLOCKS.items() if "architecture" in block}
SEGMENTERS = {name: block for name, block in TRAINED.items() if block["task"] == "segment"}
QUICK = [name for name in SEGMENTERS if not name.endswith("_paper")]
M, C = 3, 2


def patch_of(network):
    size = max(16, *network.stride[:2])
    return size, size, 1 if network.dims == 2 else max(8, network.stride[2])


@pytest.fixture(params=QUICK)
def block(request):
    return BLOCKS[request.param]


@pytest.fixture
def network(block):
    torch.manual_seed(0)
    return build_model(block, modalities=M, outputs=C)


def batch(network, samples=2):
    generator = torch.Generator().manual_seed(1)
    shape = (samples, M, *(2 * size if axis < 2 else size for axis, size in enumerate(patch_of(network))))
    images = torch.randn(shape, generator=generator)
    return images, torch.rand(shape, generator=generator) > 0.2


def test_logits_have_one_channel_per_output_at_full_resolution(network):
    images, presence = batch(network)
    assert network(images, presence).shape == (2, C, *images.shape[2:])


def test_gradients_reach_every_parameter(network):
    images, presence = batch(network)
    presence[1, 1] = False
    if hasattr(network, "trace"):
        logits, trace = network.trace(images, presence, clean=images, generator=torch.Generator().manual_seed(0))
        logits = logits.square().mean() + sum(
            level.predicted.square().mean() for level in trace.levels if level.predicted is not None
        )
    else:
        logits = network(images, presence)
    logits.square().mean().backward()
    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not silent


def test_the_content_of_an_absent_modality_changes_nothing(network):
    network.eval()
    images, presence = batch(network)
    presence[:, 1] = False
    other = images.clone()
    other[:, 1] = 1e3
    assert torch.equal(network(images, presence), network(other, presence))


def test_absent_is_not_the_same_as_zero(network):
    network.eval()
    images, presence = batch(network)
    images[:, 1] = 0
    presence[:, 1] = True
    absent = presence.clone()
    absent[:, 1] = False
    assert not torch.allclose(network(images, presence), network(images, absent))


def test_nothing_present_is_finite(network):
    network.eval()
    images, presence = batch(network)
    assert network(images, torch.zeros_like(presence)).isfinite().all()


@pytest.mark.parametrize("name", TRAINED)
def test_the_training_patch_is_a_multiple_of_the_stride(name):
    with torch.device("meta"):
        built = build_model(BLOCKS[name], modalities=M, outputs=C)
    patch = BLOCKS[name]["training"]["patch"]
    assert all(size % step == 0 for size, step in zip(patch, built.stride, strict=True))
    assert is_slicewise(BLOCKS[name]) == (built.dims == 2)


def parameters(name, modalities, outputs):
    with torch.device("meta"):
        built = build_model(BLOCKS[name], modalities=modalities, outputs=outputs)
    return sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.parametrize("name", [name for name in SEGMENTERS if "_small" in name])
def test_small_models_have_a_million_parameters_for_three_modalities(name):
    assert parameters(name, 3, 1) == pytest.approx(1e6, rel=0.1)


@pytest.mark.parametrize(
    ("size", "leader", "follower"), [("tiny", 18e3, 57e3), ("small", 70e3, 0.91e6), ("paper", 0.53e6, 3.8e6)]
)
def test_leader_and_follower_are_as_large_as_the_guide_says(size, leader, follower):
    """In docs/method.md."""
    of_leader = parameters(f"fuse4seg_leader_{size}", 2, 1)
    assert of_leader == pytest.approx(leader, rel=0.03)
    assert parameters(f"fuse4seg_{size}", 2, 1) - of_leader == pytest.approx(follower, rel=0.03)


def updates(name):
    """How often the segmenter of a block learns; of a game, once a step at first, then K times."""
    training = BLOCKS[name]["training"]
    rounds = training["game"] if training["regimen"] == "bilevel" else {}
    warm_up = rounds.get("warm_up_steps", training["steps"])
    return warm_up + rounds.get("inner_steps", 1) * (training["steps"] - warm_up)


def follower(block):
    """The settings of the network that reads the fused image, or what stands in its place."""
    prefix = "follower_" if block["architecture"] == "fuse4seg" else ""
    return {key.removeprefix(prefix): value for key, value in block["settings"].items() if key.startswith(prefix)}


@pytest.mark.parametrize("size", ["tiny", "small", "paper"])
def test_every_follower_of_a_size_is_the_same_and_learns_alike(size):
    one = BLOCKS[f"convnext_unet_{size}"]
    same = {"fuse4seg", "convnext_unet"}
    names = [name for name in SEGMENTERS if f"_{size}" in name and BLOCKS[name].get("architecture") in same]
    assert len(names) == {"tiny": 3, "small": 26, "paper": 2}[size]
    differs = {"regimen", "steps", "validate_every", "ema", "game", "fusion_loss"}
    for name in names:
        block = BLOCKS[name]
        assert follower(block) == follower(one), name
        assert block["loss"] == one["loss"], name
        assert updates(name) == updates(f"convnext_unet_{size}"), name
        for key in set(one["training"]) - differs:
            assert block["training"][key] == one["training"][key], (name, key)
        # of a game, only the leader is averaged
        assert block["training"]["ema"] == 0 or block["training"]["regimen"] == "bilevel", name


@pytest.mark.parametrize(
    "name", [name for name in SEGMENTERS if name.endswith("_small") and "input" not in SEGMENTERS[name]]
)
def test_small_models_have_the_same_budget(name):
    first, other = BLOCKS["diffufusemed_small"]["training"], BLOCKS[name]["training"]
    same = {key for key in first if key not in ("batch", "patch")}
    assert {key: first[key] for key in same} == {key: other[key] for key in same}
    voxels = [block["batch"] * torch.tensor(block["patch"]).prod().item() for block in (first, other)]
    assert voxels[1] == pytest.approx(voxels[0], rel=0.05)


def test_the_paper_size_is_the_papers():
    assert parameters("diffufusemed_paper", 4, 3) == pytest.approx(32e6, rel=0.1)
