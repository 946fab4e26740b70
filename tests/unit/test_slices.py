import numpy as np
import pytest

from diffufuse.errors import BadInput
from diffufuse.slices import index_slices, open_slices, write_slices

SHAPE = (7, 6, 5)


@pytest.fixture
def case():
    draw = np.random.default_rng(2)
    images = {"ct": draw.normal(-100, 400, SHAPE).astype(np.float32), "pet": np.zeros(SHAPE, np.float32)}
    presence = {"ct": draw.random(SHAPE) > 0.2, "pet": np.zeros(SHAPE, bool)}
    return {
        "images": images,
        "presence": presence,
        "body": draw.random(SHAPE) > 0.3,
        "labels": draw.integers(0, 3, SHAPE).astype(np.uint8),
    }


def test_every_slice_is_read_back_exactly(case, tmp_path):
    stored = open_slices(tmp_path / "a.b2nd", sha256=write_slices(tmp_path / "a.b2nd", **case))
    assert stored.modalities == ("ct", "pet")
    assert len(stored) == 5
    for z in range(5):
        assert np.array_equal(stored.images(z)[0], case["images"]["ct"][..., z])
        assert np.array_equal(stored.presence(z)[0], case["presence"]["ct"][..., z])
        assert not stored.presence(z)[1].any()
        assert np.array_equal(stored.body(z), case["body"][..., z])
        assert np.array_equal(stored.labels(z), case["labels"][..., z])


def test_a_damaged_store_is_refused(case, tmp_path):
    digest = write_slices(tmp_path / "a.b2nd", **case)
    content = bytearray((tmp_path / "a.b2nd").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.b2nd").write_bytes(bytes(content))
    with pytest.raises(BadInput, match="missing or damaged"):
        open_slices(tmp_path / "a.b2nd", sha256=digest)


def test_the_index_counts_voxels_of_joined_labels(case, tmp_path):
    stored = open_slices(tmp_path / "a.b2nd", sha256=write_slices(tmp_path / "a.b2nd", **case))
    index = index_slices({"A": stored}, dataset="d", regions={"both": [1, 2], "two": [2]})
    assert len(index) == 10
    both = index[index.region == "both"].sort_values("slice")
    assert both.region_voxels.tolist() == (case["labels"] > 0).sum(axis=(0, 1)).tolist()
    assert both.body_voxels.tolist() == case["body"].sum(axis=(0, 1)).tolist()
