"""Fused images as they are predicted: whole slices, from the images that a condition left, saved as prepared cases."""

import numpy as np
import pytest
import torch
from fused_cases import (
    AFFINE,
    PET,
    PICTURE,
    SHAPE,
    SMALL,
    T1,
    case_in,
    displayed,
    pair_of,
    plan_of,
    predicted,
    scan_of,
    stored_pair,
)
from torch import nn

from diffufuse.errors import BadInput
from diffufuse.evaluate.fused import evaluate_fused
from diffufuse.files.records import write_record
from diffufuse.pixels.color import luma_and_chroma
from diffufuse.pixels.image_file import read_picture
from diffufuse.plan.plans import network_of
from diffufuse.predict import fusing
from diffufuse.predict.cases import Prediction, predict_cases
from diffufuse.predict.fusing import follower_plan, fuse_scan
from diffufuse.predict.inference import HALF, predict_case
from diffufuse.space.volumes import read_volume
from diffufuse.store.case import read_all_prepared, read_prepared
from diffufuse.store.fused import FUSED, fused_records, gray_levels, records_in
from diffufuse.store.scan import Scan
from diffufuse.study import inputs


@pytest.fixture
def case(tmp_path):
    return case_in(tmp_path)


class Ramp(nn.Module):
    """Answers with the row that it believes to be in, and remembers the sizes that it saw."""

    dims, stride = 2, (8, 8, 1)

    def __init__(self):
        super().__init__()
        self.sizes, self.padded = [], []

    def forward(self, images, presence):
        self.sizes.append(tuple(images.shape))
        self.padded.append(float((~presence).float().mean()))
        rows = torch.arange(images.shape[2]) / images.shape[2]
        return rows.reshape(1, 1, -1, 1, 1).expand(len(images), 1, -1, *images.shape[3:])


class Constant(nn.Module):
    dims, stride = 2, (1, 1, 1)

    def __init__(self, value, channels=1):
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, images, presence):
        return torch.full((len(images), self.channels, *images.shape[2:]), self.value)


def test_the_average_of_a_scan_is_that_of_its_present_images_on_the_display_scale():
    scan = scan_of()
    image, present = fuse_scan(network_of(plan_of("average")).eval(), scan, plan_of("average"))
    counted = scan.presence.sum(axis=0)
    expected = displayed(scan).sum(axis=0) / np.maximum(counted, 1)
    expected[..., 0] = 0  # no body
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert image.dtype == np.float32
    assert image[:9, :5, 1:-1].any()
    assert not image[..., [0, -1]].any()
    np.testing.assert_array_equal(present, (counted > 0) & scan.body)


def test_slices_of_odd_size_are_padded_with_what_is_absent_and_cropped_to_where_they_were():
    network, scan = Ramp(), scan_of()
    image, _ = fuse_scan(network, scan, plan_of("average"))
    assert {size[2:] for size in network.sizes} == {(40, 24, 1)}
    assert sum(size[0] for size in network.sizes) == 5  # with body
    assert min(network.padded) > 0
    np.testing.assert_allclose(image[..., 2], np.broadcast_to(((np.arange(37) + 1) / 40)[:, None], SHAPE[:2]))


def test_a_slice_is_fused_as_a_whole_whatever_the_patch_of_the_training():
    plan = plan_of("fuse4seg", output="labels", **SMALL)
    network, scan = network_of(plan).eval(), scan_of((32, 48, 3))
    image, present = fuse_scan(network, scan, plan)
    sources = torch.from_numpy(displayed(scan)[..., 1].astype(np.float32))[None, ..., None]
    with torch.inference_mode():
        whole = network.fuse(sources, torch.from_numpy(scan.presence[..., 1])[None, ..., None])[0, 0, ..., 0].numpy()
    np.testing.assert_allclose(image[..., 1], np.where(present[..., 1], whole, 0), atol=1e-5)


@pytest.mark.parametrize("value", [1.01, -0.01, float("nan"), float("inf")])
def test_what_is_no_gray_level_is_refused(value):
    with pytest.raises(ValueError, match=r"image: expected gray levels in 0\.\.1"):
        fuse_scan(Constant(value), scan_of(), plan_of("average"))


def test_an_image_of_several_channels_is_refused():
    with pytest.raises(ValueError, match="image: expected a fused image of the shape"):
        fuse_scan(Constant(0.5, channels=2), scan_of(), plan_of("average"))


