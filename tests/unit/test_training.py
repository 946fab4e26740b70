import math

import numpy as np
import pytest
import torch

from diffufuse.augmentation import augment
from diffufuse.batches import SliceSampler
from diffufuse.cases import Case, Cohort
from diffufuse.constants import split_sha256
from diffufuse.inference import predict, predict_case
from diffufuse.losses import dice_and_cross_entropy
from diffufuse.normalization import intensity_statistics
from diffufuse.plans import load_model, make_plan, network_of
from diffufuse.prepared import PreparedCase
from diffufuse.runs import train_run, write_run
from diffufuse.slices import index_slices, open_slices, write_slices
from diffufuse.tables import HISTORY, read_record, read_table
from diffufuse.training import rate_factor

SHAPE = (40, 36, 8)
MODALITIES = {
    "pet": {"kind": "pet", "normalization": {"method": "log"}},
    "t1": {"kind": "mr", "normalization": {"method": "zscore"}},
}
BLOCK = {
    "architecture": "unet2d",
    "settings": {"channels": [8, 16, 32], "residual_units": 0},
    "training": {
        "steps": 60,
        "batch": 6,
        "patch": [32, 32],
        "foreground_share": 0.5,
        "learning_rate": 5e-3,
        "weight_decay": 0.0,
        "warmup_steps": 5,
        "validate_every": 30,
    },
}


def bright_ball(folder, name, center):
    """A case whose tumor is simply where PET is bright."""
    draw = np.random.default_rng(center)
    place = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    ball = np.linalg.norm((place - [center, 18, 4]) * [1, 1, 2], axis=-1) < 6
    images = {
        "pet": (1 + 7 * ball + 0.2 * draw.random(SHAPE)).astype(np.float32),
        "t1": draw.normal(100, 20, SHAPE).astype(np.float32),
    }
    whole = np.ones(SHAPE, bool)
    path = folder / f"{name}.b2nd"
    digest = write_slices(
        path, images=images, presence=dict.fromkeys(images, whole), body=whole, labels=ball.astype(np.uint8)
    )
    statistics = {modality: intensity_statistics(image, whole) for modality, image in images.items()}
    return PreparedCase(name, open_slices(path, sha256=digest), statistics, np.diag([2.0, 2, 4, 1]))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    return {name: bright_ball(folder, name, center) for name, center in {"A": 12, "B": 20, "C": 28, "D": 16}.items()}


@pytest.fixture(scope="module")
def index(cases):
    stored = ((name, case.slices) for name, case in cases.items())
    return index_slices(stored, dataset="balls", regions={"mass": [1]})


def plan_with(**changes):
    cohort = Cohort(
        tuple(
            Case(name, name, fold, validates, "")
            for name, fold, validates in [("A", 1, None), ("B", 1, None), ("C", 1, 0), ("D", 0, None)]
        )
    )
    names = {"dataset": "balls", "model": "unet2d_test", "fold": 0, "seed": 0, "study_seed": 1} | changes
    constants = {"split_sha256": split_sha256(cohort.training(names["fold"])), "modalities": {}}
    settings = {"block": BLOCK, "modalities": MODALITIES, "constants": constants, "regions": {"mass": [1]}}
    return make_plan(cohort, **settings, **names)


def train(plan, cases, index):
    return train_run(plan, cases, index, follow=lambda step, values: None, started_unix_s=0.0)


@pytest.fixture(scope="module")
def run(cases, index):
    return train(plan_with(), cases, index)


def test_a_plan_trains_on_neither_test_nor_validation_cases():
    plan = plan_with()
    assert plan["training_cases"] == ["A", "B"]
    assert plan["validation_cases"] == ["C"]


