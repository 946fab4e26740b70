from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from torch import nn

from diffufuse.plan.outputs import Outputs
from diffufuse.predict.inference import body_logits, predict, write_prediction
from diffufuse.predict.windows import Windows, blended, starts_along, windows_over
from diffufuse.space.volumes import read_volume, write_volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan

MODALITIES = {
    "pet": {"kind": "pet", "normalization": {"method": "log"}},
    "t1": {"kind": "mr", "normalization": {"method": "zscore"}},
}
REGIONS = Outputs("regions", {"mass": [1], "edema": [1, 2]})


class Looker(nn.Module):
    """MONAI's U-Net as a network of ours: neighboring slices are channels, presence stands beside the images."""

    def __init__(self, *, dims, slices=1, channels=2):
        super().__init__()
        self.dims, self.asked, self.sizes = dims, 0, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.network = UNet(dims, 2 * len(MODALITIES) * slices, channels, (8, 16), (2,), norm="instance")

    def forward(self, images, presence):
        self.asked += len(images)
        self.sizes.append(len(images))
        stacked = torch.cat([torch.where(presence, images, 0.0), presence.to(images.dtype)], 1)
        if self.dims == 3:
            return self.network(stacked)
        return self.network(rearrange(stacked, "b m x y z -> b (m z) x y"))[..., None]


