import os

import numpy as np
import pytest

from diffufuse.errors import BadInput
from diffufuse.store import slices
from diffufuse.store.case import PreparedCase
from diffufuse.store.index import index_slices
from diffufuse.store.slices import open_slices, write_slices

SHAPE = (70, 40, 37)
EVERY = slice(None)


@pytest.fixture(scope="module")
def case():
    draw = np.random.default_rng(2)
    presence = {"ct": draw.random(SHAPE) > 0.2, "pet": np.zeros(SHAPE, bool), "t1": draw.random(SHAPE) > 0.4}
    images = {
        "ct": draw.integers(-1024, 3072, SHAPE).astype(np.float32) * presence["ct"],
        "pet": np.zeros(SHAPE, np.float32),
        "t1": draw.normal(400, 120, SHAPE).astype(np.float32) * presence["t1"],
    }
    return {
        "images": images,
        "presence": presence,
        "body": draw.random(SHAPE) > 0.3,
        "labels": draw.integers(0, 3, SHAPE).astype(np.uint8),
    }


@pytest.fixture(scope="module")
def path(case, tmp_path_factory):
    return tmp_path_factory.mktemp("store") / "a.b2nd"


@pytest.fixture(scope="module")
def digest(case, path):
    return write_slices(path, **case)


@pytest.fixture(scope="module")
def stored(path, digest):
    return open_slices(path, sha256=digest)


def test_every_slice_is_read_back(case, stored):
    assert stored.modalities == ("ct", "pet", "t1")
    assert len(stored) == 37
    assert stored.shape == SHAPE
    for z in range(37):
        images = stored.images(z)
        assert np.array_equal(images[0], case["images"]["ct"][..., z])
        assert np.abs(images[2] - case["images"]["t1"][..., z]).max() <= stored.steps[2] * 0.501
        for channel, name in enumerate(stored.modalities):
            assert np.array_equal(stored.presence(z)[channel], case["presence"][name][..., z])
            assert not images[channel][~case["presence"][name][..., z]].any()
        assert np.array_equal(stored.body(z), case["body"][..., z])
        assert np.array_equal(stored.labels(z), case["labels"][..., z])


def test_several_slices_are_those_slices_one_by_one(stored):
    for read in (stored.images, stored.presence, stored.body, stored.labels):
        assert np.array_equal(read(slice(3, 6)), np.stack([read(z) for z in (3, 4, 5)]))


@pytest.mark.parametrize(
    ("start", "size"),
    [
        ((0, 0, 0), SHAPE),
        ((31, 5, 30), (33, 30, 7)),
        ((-4, 35, 20), (20, 20, 30)),
        ((-9, -9, -9), (90, 60, 60)),
        ((90, 0, 0), (8, 8, 8)),
        ((-20, 2, 36), (12, 3, 1)),
    ],
)
def test_a_patch_is_that_part_of_the_case_and_nothing_where_the_case_ends(case, stored, start, size):
    patch = stored.patch(start, size)
    assert patch.images.shape == patch.presence.shape == (3, *size)
    edge = 100
    box = tuple(slice(first + edge, first + edge + length) for first, length in zip(start, size, strict=True))
    padded = {name: np.pad(case["presence"][name], edge)[box] for name in stored.modalities}
    assert np.array_equal(patch.presence, np.stack(list(padded.values())))
    assert np.array_equal(patch.images[0], np.pad(case["images"]["ct"], edge)[box])
    assert np.array_equal(patch.body, np.pad(case["body"], edge)[box])
    assert np.array_equal(patch.labels, np.pad(case["labels"], edge)[box])


def test_an_image_is_zero_where_its_modality_is_absent_whatever_was_there(case, tmp_path):
    images = {**case["images"], "pet": np.full(SHAPE, 7.5, np.float32)}
    digest = write_slices(tmp_path / "a.b2nd", **{**case, "images": images})
    assert not open_slices(tmp_path / "a.b2nd", sha256=digest).images(EVERY)[:, 1].any()


