import numpy as np
import pytest
import torch

from diffufuse.plan.plans import network_of
from diffufuse.predict.sampling import predict_sampled
from diffufuse.store.scan import Scan

PLAN = {
    "study_seed": 1,
    "dataset": "d",
    "model": "m",
    "fold": 0,
    "seed": 0,
    "modalities": [{"name": name, "kind": "mr", "normalization": {"method": "zscore"}} for name in ("t1", "t2")],
    "regions": [{"name": "mass", "labels": [1]}],
    "block": {
        "architecture": "diffufusemed",
        "settings": {"widths": [8, 16, 16], "windows": [0], "latest": [500], "head_width": 8, "diffusion": "renoise"},
        "output": "regions",
        "training": {"patch": [16, 16, 1]},
    },
}
DRAWN = {"spacing_mm": (2.0, 2.0, 3.0), "names": ("d", "A", "clean")}


@pytest.fixture
def network():
    made = network_of(PLAN).eval()
    with torch.no_grad():  # an untrained model meets no noise that it would answer with noise
        for energy in made.clean_energy:
            energy.fill_(-5.0)
    return made


@pytest.fixture
def scan():
    images = np.random.default_rng(0).normal(100, 20, (2, 20, 18, 3)).astype(np.float32)
    return Scan(images, np.ones(images.shape, bool), np.ones(images.shape[1:], bool))


def test_samples_differ_are_repeatable_and_their_mean_is_a_probability(network, scan):
    mean, volumes_ml = predict_sampled(network, scan, PLAN, samples=4, **DRAWN)
    again, volumes_again_ml = predict_sampled(network, scan, PLAN, samples=4, **DRAWN)
    assert len(volumes_ml["mass"]) == 4
    assert volumes_ml == volumes_again_ml
    assert (mean["mass"] == again["mass"]).all()
    assert ((mean["mass"] >= 0) & (mean["mass"] <= 1)).all()
    one, _ = predict_sampled(network, scan, PLAN, samples=1, **DRAWN)
    assert not np.allclose(one["mass"], mean["mass"], atol=1e-6)


def test_another_case_draws_other_noise(network, scan):
    first, _ = predict_sampled(network, scan, PLAN, samples=2, **DRAWN)
    other, _ = predict_sampled(network, scan, PLAN, samples=2, **{**DRAWN, "names": ("d", "B", "clean")})
    assert not np.array_equal(first["mass"], other["mass"])


def test_one_sample_is_the_plain_prediction_and_has_no_volumes(network, scan):
    _, volumes_ml = predict_sampled(network, scan, PLAN, samples=1, **DRAWN)
    assert volumes_ml == {"mass": []}


def test_a_network_that_draws_no_noise_gives_no_samples(scan):
    plan = {**PLAN, "block": {**PLAN["block"], "architecture": "multi_encoder", "settings": {"widths": [8, 16]}}}
    with pytest.raises(ValueError, match="draws no noise"):
        predict_sampled(network_of(plan).eval(), scan, plan, samples=3, **DRAWN)
