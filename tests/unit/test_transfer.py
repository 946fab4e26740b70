from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from diffufuse.errors import BadInput
from diffufuse.plan.outputs import Outputs
from diffufuse.predict import cases
from diffufuse.predict.inference import predict
from diffufuse.predict.transfer import in_trained_space, on_own_grid
from diffufuse.space.resampling import common_grid
from diffufuse.space.volumes import Volume, same_grid
from diffufuse.store.scan import Scan
from diffufuse.study.transfer import refusal, shared_modalities

BLOCKS = yaml.safe_load((Path(__file__).parents[2] / "config" / "datasets.yaml").read_text())["datasets"]
MR, CT = {"kind": "mr"}, {"kind": "ct"}
TRAINED = {"pet": {"kind": "pet"}, "ct": CT, "t1": MR}
TESTED = {"flair": MR, "t1": MR}
SARCOMA_MM = (2.0, 2.0, 3.27)


def grid_of(shape, spacing_mm, *, origin_mm=(0, 0, 0)):
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return Volume(np.zeros(shape, bool), affine)


def places_mm(grid):
    return np.indices(grid.shape).transpose(1, 2, 3, 0) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def ball(grid, *, center_mm, radius_mm):
    return np.linalg.norm(places_mm(grid) - center_mm, axis=-1) <= radius_mm


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def carried(scan, here, *, tested=TESTED, trained=TRAINED, spacing_mm=SARCOMA_MM):
    return in_trained_space(scan, here, case="B-1", tested=tested, trained=trained, spacing_mm=spacing_mm)


def scan_of(here, *, flair=1.0, t1=2.0):
    images = np.stack([np.full(here.shape, value, np.float32) for value in (flair, t1)])
    return Scan(images, np.ones(images.shape, bool), np.ones(here.shape, bool))


def test_modalities_are_shared_by_name_and_kind_and_nothing_stands_for_the_others():
    assert shared_modalities(TRAINED, TESTED) == {"t1": "t1"}
    assert shared_modalities(TRAINED, {"t1": {"kind": "pet"}}) == {}


def test_a_like_contrast_stands_for_a_name_that_is_not_there_but_never_for_one_that_is():
    trained = {"t1": MR, "t2fs": MR}
    assert shared_modalities(trained, {"t2": {**MR, "like": "t2fs"}}) == {"t2fs": "t2"}
    assert shared_modalities(trained, {"t2": {**MR, "like": "t2fs"}, "t2fs": MR}) == {"t2fs": "t2fs"}
    assert shared_modalities({"t2": MR}, {"t2fs": MR}) == {}


@pytest.mark.parametrize(
    ("trained_on", "tested", "expected"),
    [
        ("sts", "brats", {"t1": "t1", "t2fs": "t2"}),
        ("sts_ibsi", "msd_brats", {"t1": "t1"}),
        ("sts_ibsi", "lits", {"ct": "ct"}),
        ("brats", "sts", {"t1": "t1"}),
        ("brats", "lits", {}),
    ],
)
def test_what_the_known_datasets_share(trained_on, tested, expected):
    assert shared_modalities(BLOCKS[trained_on]["modalities"], BLOCKS[tested]["modalities"]) == expected


@pytest.mark.parametrize(
    ("trained_on", "tested", "told"),
    [
        ("sts_ibsi", "brats", None),
        ("sts", "lits", None),
        ("sts", "btcv", "Thirteen organs are labeled, and no lesion."),
        ("btcv", "lits", "The model learned no lesion. Thirteen organs are labeled, and no lesion."),
        ("lits", "brats", "No modality is shared: the model learned from ct, the cases have t1, t1c, t2, flair."),
    ],
)
def test_a_pair_is_scored_or_refused_with_its_reason(trained_on, tested, told):
    assert refusal(BLOCKS[trained_on], BLOCKS[tested]) == told


def test_every_known_dataset_names_one_of_its_regions_or_says_why_not():
    modalities = {name for block in BLOCKS.values() for name in block["modalities"]}
    for name, block in BLOCKS.items():
        if "regions" not in block:  # pairs of pictures have no labels
            continue
        assert ("lesion" in block) != ("no_lesion" in block), name
        assert block.get("lesion", next(iter(block["regions"]))) in block["regions"], name
        assert {settings.get("like", "t1") for settings in block["modalities"].values()} <= modalities, name


def test_what_is_shared_comes_in_the_models_channel_and_what_is_not_is_absent_by_the_mask():
    here = grid_of((20, 18, 16), (1, 1, 1))
    seen, grid = carried(scan_of(here), here)
    assert grid.spacing_mm == pytest.approx(SARCOMA_MM)
    assert seen.images.shape == seen.presence.shape == (3, *grid.shape)
    assert seen.presence[2].all()
    assert not seen.presence[:2].any()
    assert not seen.images[:2].any()
    np.testing.assert_allclose(seen.images[2], 2, atol=1e-5)
    assert seen.body.all()


@pytest.mark.parametrize("spacing_mm", [SARCOMA_MM, (0.8, 0.8, 0.8)])
def test_a_value_that_was_not_wholly_acquired_is_absent(spacing_mm):
    here = grid_of((40, 30, 20), (1, 1, 1))
    scan = scan_of(here)
    scan.presence[1, :20] = False
    scan.images[1, :20] = 0
    seen, grid = carried(scan, here, spacing_mm=spacing_mm)
    present = seen.presence[2]
    np.testing.assert_allclose(seen.images[2][present], 2, rtol=2e-3)
    assert not seen.images[2][~present].any()
    assert not present[places_mm(grid)[..., 0] < 19.5].any()
    assert present[places_mm(grid)[..., 0] > 20 + 3 * spacing_mm[0]].all()


