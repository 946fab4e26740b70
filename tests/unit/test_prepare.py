import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label

from diffufuse.errors import BadInput
from diffufuse.prepare.bias import correct_bias
from diffufuse.prepare.body import body_mask, foreground
from diffufuse.prepare.case import prepare_case, require_sound
from diffufuse.prepare.picture import checkerboard, draw
from diffufuse.prepare.registration import LIMITS, read_transform, write_transforms
from diffufuse.prepare.writing import write_prepared
from diffufuse.space.resampling import common_grid
from diffufuse.space.volumes import Volume, read_volume
from diffufuse.store.case import read_prepared

SPACING_MM = (3.0, 3.0, 4.0)
SHAPE = (40, 36, 20)
MODALITIES = {
    "pet": {"kind": "pet", "follows": "ct"},
    "ct": {"kind": "ct"},
    "t1": {"kind": "mr"},
    "t2": {"kind": "mr", "follows": "t1"},
}


def grid_of(shape=SHAPE, spacing_mm=SPACING_MM):
    return Volume(np.zeros(shape, np.float32), np.diag([*spacing_mm, 1.0]))


def shifted(volume, shift_mm):
    """The same image in a frame whose points lie elsewhere."""
    affine = volume.affine.copy()
    affine[:3, 3] += shift_mm
    return Volume(volume.array, affine)


def leg(shape=SHAPE):
    x, y, _ = np.indices(shape)
    return ((x - shape[0] / 2) / (0.4 * shape[0])) ** 2 + ((y - shape[1] / 2) / (0.36 * shape[1])) ** 2 < 1


@pytest.fixture(scope="module")
def case():
    """A leg with uneven tissue and a tumor; PET and CT lie 12, -9, 8 mm from the MR frame, and CT ends early."""
    grid, body = grid_of(), leg()
    tissue = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    tissue /= tissue.std()
    x, y, z = np.indices(SHAPE)
    labels = ((3 * (x - 19)) ** 2 + (3 * (y - 17)) ** 2 + (4 * (z - 9)) ** 2 < 18**2).astype(np.uint8)
    ct = np.where(body, 60 - 20 * (tissue - 1) ** 2, -1000).astype(np.float32)
    images = {
        "t1": grid.with_array(np.where(body, 500 + 100 * tissue, 0).astype(np.float32)),
        "ct": shifted(Volume(ct[..., :17], grid.affine), (12, -9, 8)),
        "pet": shifted(grid.with_array((body + 4.0 * labels).astype(np.float32)), (12, -9, 8)),
    }
    return images, grid.with_array(labels)


@pytest.fixture(scope="module")
def prepared(case):
    images, labels = case
    return prepare_case(images, labels, modalities=MODALITIES, reference="t1", spacing_mm=(4.0, 4.0, None))


def test_all_images_of_a_case_share_one_grid_in_the_references_frame(case, prepared):
    expected = common_grid(case[0]["t1"], spacing_mm=(4.0, 4.0, None))
    for volume in (*prepared.images.values(), prepared.labels, prepared.body):
        assert volume.shape == expected.shape
        np.testing.assert_allclose(volume.affine, expected.affine)
    assert prepared.labels.array.dtype == np.uint8
    assert prepared.body.array.dtype == bool
    assert all(image.array.dtype == np.float32 for image in prepared.images.values())


def test_the_displacement_of_the_scanners_is_found_and_shared_by_what_follows(prepared):
    matrix = np.array(prepared.record["registration"]["ct"]["matrix"]).reshape(4, 4)
    np.testing.assert_allclose(matrix[:3, 3] + matrix[:3, :3] @ [60, 54, 40] - [60, 54, 40], [12, -9, 8], atol=1)
    pet = prepared.record["registration"]["pet"]
    assert pet["matrix"] == prepared.record["registration"]["ct"]["matrix"]
    assert pet["follows"] == "ct"
    hot = prepared.images["pet"].array > 3
    tumor = prepared.labels.array > 0
    assert 2 * (hot & tumor).sum() / (hot.sum() + tumor.sum()) > 0.9