def test_a_fused_image_is_kept_as_a_prepared_case_and_as_a_volume(case, tmp_path):
    folder = predicted(case, plan_of("maximum"), tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["A_fused.nii.gz", FUSED]
    [record] = fused_records(folder)
    fused = read_prepared(record)
    image, present = fuse_scan(network_of(plan_of("maximum")), case.selected(["t1", "pet"]).scan, plan_of("maximum"))
    assert (fused.name, fused.slices.modalities, fused.labels_ml) == ("A", (FUSED,), case.labels_ml)
    np.testing.assert_array_equal(fused.affine, AFFINE)
    np.testing.assert_allclose(gray_levels(fused), image, atol=0.51 / 32_767)
    np.testing.assert_array_equal(fused.scan.presence[0], present)
    np.testing.assert_array_equal(fused.scan.body, case.scan.body)
    np.testing.assert_array_equal(fused.slices.labels(slice(None)), case.slices.labels(slice(None)))
    np.testing.assert_allclose(read_volume(folder / "A_fused.nii.gz").array, gray_levels(fused), atol=1e-5)
    assert fused.statistics[FUSED]["sd"] > 0


def test_masks_follow_from_the_saved_image_alone(case, tmp_path):
    plan = plan_of("fuse4seg", output="labels", **SMALL)
    network = network_of(plan).eval()
    with torch.no_grad():
        for parameter in network.follower.parameters():
            parameter.mul_(3)
    folder = predicted(case, plan, tmp_path / "out", network=network)
    probability = read_volume(folder / "A_mass_probability.nii.gz").array
    fused = read_prepared(folder / FUSED / "A.json")
    expected = predict_case(network.follower, fused.scan, follower_plan(plan))["mass"]
    np.testing.assert_allclose(probability, expected, atol=1e-5)
    np.testing.assert_array_equal(read_volume(folder / "A_mass.nii.gz").array > 0, expected >= HALF)
    # a disjoint segmenter that reads the folder has the same input, and the condition is not applied twice
    again = predicted(fused, follower_plan(plan), tmp_path / "again", network=network.follower)
    np.testing.assert_array_equal(read_volume(again / "A_mass_probability.nii.gz").array, probability)
    assert not fused_records(again)
    blank = Scan(np.zeros_like(fused.scan.images), fused.scan.presence, fused.scan.body)
    assert np.abs(predict_case(network.follower, blank, follower_plan(plan))["mass"] - expected).max() > 1e-3


def test_validation_predicts_from_the_fused_image_too(case):
    plan = plan_of("fuse4seg", output="labels", **SMALL)
    network, scan = network_of(plan).eval(), case.selected(["t1", "pet"]).scan
    image, present = fuse_scan(network, scan, plan)
    expected = predict_case(network.follower, Scan(image[None], present[None], scan.body), follower_plan(plan))
    np.testing.assert_array_equal(predict_case(network, scan, plan)["mass"], expected["mass"])


def test_without_a_modality_the_average_is_the_other(case, tmp_path):
    folder = predicted(case, plan_of("average"), tmp_path / "out", condition={"absent": ["pet"]}, name="no-pet")
    scan = case.selected(["t1", "pet"]).scan
    alone = displayed(scan)[0] * (np.arange(SHAPE[2]) > 0)
    np.testing.assert_allclose(gray_levels(read_prepared(folder / FUSED / "A.json")), alone, atol=1e-4)


def test_without_any_modality_the_image_is_black_and_absent(case, tmp_path):
    folder = predicted(case, plan_of("wavelet"), tmp_path / "out", condition={"present": ["ct"]}, name="only-ct")
    fused = read_prepared(folder / FUSED / "A.json").scan
    assert not fused.images.any()
    assert not fused.presence.any()


NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.5}}


def test_a_condition_changes_the_sources_before_they_are_fused(case, tmp_path):
    conditions = {"clean": {}, "noise": NOISE, "noise-ct": NOISE | {"modalities": ["ct"]}}
    images = [
        gray_levels(
            read_prepared(
                predicted(case, plan_of("average"), tmp_path / name, condition=block, name=name) / FUSED / "A.json"
            )
        )
        for name, block in conditions.items()
    ]
    assert np.abs(images[1] - images[0]).mean() > 0.01
    np.testing.assert_array_equal(images[2], images[0])  # the fuser reads no CT


def test_what_comes_after_normalization_stays_a_gray_level(case, tmp_path):
    gain = {"corruption": "gain", "settings": {"change": 0.9}, "after": "normalization"}
    folder = predicted(case, plan_of("maximum"), tmp_path / "out", condition=gain, name="gain")
    clean = displayed(case.selected(["t1", "pet"]).scan).max(axis=0) * (np.arange(SHAPE[2]) > 0)
    found = gray_levels(read_prepared(folder / FUSED / "A.json"))
    np.testing.assert_allclose(found, np.minimum(1.9 * clean, 1), atol=1e-4)
    assert found.max() == 1