def test_the_body_keeps_its_size():
    here = grid_of((60, 60, 60), (1, 1, 1))
    body = ball(here, center_mm=(29, 31, 30), radius_mm=20)
    scan = scan_of(here)
    seen, grid = carried(Scan(scan.images, scan.presence, body), here)
    volumes = [np.count_nonzero(mask) * np.prod(mm) for mask, mm in ((body, (1, 1, 1)), (seen.body, grid.spacing_mm))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def test_a_case_that_shows_the_model_nothing_is_refused_by_name():
    here = grid_of((6, 6, 6), (1, 1, 1))
    scan = scan_of(here)
    blind = Scan(scan.images, np.zeros_like(scan.presence), scan.body)
    with pytest.raises(BadInput, match=r"B-1: expected an image of t1 for the model, got none; exclude the case\."):
        carried(blind, here)
    with pytest.raises(BadInput, match="B-1: expected an image that the model knows"):
        carried(scan, here, trained={"ct": CT})


def test_on_the_same_grid_there_and_back_changes_nothing():
    here = grid_of((9, 8, 7), SARCOMA_MM, origin_mm=(-31.7, 12.3, 440.05))
    scan = scan_of(here)
    drawn = np.random.default_rng(0).normal(size=here.shape).astype(np.float32)
    scan.images[1] = drawn
    seen, grid = carried(scan, here)
    assert same_grid(grid, here)
    assert np.array_equal(seen.images[2], drawn)
    probability = np.random.default_rng(1).random(here.shape, np.float32)
    assert np.array_equal(on_own_grid(probability, grid, here), probability)


# What the way there and back costs a perfect model at most, from 1 mm to the spacing of the sarcomas.
@pytest.mark.parametrize(("radius_mm", "least", "most"), [(25, 0.99, 0.999), (10, 0.97, 0.99), (4, 0.6, 0.95)])
def test_a_round_trip_costs_a_large_lesion_little_and_a_small_one_much(radius_mm, least, most):
    here = grid_of((64, 64, 64), (1, 1, 1))
    lesion = ball(here, center_mm=(31.3, 30.8, 31.6), radius_mm=radius_mm)
    scan = scan_of(here)
    scan.images[1] = lesion
    seen, grid = carried(scan, here)
    back = on_own_grid(seen.images[2], grid, here)
    assert least < dice(back >= 0.5, lesion) < most
    assert back.dtype == np.float32
    assert back.min() >= 0
    assert back.max() <= 1


def test_probabilities_stay_probabilities_between_odd_grids():
    here = grid_of((31, 29, 17), (1.1, 0.9, 2.3))
    grid = common_grid(here, spacing_mm=SARCOMA_MM)
    back = on_own_grid(np.ones(grid.shape, np.float32), grid, here)
    assert back.max() <= 1
    np.testing.assert_allclose(back, 1, atol=1e-6)


class Bright(nn.Module):
    """Says yes where T1, its third channel, is very bright, and looks at nothing that is absent."""

    dims = 2

    def forward(self, images, presence):
        return 20 * (torch.where(presence, images, 0.0)[:, 2:] - 3)


def test_a_lesion_is_found_where_it_lies_whatever_the_grid():
    here = grid_of((50, 44, 40), (1, 1, 1.2), origin_mm=(-80, 33, 500))
    lesion = ball(here, center_mm=(-50, 50, 520), radius_mm=8)
    scan = scan_of(here)
    scan.images[1] = np.random.default_rng(3).normal(100, 5, here.shape) + 200 * lesion
    seen, grid = carried(scan, here)
    blocks = {name: {**block, "normalization": {"method": "zscore"}} for name, block in TRAINED.items()}
    [found] = predict(Bright(), seen, modalities=blocks, patch=(16, 16, 1), outputs=Outputs("regions", {"mass": [1]}))
    mask = on_own_grid(found, grid, here) >= 0.5
    assert dice(mask, lesion) > 0.9
    shift_mm = places_mm(here)[mask].mean(axis=0) - places_mm(here)[lesion].mean(axis=0)
    assert np.abs(shift_mm).max() < 0.2


def test_a_body_without_a_voxel_on_the_models_grid_is_refused_by_name():
    here = grid_of((12, 12, 12), (1.0, 1.0, 1.0))
    scan = scan_of(here)
    speck = np.zeros(here.shape, bool)
    speck[0, 0, 0] = True
    with pytest.raises(BadInput, match="B-1: expected a body of some voxels"):
        carried(Scan(scan.images, scan.presence, speck), here, spacing_mm=(4.0, 4.0, 4.0))


def test_a_prediction_without_a_voxel_on_the_cases_grid_is_told(caplog, monkeypatch):
    here = grid_of((6, 6, 6), (4.0, 4.0, 4.0))
    scan = scan_of(here)

    def speck(network, model_input, plan, **settings):
        probability = np.zeros(model_input.body.shape, np.float32)
        probability[12, 12, 12] = 1
        return {"mass": probability}, {"mass": []}

    monkeypatch.setattr(cases, "predict_sampled", speck)
    plan = {"modalities": [{"name": name, **block} for name, block in TRAINED.items()]}
    transfer = {"modalities": TESTED, "spacing_mm": (1.0, 1.0, 1.0), "lesion": "wt", "learned": "mass"}
    case = SimpleNamespace(name="B-1", scan=scan, affine=here.affine)
    settings = {"spacing_mm": (4.0, 4.0, 4.0), "names": ("brats", "B-1", "clean")}
    prediction = cases.Prediction(None, plan, 1, transfer)
    probabilities, _ = cases._predict_other(prediction, case, lambda scan: scan, **settings)
    assert not (probabilities["wt"] >= 0.5).any()
    assert "B-1: of the predicted wt no voxel is left" in caplog.text