def test_a_modality_that_the_case_lacks_is_absent_everywhere(prepared):
    assert list(prepared.images) == ["pet", "ct", "t1"]
    assert list(prepared.presence) == list(MODALITIES)
    assert not prepared.presence["t2"].any()
    assert "t2" not in prepared.record["statistics"]


def test_outside_the_field_of_view_is_exactly_zero(prepared):
    for name, image in prepared.images.items():
        assert not image.array[~prepared.presence[name]].any()
    assert prepared.presence["t1"].all()
    assert 0.5 < prepared.presence["ct"].mean() < 1


def test_masks_and_transforms_are_saved_and_lead_back(prepared, tmp_path):
    names = {"labels": "_labels.nii.gz", "body": "_body.nii.gz", "slices": "_slices.b2nd", "record": ".json"}
    files = {name: tmp_path / f"LEG-1{ending}" for name, ending in names.items()}
    files |= {name: tmp_path / name for name in ("images", "masks")}
    write_prepared(prepared, "LEG-1", modalities=MODALITIES, **files)
    write_transforms(prepared.transforms, tmp_path / "transforms", case="LEG-1")
    stored = read_prepared(files["record"])
    assert (stored.name, stored.slices.shape) == ("LEG-1", prepared.body.shape)
    np.testing.assert_array_equal(stored.scan.body, prepared.body.array)
    assert "runtime_s" not in files["record"].read_text()
    masks = {path.name for path in files["masks"].iterdir()}
    assert masks == {"LEG-1_pet.nii.gz", "LEG-1_ct.nii.gz", "LEG-1_t1.nii.gz"}
    field = read_volume(files["masks"] / "LEG-1_ct.nii.gz")
    np.testing.assert_array_equal(field.array > 0, prepared.presence["ct"])
    transform = read_transform(tmp_path / "transforms", case="LEG-1", modality="ct")
    points = np.random.default_rng(0).uniform(0, 100, (3, 50))
    np.testing.assert_allclose(transform.apply(points), prepared.transforms["ct"].apply(points), atol=1e-9)
    np.testing.assert_allclose(transform.inverse.apply(transform.apply(points)), points, atol=1e-9)


def test_a_sound_case_passes_and_a_bad_one_stops_in_one_sentence(case, prepared):
    require_sound(prepared, "LEG-1", gate={}, picture="qc.png")
    with pytest.raises(
        BadInput, match=r"^LEG-1, ct: expected .* at least 9 bit, got .*; look at qc.png, then "
    ) as told:
        require_sound(prepared, "LEG-1", gate={"similarity": 9}, picture="qc.png")
    assert "\n" not in str(told.value)
    assert all(words in str(told.value) for words in ("exclude the case", "follow another", "loosen the gate"))
    require_sound(prepared, "LEG-1", gate=dict.fromkeys(LIMITS), picture="qc.png")


def test_a_known_shift_of_a_follower_is_asked_only_for_its_field_of_view(prepared):
    with pytest.raises(BadInput, match=r"pet: .*shared field of view"):
        gate = {**dict.fromkeys(LIMITS), "similarity": 9, "overlap": 1.1}
        follower = {"pet": prepared.registrations["pet"]}
        require_sound(replace(prepared, registrations=follower), "LEG-1", gate=gate, picture="qc.png")


def test_an_image_that_its_publisher_corrected_is_left_as_it_is(case):
    modalities = {"t1": {"kind": "mr", "bias_correction": "none"}}
    found = prepare_case(
        {"t1": case[0]["t1"]}, case[1], modalities=modalities, reference="t1", spacing_mm=(None, None, None)
    )
    np.testing.assert_array_equal(found.images["t1"].array, case[0]["t1"].array)


def test_images_stay_in_physical_units(case, prepared):
    inside = prepared.body.array & prepared.presence["ct"]
    before = case[0]["ct"].array[leg()[..., :17]]
    assert prepared.images["ct"].array[inside].max() == pytest.approx(before.max(), abs=5)
    assert np.median(prepared.images["t1"].array[prepared.body.array]) == pytest.approx(500, rel=0.1)