def test_a_prepared_case_is_its_scan_within_half_a_step_of_each_image(case, stored):
    scan = PreparedCase("A", stored, {}, np.eye(4)).scan
    for channel, name in enumerate(stored.modalities):
        assert np.abs(scan.images[channel] - case["images"][name]).max() <= stored.steps[channel] * 0.501
        assert np.array_equal(scan.presence[channel], case["presence"][name])
    assert scan.images.dtype == np.float32
    assert np.array_equal(scan.body, case["body"])


def test_statistics_of_the_images_before_storing_hold_for_the_stored_ones(case, stored):
    inside = case["presence"]["t1"] & case["body"]
    before = case["images"]["t1"][inside].astype(float)
    after = stored.images(EVERY)[:, 2].transpose(1, 2, 0)[inside].astype(float)
    assert abs(after.mean() - before.mean()) < 1e-4 * before.std()
    assert after.std() == pytest.approx(before.std(), rel=1e-4)


def test_a_byte_flipped_anywhere_is_refused(path, digest, tmp_path):
    content, damaged = path.read_bytes(), tmp_path / "damaged.b2nd"
    places = {0, 1, 20, 60, 90, 200, len(content) - 1, len(content) - 40}
    for place in places | set(range(300, len(content), len(content) // 25)):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BadInput, match="missing or damaged"):
            open_slices(damaged, sha256=digest)


def test_a_truncated_or_lengthened_store_is_refused(path, digest, tmp_path):
    content, damaged = path.read_bytes(), tmp_path / "damaged.b2nd"
    for broken in (b"", content[:50], content[: len(content) // 2], content[:-1], content + b"\0"):
        damaged.write_bytes(broken)
        with pytest.raises(BadInput, match="missing or damaged"):
            open_slices(damaged, sha256=digest)


def test_a_store_that_is_replaced_after_it_was_checked_is_not_read(case, tmp_path):
    path = tmp_path / "a.b2nd"
    stored = open_slices(path, sha256=write_slices(path, **case))
    write_slices(path, **{**case, "labels": case["labels"] * 0})
    slices._opened.cache_clear()
    with pytest.raises(BadInput, match="changed since"):
        stored.labels(3)


def test_few_files_stay_open_however_many_cases_there_are(case, tmp_path):
    digest, copies = write_slices(tmp_path / "a.b2nd", **case), slices.MOST_OPEN + 44
    for n in range(copies):
        os.link(tmp_path / "a.b2nd", tmp_path / f"{n}.b2nd")
    before = len(os.listdir("/proc/self/fd"))
    cases = [open_slices(tmp_path / f"{n}.b2nd", sha256=digest) for n in range(copies)]
    assert all(np.array_equal(one.labels(0), cases[0].labels(0)) for one in cases)
    assert len(os.listdir("/proc/self/fd")) - before <= slices.MOST_OPEN


def test_a_refused_image_leaves_no_file(case, tmp_path):
    for value, told in ((np.nan, "1 that are not"), (1e30, "far out")):
        t1 = case["images"]["t1"].copy()
        t1[tuple(np.argwhere(case["presence"]["t1"])[0])] = value
        with pytest.raises(BadInput, match=told):
            write_slices(tmp_path / "a.b2nd", **{**case, "images": {**case["images"], "t1": t1}})
    assert not list(tmp_path.iterdir())


def test_the_index_counts_voxels_of_joined_labels(case, stored):
    index = index_slices([("A", stored)], dataset="d", regions={"both": [1, 2], "two": [2]})
    assert len(index) == 2 * 37
    both = index[index.region == "both"].sort_values("slice")
    assert both.region_voxels.tolist() == (case["labels"] > 0).sum(axis=(0, 1)).tolist()
    assert both.body_voxels.tolist() == case["body"].sum(axis=(0, 1)).tolist()