def scan_of(shape, *, body=None, seed=0):
    draw = np.random.default_rng(seed)
    images = draw.gamma(2.0, 1.0, (2, *shape)).astype(np.float32)
    presence = np.ones(images.shape, bool)
    presence[1, : shape[0] // 4] = False
    return Scan(images * presence, presence, np.ones(shape, bool) if body is None else body)


def blob(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def looker(**settings):
    return Looker(**settings).eval()


def logits(network, scan, patch):
    return body_logits(network, scan, patch=patch, channels=2)[0]


def monai_logits(network, scan, patch):
    """MONAI's answer: slices as a batch of 2-D images, each with its neighbors, or the volume as one 3-D image."""
    stacked = torch.from_numpy(np.concatenate([scan.images, scan.presence])).float()
    if network.dims == 3:

        def look(window):
            seen, there = window.chunk(2, 1)
            return network(seen, there > 0.5)

        with torch.inference_mode():
            return sliding_window_inference(stacked[None], patch, 4, look, overlap=0.5, mode="gaussian")[0]
    reach = patch[2] // 2
    around = torch.nn.functional.pad(stacked, (reach, reach)).unfold(3, patch[2], 1)  # (2M, X, Y, Z, slices)
    batch = rearrange(around, "m x y z s -> z (m s) x y")

    def look(window):
        seen, there = rearrange(window, "b (m s) x y -> b m x y s", s=patch[2]).chunk(2, 1)
        return network(seen, there > 0.5)[..., 0]

    with torch.inference_mode():
        answer = sliding_window_inference(batch, patch[:2], 4, look, overlap=0.5, mode="gaussian")
    return rearrange(answer, "z c x y -> c x y z")


@pytest.mark.parametrize(
    ("dims", "shape", "patch"),
    [
        (2, (50, 41, 5), (32, 32, 1)),
        (2, (64, 33, 3), (32, 16, 1)),
        (2, (21, 28, 4), (32, 32, 1)),
        (2, (50, 27, 4), (32, 32, 3)),
        (3, (30, 20, 24), (16, 16, 16)),
        (3, (13, 40, 9), (16, 16, 12)),
    ],
)
def test_where_the_body_is_everything_logits_are_those_of_monai(dims, shape, patch):
    network, scan = looker(dims=dims, slices=patch[2] if dims == 2 else 1), scan_of(shape)
    expected = monai_logits(network, scan, patch)
    assert expected.std() > 0.01
    torch.testing.assert_close(logits(network, scan, patch), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dims", "patch"), [(2, (16, 16, 1)), (2, (16, 16, 3)), (3, (16, 16, 8))])
def test_leaving_windows_out_changes_nothing_in_the_body(dims, patch):
    shape = (60, 52, 12)
    body = blob(shape, (4, 3, 1), (20, 15, 5)) | blob(shape, (41, 36, 8), (57, 50, 11))
    scan = scan_of(shape, body=body)
    network = looker(dims=dims, slices=patch[2] if dims == 2 else 1)
    some = logits(network, scan, patch)
    looked_at, network.asked = network.asked, 0

    size, halo = (patch, 0) if dims == 3 else ((*patch[:2], 1), patch[2] // 2)
    chosen = windows_over(body, size)
    lattice = [sorted({start[axis] for start in chosen.starts}) for axis in range(3)]
    box = [(low[0], low[-1] + n) for low, n in zip(lattice, size, strict=True)]
    places = [[low + s for s in starts_along(high - low, n)] for (low, high), n in zip(box, size, strict=True)]
    every = Windows(size, chosen.padding, [(x, y, z) for x in places[0] for y in places[1] for z in places[2]])
    assert set(chosen.starts) < set(every.starts)
    tensors = torch.from_numpy(scan.images), torch.from_numpy(scan.presence)
    with torch.inference_mode():
        all_of_them, _ = blended(network, *tensors, every, channels=2, halo=halo, at_once=3)
    assert looked_at < network.asked
    torch.testing.assert_close(some[:, body], all_of_them[:, body], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(some, all_of_them, atol=1e-3)


def test_air_around_the_body_is_cropped_away_first():
    shape, patch = (80, 70, 3), (32, 32, 1)
    body = blob(shape, (20, 17, 0), (70, 58, 3))
    scan, network = scan_of(shape, body=body), looker(dims=2)
    part = (slice(None), slice(20, 70), slice(17, 58))
    cropped = Scan(scan.images[part], scan.presence[part], body[part[1:]])
    expected = monai_logits(network, cropped, patch)
    torch.testing.assert_close(logits(network, scan, patch)[part], expected, atol=1e-5, rtol=1e-5)


def test_a_small_body_is_seen_with_what_really_lies_around_it():
    shape, patch = (80, 70, 2), (32, 32, 1)
    body = blob(shape, (5, 60, 0), (15, 70, 2))
    scan, network = scan_of(shape, body=body), looker(dims=2)
    part = (slice(None), slice(0, 32), slice(38, 70))
    around = Scan(scan.images[part], scan.presence[part], body[part[1:]])
    expected = monai_logits(network, around, patch)
    torch.testing.assert_close(logits(network, scan, patch)[part], expected, atol=1e-5, rtol=1e-5)
    assert network.asked == 4


def test_windows_of_several_slices_are_looked_at_together():
    network = looker(dims=2)
    logits(network, scan_of((30, 30, 20)), (32, 32, 1))
    assert network.sizes == [16, 4]


@given(st.integers(1, 200), st.integers(1, 64))
def test_windows_cover_an_axis_and_overlap_by_half_at_least(extent, length):
    starts = starts_along(extent, length)
    assert starts[0] == 0
    assert starts[-1] + length == max(extent, length)
    assert all(0 < after - before <= max(1, length / 2) for before, after in pairwise(starts))


@given(st.integers(0, 2**32 - 1))
def test_every_body_voxel_is_in_a_window_and_every_window_has_one(seed):
    draw = np.random.default_rng(seed)
    body = draw.random(tuple(draw.integers(1, 20, 3))) < 0.02
    size = tuple(int(n) for n in draw.integers(1, 12, 3))
    windows = windows_over(body, size)
    padded = np.pad(body, windows.padding)
    seen = np.zeros_like(padded)
    for start in windows.starts:
        part = tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))
        assert padded[part].shape == size
        assert padded[part].any()
        seen[part] = True
    assert not (padded & ~seen).any()


@pytest.mark.parametrize("kind", ["regions", "labels"])
def test_probabilities_follow_from_blended_logits_and_are_zero_where_nothing_was_looked_for(kind):
    shape = (60, 30, 4)
    body = blob(shape, (6, 5, 1), (20, 28, 4)) & ~blob(shape, (10, 15, 2), (11, 16, 3))
    outputs = Outputs(kind, REGIONS.regions)
    network = looker(dims=2, channels=outputs.channels)
    found = predict(network, scan_of(shape, body=body), modalities=MODALITIES, patch=(16, 16, 1), outputs=outputs)
    assert found.shape == (2, *shape)
    assert found.dtype == np.float32
    assert (found[:, body] > 0).all()
    assert (found[:, 30:] == 0).all()
    assert (found[:, :, :, 0] == 0).all()
    assert (found[:, 10, 15, 2] > 0).all()  # not of the body, yet within a window
    if kind == "labels":
        assert (found[0] <= found[1] + 1e-6).all()


def test_no_body_is_no_region_and_nothing_is_computed():
    network, shape = looker(dims=2), (20, 20, 2)
    scan = scan_of(shape, body=np.zeros(shape, bool))
    assert not predict(network, scan, modalities=MODALITIES, patch=(16, 16, 1), outputs=REGIONS).any()
    assert network.asked == 0


def test_bfloat16_is_close_but_not_the_same():
    scan, network = scan_of((40, 40, 3)), looker(dims=2)
    settings = {"modalities": MODALITIES, "patch": (32, 32, 1), "outputs": REGIONS}
    fine, coarse = (predict(network, scan, precision=kind, **settings) for kind in ("32-true", "bf16-mixed"))
    assert coarse.dtype == np.float32
    assert 0 < np.abs(fine - coarse).max() < 0.05


def test_masks_are_where_the_stored_probability_is_one_half(tmp_path):
    half, one, nothing = np.float32(0.5), np.float32(1), np.float32(0)
    around = [np.nextafter(half, nothing), half, np.nextafter(half, one), half - np.float32(1 / 65535), nothing, one]
    drawn = np.random.default_rng(2).random((6, 5, 4), np.float32)
    drawn[:, 0, 0] = around
    case = PreparedCase("A", None, {}, np.diag([2.0, 2, 4, 1]))
    write_prediction({"mass": drawn}, case, Path(tmp_path))
    mask = read_volume(tmp_path / "A_mass.nii.gz")
    stored = read_volume(tmp_path / "A_mass_probability.nii.gz")
    assert mask.array.dtype == np.uint8
    assert np.array_equal(mask.array > 0, drawn >= 0.5)
    assert np.array_equal(stored.array >= 0.5, drawn >= 0.5)
    assert np.abs(stored.array - drawn).max() <= 0.5 / 65535 + 1e-7
    assert stored.array.min() == 0
    assert stored.array.max() == 1
    write_volume(stored, tmp_path / "float.nii.gz")
    assert (tmp_path / "A_mass_probability.nii.gz").stat().st_size < (tmp_path / "float.nii.gz").stat().st_size


def test_what_is_no_probability_is_not_stored(tmp_path):
    case = PreparedCase("A", None, {}, np.eye(4))
    for wrong in (1.01, -0.01, np.nan):
        with pytest.raises(ValueError, match=r"probabilities must lie in 0\.\.1"):
            write_prediction({"mass": np.full((2, 2, 2), wrong, np.float32)}, case, Path(tmp_path))