def test_the_record_holds_statistics_within_body_and_field_of_view(prepared):
    record = json.loads(json.dumps(prepared.record, allow_nan=False))
    values = prepared.images["ct"].array[prepared.body.array & prepared.presence["ct"]].astype(float)
    statistics = record["statistics"]["ct"]
    assert statistics["mean"] == pytest.approx(values.mean())
    assert statistics["sd"] == pytest.approx(values.std())
    assert statistics["p0_5"] == pytest.approx(np.percentile(values, 0.5))
    assert statistics["p99_5"] == pytest.approx(np.percentile(values, 99.5))
    assert record["registration"]["ct"]["similarity_after"] > record["registration"]["ct"]["similarity_before"]
    assert record["labels_ml"]["1"]["resampled"] == pytest.approx(record["labels_ml"]["1"]["drawn"], rel=0.1)


def test_what_follows_an_absent_modality_is_registered_by_itself(case):
    images = {name: case[0][name] for name in ("pet", "t1")}
    found = prepare_case(images, case[1], modalities=MODALITIES, reference="t1", spacing_mm=(4.0, 4.0, None))
    assert found.record["registration"]["pet"]["follows"] is None
    assert found.record["registration"]["pet"]["start"] != "given"


def test_what_follows_the_reference_stays_where_its_header_puts_it(case):
    images = {name: case[0][name] for name in ("ct", "t1")}
    modalities = {"t1": {"kind": "mr"}, "ct": {"kind": "ct", "follows": "t1"}}
    found = prepare_case(images, case[1], modalities=modalities, reference="t1", spacing_mm=(None, None, None))
    np.testing.assert_array_equal(found.images["ct"].array, found.unregistered["ct"].array)
    assert found.record["registration"]["ct"]["displacement_mm"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images.pop("t1"), labels)[1], "reference modality t1"),
        (lambda images, labels: (images["ct"].array.__setitem__((0, 0, 0), np.nan), labels)[1], "ct: expected finite"),
        (lambda images, labels: (images["ct"].array.fill(3), labels)[1], "ct: expected values that vary"),
        (lambda images, labels: shifted(labels, (1, 0, 0)), "labels: expected the grid of t1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(case, change, message):
    images = {name: image.with_array(image.array.copy()) for name, image in case[0].items()}
    labels = change(images, case[1])
    with pytest.raises(BadInput, match=message):
        prepare_case(images, labels, modalities=MODALITIES, reference="t1", spacing_mm=(4.0, 4.0, None))


def test_bias_correction_removes_a_smooth_field_and_keeps_the_scale():
    shape = (60, 56, 30)
    body = leg(shape)
    tissue = np.where(gaussian_filter(np.random.default_rng(1).normal(size=shape), 3) > 0, 400, 800)
    x, _, z = (np.linspace(-1, 1, n)[i] for n, i in zip(shape, np.indices(shape), strict=True))
    image = grid_of(shape, (2.0, 2.0, 3.0)).with_array(np.where(body, tissue, 0) * np.exp(0.4 * x + 0.3 * z))
    corrected = correct_bias(image, body)
    before, after = (np.log(v.array[body] / tissue[body]).std() for v in (image, corrected))
    assert before > 0.2
    assert after < before / 4
    assert np.log(corrected.array[body]).mean() == pytest.approx(np.log(image.array[body]).mean(), abs=0.01)


def test_bias_correction_without_signal_changes_nothing():
    image = grid_of().with_array(np.ones(SHAPE, np.float32))
    assert not foreground(image).any()
    assert correct_bias(image, foreground(image)) is image


def test_the_body_of_a_ct_has_no_couch_no_air_and_no_holes():
    body = leg()
    image = np.where(body, 30, -1000).astype(np.float32)
    image[18:22, 16:20] = -900  # gas within
    image[:, 31] = 100  # couch, 3 mm thick, on which the leg lies
    found = body_mask(
        {"ct": grid_of().with_array(image)}, {"ct": np.ones(SHAPE, bool)}, kinds={"ct": "ct"}, reference="ct"
    )
    assert 2 * (found & body).sum() / (found.sum() + body.sum()) > 0.98
    assert found[18:22, 16:20].all()
    assert not found[:10, 31].any()
    assert not found[30:, 31].any()


def test_the_body_is_seen_by_the_reference_where_there_is_no_ct():
    body = leg()
    presence = {"ct": np.zeros(SHAPE, bool), "t1": np.ones(SHAPE, bool)}
    presence["ct"][:20] = True
    images = {
        "ct": grid_of().with_array(np.where(presence["ct"], np.where(body, 30, -1000), 0).astype(np.float32)),
        "t1": grid_of().with_array(np.where(body, 300, 5).astype(np.float32)),
    }
    found = body_mask(images, presence, kinds={"ct": "ct", "t1": "mr"}, reference="t1")
    assert 2 * (found & body).sum() / (found.sum() + body.sum()) > 0.98


def test_a_body_that_fills_the_frame_is_all_body():
    ct = grid_of().with_array(np.random.default_rng(0).normal(40, 20, SHAPE).astype(np.float32))
    assert body_mask({"ct": ct}, {"ct": np.ones(SHAPE, bool)}, kinds={"ct": "ct"}, reference="ct").all()


def test_both_legs_are_body_and_dust_is_not():
    image = np.full(SHAPE, -1000, np.float32)
    image[2:16, 5:30] = image[22:38, 5:30] = 20
    image[18:20, 1:3, 3:5] = 20
    found = body_mask(
        {"ct": grid_of().with_array(image)}, {"ct": np.ones(SHAPE, bool)}, kinds={"ct": "ct"}, reference="ct"
    )
    assert label(found)[1] == 2


def test_a_checkerboard_alternates_between_two_images():
    board = checkerboard(np.zeros((4, 4)), np.ones((4, 4)), tile=(2, 1))
    np.testing.assert_array_equal(board[[0, 1, 2, 3]][:, :2], [[0, 1], [0, 1], [1, 0], [1, 0]])


def test_the_picture_has_a_row_per_modality_and_tells_the_similarity(prepared, tmp_path):
    figure = draw(prepared, case="LEG-1")
    titles = " ".join(axes.get_title() for axes in figure.axes)
    quality = prepared.record["registration"]["ct"]
    assert len(figure.axes) == 6 * 3
    assert f"before: MI {quality['similarity_before']:.2f} bit" in titles
    assert f"after: MI {quality['similarity_after']:.2f} bit, moved {quality['displacement_mm']:.1f} mm" in titles
    figure.savefig(tmp_path / "qc.png", dpi=200)
    assert (tmp_path / "qc.png").stat().st_size > 10_000
    assert figure.get_size_inches()[0] * 200 >= 1200


def test_the_picture_of_a_case_without_labels_shows_the_middle(case):
    empty = case[1].with_array(np.zeros(SHAPE, np.uint8))
    found = prepare_case(
        {"t1": case[0]["t1"]}, empty, modalities=MODALITIES, reference="t1", spacing_mm=(None, None, None)
    )
    assert len(draw(found, case="LEG-2").axes) == 6


@pytest.mark.real
def test_a_patient_is_prepared_with_all_of_the_tumor_in_the_body(shared_data):
    folder = shared_data / "sts_ibsi" / "nifti" / "STS_025"
    files = {"pet": "PET", "ct": "CT", "t1": "MR_T1"}
    images = {name: read_volume(folder / f"{file}_image.nii.gz") for name, file in files.items()}
    labels = read_volume(folder / "MR_T1_mask.nii.gz")
    modalities = {
        "pet": {"kind": "pet", "follows": "t1"},
        "ct": {"kind": "ct", "follows": "t1"},
        "t1": {"kind": "mr"},
    }
    found = prepare_case(images, labels, modalities=modalities, reference="t1", spacing_mm=(2.0, 2.0, None))
    tumor = found.labels.array > 0
    assert found.body.array[tumor].mean() > 0.99
    assert found.images["pet"].array[tumor].mean() > 2 * found.images["pet"].array[found.body.array & ~tumor].mean()
    volumes = found.record["labels_ml"]["1"]
    assert volumes["resampled"] == pytest.approx(volumes["drawn"], rel=0.03)