def test_a_pair_is_kept_as_a_picture_with_the_chroma_of_its_function(tmp_path):
    case, structure, color = pair_of(tmp_path)
    plan = plan_of("average", modalities={"mri": PICTURE, "pet": PICTURE})
    folder = predicted(case, plan, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["P_fused.png", FUSED]
    picture = read_picture(folder / "P_fused.png")
    assert picture.shape == color.shape
    luma, *chroma = luma_and_chroma(color)
    inside = ((picture > 0) & (picture < 1)).all(axis=-1)  # nothing was clipped
    found_luma, *found_chroma = luma_and_chroma(picture)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found_luma[inside], ((structure + luma) / 2)[inside], atol=0.004)
    np.testing.assert_allclose(np.array(found_chroma)[:, inside], np.array(chroma)[:, inside], atol=0.004)


def test_a_pair_without_its_function_is_gray(tmp_path):
    case, structure, _ = pair_of(tmp_path)
    plan = plan_of("average", modalities={"mri": PICTURE, "pet": PICTURE})
    picture = read_picture(predicted(case, plan, tmp_path / "out", condition={"absent": ["pet"]}) / "P_fused.png")
    assert picture.ndim == 2
    np.testing.assert_allclose(picture, structure, atol=0.003)


def test_a_fuser_is_tested_on_another_set_by_role(tmp_path):
    case, *_ = pair_of(tmp_path, function="gfp")
    plan = plan_of("average", modalities={"mri": PICTURE, "pet": PICTURE})
    half = {"kind": "picture", "normalization": {"method": "display", "black": 0, "white": 2}}
    transfer = {"modalities": {"gfp": half, "mri": PICTURE}}
    folder = predicted(case, plan, tmp_path / "out", transfer=transfer)
    scan = case.selected(["gfp", "mri"]).scan
    expected = (scan.images[0] / 2 + scan.images[1]) / 2
    np.testing.assert_allclose(gray_levels(read_prepared(folder / FUSED / "P.json")), expected, atol=1e-4)


def test_a_network_that_fuses_on_its_way_to_masks_is_tested_elsewhere_as_a_segmenter(case, tmp_path):
    """On the grid of its training, so that no fused image of the case's own grid is left."""
    plan = plan_of("fuse4seg", output="regions", **SMALL)
    transfer = {
        "modalities": {name: {"kind": block["kind"]} for name, block in {"t1": T1, "pet": PET}.items()},
        "spacing_mm": (2.0, 2.0, 3.0),
        "learned": "mass",
        "lesion": "wt",
    }
    network = network_of(plan).eval()
    folder = predicted(case, plan, tmp_path / "out", network=network, transfer=transfer)
    assert sorted(path.name for path in folder.iterdir()) == ["A_wt.nii.gz", "A_wt_probability.nii.gz"]
    expected = predict_case(network, case.selected(["t1", "pet"]).scan, plan)["mass"]
    np.testing.assert_allclose(read_volume(folder / "A_wt_probability.nii.gz").array, expected, atol=1e-4)


def test_a_set_of_pairs_is_predicted_and_scored_from_its_one_record(tmp_path):
    case, *_ = pair_of(tmp_path)
    (tmp_path / "pairs").mkdir()
    (tmp_path / "P_slices.b2nd").rename(tmp_path / "pairs" / "P_slices.b2nd")
    facts = {"slices_sha256": case.slices.sha256, "statistics": {}}
    write_record({"pairs": {"P": facts}}, tmp_path / "pairs.json")
    sources = {"mri": PICTURE, "pet": PICTURE}
    pairs = read_all_prepared(records_in([tmp_path / "pairs.json"]))
    folder = predicted(pairs["P"], plan_of("maximum", modalities=sources), tmp_path / "out")
    names = {"dataset": "d", "condition": "clean", "trained_on": "d", "model": "m", "fold": 0, "seed": 0}
    table = evaluate_fused(folder, [tmp_path / "pairs.json"], fused_cases=["P"], sources=sources, names=names)
    assert table["case"].unique().tolist() == ["P"]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"corruption": "motion_blur", "settings": {"length_mm": 5}}, 0.005),
        ({"corruption": "bias_field", "settings": {"coefficient": 0.5}}, 0.01),
        ({"corruption": "downsampling", "settings": {"slice_mm": 10}}, 0),  # of one slice there is nothing to merge
        (NOISE | {"kinds": ["picture"]}, 0.01),
        (NOISE | {"kinds": ["mr"]}, 0),  # a picture is of no physical kind
    ],
)
def test_conditions_of_pictures(condition, told, tmp_path):
    case, *_ = pair_of(tmp_path)
    plan = plan_of("average", modalities={"mri": PICTURE, "pet": PICTURE})
    clean, changed = (
        gray_levels(read_prepared(predicted(case, plan, tmp_path / name, condition=block) / FUSED / "P.json"))
        for name, block in (("clean", {}), ("changed", condition))
    )
    difference = np.abs(clean - changed).mean()
    assert difference > told if told else difference == 0


