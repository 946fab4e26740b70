"""One patient under many conditions, sharing what they leave as it is."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from shared_sweep import Remembering, Shared, sweep
from torch import nn

from diffufuse.conditions.apply import apply_condition
from diffufuse.errors import BadInput
from diffufuse.plan.plans import network_of, plan_modalities
from diffufuse.predict.inference import predict_case
from diffufuse.store.scan import Scan

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}}
GAIN = {"corruption": "gain", "after": "normalization", "settings": {"change": 0.5}}
CONDITIONS = [
    ("clean", {}),
    *((name, {"present": name.split("-")}) for name in ("pet", "ct", "t1", "pet-ct", "pet-t1", "ct-t1")),
    ("noise", NOISE),
    ("noise", {**NOISE, "present": ["ct", "t1"]}),
    ("noise-pet", {**NOISE, "modalities": ["pet"]}),
    ("gain", GAIN),
    ("none", {"present": []}),
]
MODELS = ["diffufusemed_tiny", "multi_encoder_tiny", "unet2d_tiny"]
HOW = {"spacing_mm": (2.0, 2.0, 3.0), "study_seed": 1, "names": ("phantom", "PH-001")}


def plan_of(model, **settings):
    block = BLOCKS[model]
    block = {**block, "settings": {**block["settings"], **settings}, "training": {**block["training"]}}
    block["training"]["patch"] = [16, 16, 1]
    methods = {"pet": {"method": "log"}, "ct": {"method": "window", "low": -1, "high": 3}, "t1": {"method": "zscore"}}
    kinds = {"pet": "pet", "ct": "ct", "t1": "mr"}
    return {
        "dataset": "phantom",
        "model": model,
        "fold": 0,
        "seed": 0,
        "study_seed": 1,
        "block": block,
        "modalities": [{"name": n, "kind": kinds[n], "normalization": methods[n]} for n in kinds],
        "regions": [{"name": "mass", "labels": [1]}, {"name": "edema", "labels": [2]}],
    }


def trained(plan):
    """A network in which nothing is at its neutral start, or parts of it would be without effect."""
    network, draw = network_of(plan), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in [*network.parameters(), *network.buffers()]:
            part += 0.1 * torch.rand(part.shape, generator=draw)
    return network.eval()


@pytest.fixture(scope="module")
def scan():
    draw = np.random.default_rng(0)
    images = draw.gamma(2.0, 1.0, (3, 24, 20, 5)).astype(np.float32)
    presence = np.ones(images.shape, bool)
    presence[2, :5] = False
    return Scan(images * presence, presence, np.ones(images.shape[1:], bool))


def one_by_one(network, scan, plan, conditions):
    for name, condition in conditions:
        how = {**HOW, "names": (*HOW["names"], name), "modalities": plan_modalities(plan)}
        later = partial(apply_condition, condition=condition, **how, after="normalization")
        yield name, predict_case(network, apply_condition(scan, condition, **how), plan, after_normalization=later)


def largest_difference(network, scan, plan, conditions, **settings):
    found = list(sweep(network, scan, plan, conditions, **HOW, **settings))
    expected = list(one_by_one(network, scan, plan, conditions))
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert all(mine.keys() == other.keys() for (_, mine), (_, other) in zip(found, expected, strict=True))
    return [
        max(np.abs(mine[region] - other[region]).max() for region in other)
        for (_, mine), (_, other) in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize("model", MODELS)
def test_says_what_predictions_one_by_one_say(model, scan):
    plan = plan_of(model)
    assert max(largest_difference(trained(plan), scan, plan, CONDITIONS)) <= 2e-6


@pytest.mark.parametrize("model", MODELS)
def test_says_it_to_the_bit_where_every_modality_is_there(model, scan):
    plan = plan_of(model)
    everything = [each for each in CONDITIONS if "present" not in each[1]]
    assert len(everything) == 4
    assert max(largest_difference(trained(plan), scan, plan, everything * 2)) == 0


def test_conditions_do_differ(scan):
    plan = plan_of("diffufusemed_tiny")
    answers = [said["mass"] for _, said in sweep(trained(plan), scan, plan, CONDITIONS, **HOW)]
    assert all(np.abs(answers[a] - answers[b]).max() > 1e-3 for a in range(len(answers)) for b in range(a))


@pytest.mark.parametrize("settings", [{"diffusion": "renoise"}, {"diffusion": "off"}, {"gates": "uniform"}])
def test_holds_for_every_kind_of_the_method(settings, scan):
    plan = plan_of("diffufusemed_tiny", **settings)
    assert max(largest_difference(trained(plan), scan, plan, CONDITIONS)) <= 2e-6


def test_a_patient_who_lacks_a_modality_is_the_same_as_one_by_one(scan):
    plan, presence = plan_of("diffufusemed_tiny"), scan.presence.copy()
    presence[1] = False
    lacking = Scan(scan.images * presence, presence, scan.body)
    conditions = [each for each in CONDITIONS if each[0] not in ("noise", "gain")]
    assert max(largest_difference(trained(plan), lacking, plan, conditions)) <= 2e-6


def test_without_memory_the_answer_is_the_same(scan):
    plan = plan_of("multi_encoder_tiny")
    assert max(largest_difference(trained(plan), scan, plan, CONDITIONS, memory_mb=0.0)) <= 2e-6


class Counting(nn.Module):
    """An encoder that counts the windows it looks at."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.seen = encoder, []

    def forward(self, windows):
        self.seen.append(len(windows))
        return self.encoder(windows)

    def __deepcopy__(self, memo):
        return self


