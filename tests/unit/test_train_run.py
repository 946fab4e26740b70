import dataclasses
import math

import numpy as np
import pytest
import torch

from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.plan.constants import split_sha256
from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import load_model, make_plan, network_of
from diffufuse.predict.inference import predict, predict_case
from diffufuse.store.case import PreparedCase
from diffufuse.store.index import index_slices
from diffufuse.store.normalization import intensity_statistics
from diffufuse.store.slices import open_slices, write_slices
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.train.augmentation import augment
from diffufuse.train.batches import Batch, PatchSampler
from diffufuse.train.history import HISTORY
from diffufuse.train.player import rate_factor
from diffufuse.train.run import train_run, write_run

SHAPE = (40, 36, 8)
MODALITIES = {
    "pet": {"kind": "pet", "normalization": {"method": "log"}},
    "t1": {"kind": "mr", "normalization": {"method": "zscore"}},
}
CONDITIONS = {
    "gauss-0.5": {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.5}},
    "poisson": {"corruption": "poisson_noise", "kinds": ["pet"], "settings": {"noise_sd": 0.3}},
}
BLOCK = {
    "architecture": "unet2d",
    "settings": {"channels": [8, 16, 32], "groups": 4},
    "output": "regions",
    "training": {
        "regimen": "supervised",
        "steps": 60,
        "batch": 6,
        "accumulate": 1,
        "patch": [32, 32, 1],
        "foreground_share": 0.5,
        "learning_rate": 5e-3,
        "weight_decay": 0.0,
        "warmup_steps": 5,
        "validate_every": 30,
        "ema": 0.9,
        "precision": "32-true",
        "modality_dropout": 0.0,
        "corruption": {"probability": 0.0, "together": 0.0, "conditions": []},
    },
}
DIFFUFUSE = BLOCK | {
    "architecture": "diffufusemed",
    "settings": {"widths": [8, 8, 16], "windows": [4, 0], "latest": [500, 250], "head_width": 8},
    "training": BLOCK["training"]
    | {
        "modality_dropout": 0.5,
        "corruption": {"probability": 0.3, "together": 0.1, "conditions": ["gauss-0.5", "poisson"]},
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


def plan_with(block=BLOCK, **changes):
    cohort = Cohort(
        tuple(
            Case(name, name, fold, validates, "")
            for name, fold, validates in [("A", 1, None), ("B", 1, None), ("C", 1, 0), ("D", 0, None)]
        )
    )
    names = {"dataset": "balls", "model": "unet2d_test", "fold": 0, "seed": 0, "study_seed": 1} | changes
    constants = {"split_sha256": split_sha256(cohort.training(names["fold"])), "modalities": {}}
    settings = {"block": block, "modalities": MODALITIES, "constants": constants, "regions": {"mass": [1]}}
    return make_plan(cohort, **settings, conditions=CONDITIONS, **names)


def train(plan, cases, index, folder):
    settings = {"checkpoints": folder / "checkpoints", "follow": lambda step, values: None, "started_unix_s": 0.0}
    return train_run(plan, cases, index, predict=predict_case, **settings)


@pytest.fixture(scope="module")
def run(cases, index, tmp_path_factory):
    return train(plan_with(), cases, index, tmp_path_factory.mktemp("run"))


def test_a_plan_trains_on_neither_test_nor_validation_cases():
    plan = plan_with()
    assert plan["training_cases"] == ["A", "B"]
    assert plan["validation_cases"] == ["C"]


def test_an_easy_tumor_is_learned(run, cases):
    mask = predict_case(run.network, cases["D"].scan, run.plan)["mass"] >= 0.5
    reference = cases["D"].slices.labels(slice(None)).transpose(1, 2, 0) == 1
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.8


def test_the_method_learns_it_too_with_modalities_missing_and_images_corrupted(cases, index, tmp_path):
    run = train(plan_with(DIFFUFUSE), cases, index, tmp_path)
    mask = predict_case(run.network, cases["D"].scan, run.plan)["mass"] >= 0.5
    reference = cases["D"].slices.labels(slice(None)).transpose(1, 2, 0) == 1
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.7
    quantities = set(run.history["quantity"])
    assert {"loss_noise", "loss_alignment", "loss_reliability", "gate_0", "reliability_auc"} <= quantities


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(run, cases, index, tmp_path):
    again = train(plan_with(), cases, index, tmp_path / "again")
    other = train(plan_with(seed=1), cases, index, tmp_path / "other")
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


def test_neighboring_slices_that_are_read_are_not_counted_as_predicted(run, cases, index, tmp_path):
    settings, training = BLOCK["settings"] | {"slices": 3}, BLOCK["training"] | {"patch": [32, 32, 3], "steps": 1}
    beside = train(plan_with(BLOCK | {"settings": settings, "training": training}), cases, index, tmp_path)
    assert run.record["voxels_per_sample"] == beside.record["voxels_per_sample"] == 32 * 32


def test_initial_weights_do_not_disturb_the_global_generator():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    network_of(plan_with())
    assert torch.equal(torch.rand(3), expected)


def test_one_softmax_over_background_and_labels_is_learned_as_well(cases, index, tmp_path):
    run = train(plan_with(BLOCK | {"output": "labels"}), cases, index, tmp_path)
    probability = predict_case(run.network, cases["D"].scan, run.plan)["mass"]
    reference = cases["D"].slices.labels(slice(None)).transpose(1, 2, 0) == 1
    mask = probability >= 0.5
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.8


def sampler_with(cases, index, **changes):
    settings = {
        "modalities": MODALITIES,
        "outputs": Outputs("regions", {"mass": [1]}),
        "patch": (32, 32, 1),
        "slicewise": True,
        "foreground_share": 0.5,
    }
    return PatchSampler(cases, index, **(settings | changes))


def drawn(sampler, size=8, seed=0):
    return sampler.draw(size, np.random.default_rng(seed))


def test_half_of_a_batch_shows_the_region(cases, index):
    batch = drawn(sampler_with(cases, index))
    assert batch.images.shape == batch.presence.shape == (8, 2, 32, 32, 1)
    assert batch.reference.shape == (8, 1, 32, 32, 1)
    assert (batch.reference.sum(dim=(1, 2, 3, 4)) > 0)[:4].all()
    assert batch.spacing_mm[0].tolist() == [2.0, 2.0, 4.0]


def test_a_rare_region_is_shown_as_often_as_a_common_one(tmp_path):
    rare = np.zeros((16, 16, 40), np.uint8)
    rare[8, 8, :39] = 1
    rare[8, 8, 39] = 2
    whole, images = np.ones(rare.shape, bool), {"pet": np.ones(rare.shape, np.float32)}
    digest = write_slices(tmp_path / "A.b2nd", images=images, presence={"pet": whole}, body=whole, labels=rare)
    statistics = {"pet": {"mean": 1.0, "sd": 1.0}}
    case = PreparedCase("A", open_slices(tmp_path / "A.b2nd", sha256=digest), statistics, np.eye(4))
    regions = {"common": [1], "rare": [2]}
    settings = {"modalities": {"pet": MODALITIES["pet"]}, "outputs": Outputs("regions", regions), "patch": (8, 8, 1)}
    table = index_slices([("A", case.slices)], dataset="d", regions=regions)
    sampler = sampler_with({"A": case}, table, foreground_share=1.0, **settings)
    shown = drawn(sampler, size=40).reference.flatten(2).any(dim=2).sum(dim=0)
    assert shown.tolist() == [20, 20]


def test_a_patch_larger_than_the_slice_is_absent_around_it(cases, index):
    batch = drawn(sampler_with(cases, index, patch=(64, 64, 1), foreground_share=1.0))
    assert batch.presence.sum(dim=(2, 3, 4)).eq(40 * 36).all()
    assert not batch.images[~batch.presence].any()
    assert batch.reference.sum(dim=(1, 2, 3, 4)).gt(0).all()


def test_neighboring_slices_are_those_beside_the_one_that_is_answered_for(cases, index):
    alone, beside = (drawn(sampler_with(cases, index, patch=(32, 32, z), foreground_share=1.0)) for z in (1, 3))
    assert torch.equal(alone.images[..., 0], beside.images[..., 1])
    assert torch.equal(alone.reference, beside.reference)


def test_a_volume_has_a_reference_in_every_slice(cases, index):
    batch = drawn(sampler_with(cases, index, patch=(32, 32, 6), slicewise=False, foreground_share=1.0))
    assert batch.reference.shape == (8, 1, 32, 32, 6)
    assert batch.reference.sum(dim=(1, 2, 3, 4)).gt(0).all()
    assert batch.presence.all()


def test_dropout_keeps_every_non_empty_subset_alike_and_never_none(cases, index):
    batch = drawn(sampler_with(cases, index, modality_dropout=1.0), size=600)
    there = batch.presence.flatten(2).any(dim=2)
    counts = torch.bincount(there[:, 0].long() + 2 * there[:, 1].long(), minlength=4)
    assert counts[0] == 0
    assert counts[1:].float().std() < 40
    assert torch.equal(batch.quality, there.float())


def test_corrupted_images_are_told_and_their_clean_ones_kept(cases, index):
    settings = {"corruption_share": 0.5, "corruptions": list(CONDITIONS.values()), "paired": True}
    batch = drawn(sampler_with(cases, index, **settings), size=40)
    changed = (batch.images != batch.clean).flatten(2).any(dim=2)
    assert torch.equal(changed, batch.quality == 0)
    assert 0.3 < changed.float().mean() < 0.7
    untouched = drawn(sampler_with(cases, index, corruption_share=0.5, corruptions=list(CONDITIONS.values())), size=40)
    assert untouched.clean is untouched.images


def test_together_means_that_every_modality_suffers_the_same(cases, index):
    settings = {"corrupted_together": 1.0, "corruptions": [CONDITIONS["gauss-0.5"]]}
    assert not drawn(sampler_with(cases, index, **settings)).quality.any()
    pet_alone = {"corrupted_together": 1.0, "corruptions": [CONDITIONS["poisson"]]}
    assert drawn(sampler_with(cases, index, **pet_alone)).quality[:, 1].all()


def test_every_voxel_has_a_probability_where_windows_overlap_and_where_one_is_larger_than_the_slice(run, cases):
    for patch in ((16, 16, 1), (32, 32, 1), (64, 64, 1)):
        outputs = Outputs("regions", {"mass": [1]})
        probability = predict(run.network, cases["D"].scan, modalities=MODALITIES, patch=patch, outputs=outputs)[0]
        assert probability.shape == SHAPE
        assert ((probability >= 0) & (probability <= 1)).all()


def test_the_learning_rate_warms_up_and_ends_at_zero():
    settings = {"steps": 100, "warmup_steps": 10}
    factors = [rate_factor(step, settings) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == 1
    assert factors[100] == 0
    assert all(math.isfinite(factor) for factor in factors)


def squares(z=1):
    images = torch.zeros(6, 2, 32, 32, z)
    images[:, :, 8:20, 10:22] = 5.0
    presence = torch.ones_like(images, dtype=torch.bool)
    presence[:, 1] = False
    return Batch(images, images, presence, (images[:, :1] > 0).float(), torch.ones(6, 2), torch.ones(6, 3))


@pytest.mark.parametrize("z", [1, 4])
def test_augmentation_moves_reference_and_presence_with_the_image(z):
    before = squares(z)
    after = augment(before, generator=torch.Generator().manual_seed(0))
    assert not after.presence[:, 1].any()
    assert not after.images[:, 1].any()
    bright = after.images[:, :1] > 2.5
    assert ((bright == after.reference.bool()).float().mean(dim=(1, 2, 3, 4)) > 0.97).all()
    assert not torch.equal(after.reference[0], after.reference[1])


def test_a_corrupted_image_and_its_clean_one_are_changed_alike():
    before = squares()
    pair = dataclasses.replace(before, images=before.images + 1.0)
    after = augment(pair, generator=torch.Generator().manual_seed(0))
    inside = after.presence[:, 0] & (after.reference[:, 0] > 0)
    assert ((after.images - after.clean)[:, 0][inside] > 0).float().mean() > 0.99
    assert torch.equal(after.reference, augment(before, generator=torch.Generator().manual_seed(0)).reference)