def test_an_image_that_was_not_prepared_is_refused(case, tmp_path):
    plan = plan_of("average", modalities={"t1": T1, "flair": T1})
    with pytest.raises(BadInput, match="expected the image flair, but the slice store holds t1, ct, pet"):
        predicted(case, plan, tmp_path / "out")


def test_records_are_found_in_folders_of_fused_images(case, tmp_path):
    folder, other = predicted(case, plan_of("average"), tmp_path / "out"), tmp_path / "A.json"
    assert records_in([folder, other]) == [folder / FUSED / "A.json", other]
    assert read_all_prepared(records_in([folder]))["A"].slices.modalities == (FUSED,)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty: expected the fused images of cases, got none"):
        records_in([tmp_path / "empty"])


def test_a_fused_image_is_named_alike_where_it_is_stored_and_where_it_is_asked_for():
    assert inputs.FUSED == FUSED


# Fusers that draw noise.
BY_DIFFUSION = {
    "dmfnet": {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 2, "times": (50, 200)},
    "ddfm": {"width": 4, "multipliers": (1, 2), "blocks": 1, "groups": 2, "steps": 4},
    "tfs_diff": {"width": 4, "multipliers": (1, 2), "blocks": 1, "groups": 2, "steps": 4, "attention": ()},
}
by_diffusion = pytest.mark.parametrize("architecture", BY_DIFFUSION)
PAIR = {"mri": PICTURE, "pet": PICTURE}


def diffusion_plan(architecture, **others):
    return plan_of(architecture, **BY_DIFFUSION[architecture], **others)


def untrained(plan):
    torch.manual_seed(0)
    return network_of(plan).eval()


@by_diffusion
def test_the_fused_image_of_noise_is_the_same_in_batches_of_any_size_and_on_any_number_of_threads(
    architecture, monkeypatch
):
    plan, scan = diffusion_plan(architecture), scan_of()
    network, images, threads = untrained(plan), [], torch.get_num_threads()
    for batch, count in ((4, 1), (1, 1), (3, 1), (100, 1), (4, 2)):
        monkeypatch.setattr(fusing, "WHOLE_SLICES_AT_ONCE", batch)
        torch.set_num_threads(count)
        torch.manual_seed(batch)  # of no effect
        images.append(fuse_scan(network, scan, plan, seed=7)[0])
        torch.set_num_threads(threads)
    assert np.ptp(images[0]) > 0.1
    for other in images[1:]:
        np.testing.assert_allclose(other, images[0], atol=1e-4)
    assert np.abs(fuse_scan(network, scan, plan, seed=8)[0] - images[0]).max() > 1e-3


@by_diffusion
def test_slices_with_the_same_content_are_fused_with_noise_of_their_own(architecture):
    plan, scan = diffusion_plan(architecture), scan_of()
    for part in (scan.images, scan.presence, scan.body):
        part[..., 3] = part[..., 2]
    image, _ = fuse_scan(untrained(plan), scan, plan)
    assert np.abs(image[..., 3] - image[..., 2]).max() > 1e-3


@by_diffusion
def test_the_noise_of_a_case_follows_from_its_name_and_neither_from_their_order_nor_from_the_condition(
    architecture, tmp_path
):
    draw = np.random.default_rng(0)
    content = {"mri": draw.random((20, 22)), "pet": draw.random((20, 22))}
    cases = {name: stored_pair(tmp_path, name, content) for name in "AB"}
    plan = diffusion_plan(architecture, modalities=PAIR)
    prediction = Prediction(untrained(plan), plan, 1, None)
    found = {}
    for order, condition in (("AB", "clean"), ("BA", "clean"), ("B", "other")):
        folder = tmp_path / f"{order}_{condition}"
        folder.mkdir()
        some = {name: cases[name] for name in order}
        predict_cases(prediction, some, folder, condition={}, study_seed=1, names=("d", condition))
        found |= {(order, name): gray_levels(read_prepared(folder / FUSED / f"{name}.json")) for name in order}
    for name in "AB":
        np.testing.assert_array_equal(found["AB", name], found["BA", name])
    np.testing.assert_array_equal(found["B", "B"], found["AB", "B"])
    assert np.abs(found["AB", "A"] - found["AB", "B"]).max() > 1e-3


@by_diffusion
def test_a_fuser_by_noise_sees_nothing_of_an_absent_modality(architecture):
    plan, scans = diffusion_plan(architecture), [scan_of(), scan_of()]
    scans[1].images[1] *= -3
    for scan in scans:
        scan.presence[1] = False
    images = [fuse_scan(untrained(plan), scan, plan)[0] for scan in scans]
    np.testing.assert_array_equal(*images)
    assert np.ptp(images[0]) > 0.1