def windows_encoded(scan, conditions, **settings):
    plan = plan_of("diffufusemed_tiny")
    network = trained(plan)
    network.encoders = nn.ModuleList(Counting(encoder) for encoder in network.encoders)
    list(sweep(network, scan, plan, conditions, **HOW, **settings))
    return [sum(encoder.seen) for encoder in network.encoders]


def test_an_encoder_looks_once_at_what_no_condition_touches(scan):
    once = windows_encoded(scan, CONDITIONS[:1])
    assert once == [once[0]] * 3
    assert windows_encoded(scan, CONDITIONS[:1] * 3) == once
    assert windows_encoded(scan, [("clean", {}), ("noise-pet", {**NOISE, "modalities": ["pet"]})]) == [
        2 * once[0],
        once[1],
        once[2],
    ]


def test_an_encoder_of_an_absent_modality_does_not_look(scan):
    assert windows_encoded(scan, [("no-pet", {"absent": ["pet"]})])[0] == 0


def test_noise_of_one_name_is_encoded_once_and_then_forgotten(scan):
    once = windows_encoded(scan, CONDITIONS[:1])[0]
    noisy = [("noise", {**NOISE, "present": present}) for present in (["pet"], ["pet", "ct"], ["pet", "t1"])]
    assert windows_encoded(scan, noisy)[0] == once
    assert windows_encoded(scan, [*noisy, ("other", NOISE), *noisy])[0] == 3 * once


def test_without_memory_an_encoder_looks_every_time(scan):
    once = windows_encoded(scan, CONDITIONS[:1])[0]
    assert windows_encoded(scan, CONDITIONS[:1] * 3, memory_mb=0.0) == [3 * once] * 3


def test_features_that_are_kept_never_exceed_the_limit():
    encoder = Remembering(Counting(lambda windows: [windows.clone()]), limit_bytes=1000)
    for number in range(5):
        encoder(torch.full((1, 100), float(number)))
    assert encoder.kept_bytes() == 800


def test_windows_of_equal_bytes_and_another_shape_are_others():
    encoder = Remembering(Counting(lambda windows: [windows.clone()]), limit_bytes=10**6)
    assert [encoder(torch.zeros(shape))[0].shape for shape in ((2, 3), (3, 2))] == [(2, 3), (3, 2)]


def test_the_network_stays_as_it_is(scan):
    plan = plan_of("diffufusemed_tiny")
    network = trained(plan)
    before, modules = {k: v.clone() for k, v in network.state_dict().items()}, list(network.modules())
    answers = sweep(network, scan, plan, CONDITIONS, **HOW)
    _, first = next(answers)
    assert list(network.modules()) == modules
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    with torch.no_grad():
        network.decoder.head.bias += 1
    _, again = next(sweep(network, scan, plan, CONDITIONS, **HOW))
    assert (again["mass"] > first["mass"]).any()


def test_modalities_are_left_out_only_where_the_network_encodes_them_apart():
    there = np.array([True, False, True])
    kept = {model: Shared(network_of(plan_of(model)), memory_mb=1).kept(there) for model in MODELS}
    assert kept == {"diffufusemed_tiny": [0, 2], "multi_encoder_tiny": [0, 2], "unet2d_tiny": [0, 1, 2]}


def test_a_corruption_that_applies_to_nothing_is_refused(scan):
    plan = plan_of("multi_encoder_tiny")
    with pytest.raises(BadInput, match="applies to none"):
        list(sweep(trained(plan), scan, plan, [("noise", {**NOISE, "modalities": ["us"]})], **HOW))