def test_an_easy_tumor_is_learned(run, cases):
    mask = predict_case(run.network, cases["D"].scan, run.plan)["mass"]
    reference = cases["D"].slices.labels(slice(None)).transpose(1, 2, 0) == 1
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.8


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(run, cases, index):
    again, other = train(plan_with(), cases, index), train(plan_with(seed=1), cases, index)
    for name, weight in run.network.state_dict().items():
        assert torch.equal(weight, again.network.state_dict()[name]), name
    assert any(
        not torch.equal(weight, other.network.state_dict()[name]) for name, weight in run.network.state_dict().items()
    )


def test_a_written_run_predicts_the_same(run, cases, tmp_path):
    paths = {name: tmp_path / name for name in ("weights", "plan", "history", "record")}
    write_run(run, **paths)
    reloaded = load_model(read_record(paths["plan"]), paths["weights"])
    expected = predict_case(run.network, cases["D"].scan, run.plan)["mass"]
    assert np.array_equal(predict_case(reloaded, cases["D"].scan, run.plan)["mass"], expected)
    history = read_table(paths["history"], HISTORY)
    assert {"loss", "learning_rate", "validation_dice_mass"} <= set(history["quantity"])
    assert read_record(paths["record"])["parameters"] == sum(p.numel() for p in run.network.parameters())


def test_initial_weights_do_not_disturb_the_global_generator():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    network_of(plan_with())
    assert torch.equal(torch.rand(3), expected)


def test_half_of_a_batch_shows_the_region(cases, index):
    sampler = SliceSampler(cases, index, MODALITIES, {"mass": [1]}, (32, 32), 0.5)
    images, presence, reference = sampler.draw(8, np.random.default_rng(0))
    assert images.shape == presence.shape == (8, 2, 32, 32)
    assert reference.shape == (8, 1, 32, 32)
    assert (reference.sum(dim=(1, 2, 3)) > 0)[:4].all()


def test_a_patch_larger_than_the_slice_is_absent_around_it(cases, index):
    sampler = SliceSampler(cases, index, MODALITIES, {"mass": [1]}, (64, 64), 1.0)
    images, presence, reference = sampler.draw(4, np.random.default_rng(0))
    assert presence.sum(dim=(2, 3)).eq(40 * 36).all()
    assert not images[~presence].any()
    assert reference.sum(dim=(1, 2, 3)).gt(0).all()


def test_every_voxel_has_a_probability_where_windows_overlap_and_where_one_is_larger_than_the_slice(run, cases):
    for patch in ((16, 16), (32, 32), (64, 64)):
        probability = predict(run.network, cases["D"].scan, modalities=MODALITIES, patch=patch)[0]
        assert probability.shape == SHAPE
        assert ((probability >= 0) & (probability <= 1)).all()


def test_the_loss_is_zero_for_a_sure_and_right_answer_and_large_for_a_wrong_one():
    reference = torch.zeros(2, 1, 8, 8)
    reference[:, :, :4] = 1
    right, wrong = (dice_and_cross_entropy((reference * 2 - 1) * sign, reference)["loss"] for sign in (50, -50))
    assert right < 1e-3
    assert wrong > 10


def test_the_learning_rate_warms_up_and_ends_at_zero():
    settings = {"steps": 100, "warmup_steps": 10}
    factors = [rate_factor(step, settings) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == 1
    assert factors[100] == 0
    assert all(math.isfinite(factor) for factor in factors)


def test_augmentation_moves_reference_and_presence_with_the_image():
    images = torch.zeros(6, 2, 32, 32)
    images[:, :, 8:20, 10:22] = 5.0
    presence = torch.ones_like(images, dtype=torch.bool)
    presence[:, 1] = False
    reference = (images[:, :1] > 0).float()
    moved, present, target = augment(images, presence, reference, generator=torch.Generator().manual_seed(0))
    assert not present[:, 1].any()
    assert not moved[:, 1].any()
    bright = moved[:, :1] > 2.5
    assert ((bright == target.bool()).float().mean(dim=(1, 2, 3)) > 0.97).all()
    assert not torch.equal(target[0], target[1])
