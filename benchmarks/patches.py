"""Random 96³ patches and whole axial slices of a 256³ CT: our store, files read whole, and nnU-Net's scheme.

nnU-Net's scheme as its `comp_blosc2_params` describes it: float32 z-scores, blocks that fit 32 KiB of L1 cache, chunks
that fit 1.375 MiB of L3 (both filled to 80 %) and exceed the patch by no more than half, memory-mapped, one thread;
its own compression is Zstandard at level 8. As LZ4 is the faster one to read, it is compared as well.
"""

import math
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import blosc2
import nibabel
import numpy as np
import pandas as pd
import scipy.ndimage
import SimpleITK
from compare import Row, Timing, compared, timed, write

from diffufuse.plan.outputs import Outputs
from diffufuse.store.case import PreparedCase
from diffufuse.store.index import index_slices
from diffufuse.store.slices import StoredCase, open_slices, write_slices
from diffufuse.train.batches import PatchSampler

SIZE, PATCH, DRAWS, REPEATS = 256, 96, 40, 7
BLOCK_BYTES, CHUNK_BYTES = 0.8 * 32 * 2**10, 0.8 * 1.375 * 2**20
CODECS = {"LZ4": (blosc2.Codec.LZ4, 5), "Zstandard 8": (blosc2.Codec.ZSTD, 8)}
NNUNET = f"nnU-Net's blosc2 scheme, float32, {{}} (blosc2 {blosc2.__version__})"
Starts = list[tuple[int, int, int]]


def ct_like(*, seed: int) -> np.ndarray:
    """A CT of 256³ voxels in whole HU: an ellipse of uneven tissue with noise and bone in noisy air."""
    draw = np.random.default_rng(seed)
    place = np.linspace(-1, 1, SIZE, dtype=np.float32)
    body = (place[:, None, None] / 0.85) ** 2 + (place[None, :, None] / 0.65) ** 2 < np.ones(SIZE)
    tissue = scipy.ndimage.zoom(draw.normal(size=(24, 24, 24)).astype(np.float32), SIZE / 24, order=1)
    noise = scipy.ndimage.gaussian_filter(draw.normal(size=(SIZE,) * 3).astype(np.float32), 0.6)
    noise /= noise.std()
    hu = np.where(body, 40 + 60 * tissue + 15 * noise, -1000 + np.abs(8 * noise))
    return np.rint(hu + 600 * (body & (tissue > 2))).astype(np.float32)


def resampled(hu: np.ndarray) -> np.ndarray:
    """The same moved by parts of a voxel with cubic splines: no longer whole numbers, as in any prepared case."""
    return scipy.ndimage.shift(hu, (0.3, 0.4, 0.2), order=3, mode="nearest")


def nnunet_layout(shape: tuple[int, ...], patch: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunks and blocks (C, ...) of a float32 array by the scheme described above."""
    block = [2 ** math.ceil(math.log2(n)) for n in patch]
    while 4 * math.prod(block) > BLOCK_BYTES:
        axis = max(range(3), key=lambda a: (block[a] / patch[a], a))
        block[axis] //= 2
    chunk = list(block)
    while 4 * math.prod(chunk) < CHUNK_BYTES:
        axis = min((a for a in range(3) if chunk[a] < shape[a]), key=lambda a: chunk[a] / block[a])
        grown = [min(n + block[a], shape[a]) if a == axis else n for a, n in enumerate(chunk)]
        if np.mean(np.divide(grown, patch)) > 1.5:
            break
        chunk = grown
    return (1, *chunk), (1, *block)


def write_nnunet(values: np.ndarray, path: Path, codec: str) -> blosc2.NDArray:
    """nnU-Net's store of an image, opened as its training opens it."""
    chunks, blocks = nnunet_layout(values.shape, (PATCH,) * 3)
    kind, level = CODECS[codec]
    cparams = {"codec": kind, "clevel": level, "nthreads": 1}
    blosc2.asarray(values[None], urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=cparams)
    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})


def store(values: np.ndarray, path: Path) -> tuple[StoredCase, str]:
    """Our store of an image, with body and labels, and its SHA-256."""
    everywhere = np.ones(values.shape, bool)
    images, body, labels = {"ct": values}, values > -500, (values > 400).astype(np.uint8)
    digest = write_slices(path, images=images, presence={"ct": everywhere}, body=body, labels=labels)
    return open_slices(path, sha256=digest), digest


def whole_file_nibabel(path: Path, start: tuple[int, int, int]) -> np.ndarray:
    """A patch by reading the file with nibabel and cropping."""
    x, y, z = start
    return np.asarray(nibabel.load(path).dataobj)[x : x + PATCH, y : y + PATCH, z : z + PATCH].astype(np.float32)


def whole_file_sitk(path: Path, start: tuple[int, int, int]) -> np.ndarray:
    """A patch by reading the file with SimpleITK and cropping."""
    x, y, z = start
    image = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayViewFromImage(image)[z : z + PATCH, y : y + PATCH, x : x + PATCH]
    return values.transpose(2, 1, 0).astype(np.float32)


def nnunet_patch(stored: blosc2.NDArray, start: tuple[int, int, int]) -> np.ndarray:
    """A patch of nnU-Net's store."""
    x, y, z = start
    return stored[0, x : x + PATCH, y : y + PATCH, z : z + PATCH]


def our_patch(stored: StoredCase, start: tuple[int, int, int]) -> np.ndarray:
    """A patch of our store."""
    return stored.patch(start, (PATCH,) * 3).images[0]


def timed_reads(read: Callable[..., object], places: list, *, repeats: int = REPEATS) -> Timing:
    """Milliseconds per read: the fastest (and the median) of the repeats at every place, averaged over the places."""
    took = np.array([timed(partial(read, place), repeats=repeats).all for place in places]) * 1000
    return Timing(took.min(axis=1).mean(), float(np.median(took, axis=1).mean()), tuple(took.mean(axis=0)))


def patch_rows(values: np.ndarray, kind: str, folder: Path, starts: Starts) -> list[Row]:
    """Patches of one image, ours against everyone's."""
    ours, digest = store(values, folder / f"{kind}.b2nd")
    raw = folder / f"{kind}.nii.gz"
    on_disk = values.astype(np.int16) if kind == "whole" else values
    nibabel.save(nibabel.Nifti1Image(on_disk, np.eye(4)), raw)
    mean, sd, step = values.mean(dtype=np.float64), values.std(dtype=np.float64), float(ours.steps[0])
    zscores = ((values - mean) / sd).astype(np.float32)
    peers = {f"nibabel {nibabel.__version__}, .nii.gz": (partial(whole_file_nibabel, raw), 1.0, 0.0, raw, 100)}
    peers[f"SimpleITK {SimpleITK.__version__}, .nii.gz"] = (partial(whole_file_sitk, raw), 1.0, 0.0, raw, 100)
    for codec in CODECS:
        path = folder / f"{kind} {codec}.b2nd"
        peers[NNUNET.format(codec)] = (partial(nnunet_patch, write_nnunet(zscores, path, codec)), sd, mean, path, 2)
    values_kind = "whole HU" if kind == "whole" else "resampled, not whole HU"
    rows = []
    for peer, (read, scale, offset, path, goal) in peers.items():
        slow = goal == 100
        mine = timed_reads(partial(our_patch, ours), starts)
        theirs = timed_reads(read, starts[:2] if slow else starts, repeats=5 if slow else REPEATS)
        off = max(float(np.abs(our_patch(ours, s) - (read(s) * scale + offset)).max()) for s in starts[:4])
        rows.append(
            compared(
                f"patch of {kind} HU, {peer.split(',')[0]}{' ' + peer.split(', ')[-1] if goal == 2 else ''}",
                f"random 96³ patch of a 256³ CT, {values_kind}, as float32",
                mine,
                theirs,
                unit="ms",
                peer=peer,
                goal=f"ratio >= {goal}",
                agrees=off <= step / 2 * (kind != "whole") + 0.001,
                how_agrees=f"largest difference {off:.4f} HU, half a step is {step / 2 * (kind != 'whole'):.4f} HU",
                notes=f"warm page cache, one thread; ours was compared with its SHA-256 when opened; sizes "
                f"{size_mb(folder / f'{kind}.b2nd')} (with body and labels) and {size_mb(path)}",
            )
        )
    return [*rows, *integrity_rows(ours, folder / f"{kind}.b2nd", digest, kind, starts)]


def integrity_rows(ours: StoredCase, path: Path, digest: str, kind: str, starts: Starts) -> list[Row]:
    """What it costs to know that the file is whole: at opening, or chunk by chunk."""
    chunks = ours.array.schunk
    content = path.read_bytes()
    at_opening = timed(lambda: open_slices(path, sha256=digest), repeats=REPEATS)
    by_chunk = timed(lambda: [zlib.crc32(chunks.get_chunk(n)) for n in range(chunks.nchunks)], repeats=REPEATS)
    return [
        compared(
            f"opening with SHA-256, {kind} HU",
            f"open a case of {size_mb(path)} and compare the whole file, once per run",
            at_opening,
            timed(lambda: zlib.crc32(content), repeats=REPEATS),
            peer="CRC-32 of the same bytes in memory",
            notes=f"CRC-32 of every chunk, one by one: {by_chunk.min_s * 1000:.1f} ms in all; {len(starts)} patches "
            "touch nearly every chunk, so checking at first touch would save little, and fail late",
        )
    ]


def slice_rows(values: np.ndarray, folder: Path) -> list[Row]:
    """Whole axial slices, as 2-D training reads them, against the store as it was, one float32 chunk per slice."""
    ours, _ = store(values, folder / "slices.b2nd")
    before = np.stack([values, np.ones_like(values), values > -500, values > 400]).transpose(3, 0, 1, 2)
    path = folder / "before.b2nd"
    cparams = {"codec": blosc2.Codec.ZSTD, "clevel": 3, "nthreads": 1}
    blosc2.asarray(
        np.ascontiguousarray(before), urlpath=str(path), mode="w", chunks=(1, 4, SIZE, SIZE), cparams=cparams
    )
    theirs = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    nnunet = write_nnunet(values, folder / "nnunet.b2nd", "LZ4")
    places = np.random.default_rng(3).integers(0, SIZE, DRAWS).tolist()
    off = max(float(np.abs(ours.images(z)[0] - theirs[z][0]).max()) for z in places[:5])
    shared = {
        "unit": "ms",
        "agrees": off <= float(ours.steps[0]) / 2 + 0.001,
        "how_agrees": f"largest difference {off:.4f} HU, half a step is {ours.steps[0] / 2:.4f} HU",
        "notes": f"sizes: ours with masks {size_mb(folder / 'slices.b2nd')}, before {size_mb(path)}, nnU-Net's image "
        f"alone {size_mb(folder / 'nnunet.b2nd')}",
    }
    what = "axial slice of a 256³ CT, resampled, as float32"
    mine = timed_reads(ours.images, places)
    return [
        compared(
            "axial slice, store as it was",
            what,
            mine,
            timed_reads(lambda z: theirs[z][:1], places),
            peer="our float32 store of one Zstandard chunk per slice, before",
            goal="ratio >= 1",
            **shared,
        ),
        compared(
            "axial slice, nnU-Net LZ4",
            what,
            mine,
            timed_reads(lambda z: nnunet[0, :, :, z], places),
            peer=NNUNET.format("LZ4"),
            **shared,
        ),
    ]


def training_rows(values: np.ndarray, folder: Path) -> list[Row]:
    """Batches as training draws them: 16 patches of 128 x 128 with presence and reference, normalized."""
    ours, _ = store(values, folder / "training.b2nd")
    index = index_slices([("A", ours)], dataset="d", regions={"bone": [1]})
    settings = {"ct": {"kind": "ct", "normalization": {"method": "window", "low": -160, "high": 240}}}
    case = PreparedCase("A", ours, {"ct": {"mean": 0.0, "sd": 1.0}}, np.eye(4))
    drawing = {"modalities": settings, "outputs": Outputs("regions", {"bone": [1]}), "patch": (128, 128, 1)}
    drawing |= {"slicewise": True, "foreground_share": 0.5}
    sampler = PatchSampler({"A": case}, index, **drawing)
    took = timed(lambda: sampler.draw(16, np.random.default_rng(0)), repeats=REPEATS)
    many = pd.concat([index.assign(case=f"A{n}") for n in range(1000)], ignore_index=True)
    cases = {f"A{n}": case for n in range(1000)}
    large = PatchSampler(cases, many, **drawing)
    slow = timed(lambda: large.draw(16, np.random.default_rng(0)), repeats=REPEATS)
    return [
        Row(
            "slices drawn for training",
            "batch of 16 slice patches of 128 x 128, normalized, with presence and reference",
            16 / took.min_s,
            "slices/s",
            ours_median=16 / took.median_s,
            repeats=REPEATS,
        ),
        compared(
            "a batch from 1,000 cases",
            "the same batch out of a cohort of 1,000 cases and of one",
            slow,
            took,
            peer="one case",
            ratio=slow.min_s / took.min_s,
            goal="ratio <= 1.1",
        ),
    ]


def size_mb(path: Path) -> str:
    """Size of a file in MB, in words."""
    return f"{path.stat().st_size / 1e6:.1f} MB"


def main() -> None:
    """Run all."""
    began = time.perf_counter()
    blosc2.set_nthreads(1)
    whole = ct_like(seed=0)
    moved = resampled(whole)
    draw = np.random.default_rng(1)
    starts = [tuple(map(int, draw.integers(0, SIZE - PATCH, 3))) for _ in range(DRAWS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = patch_rows(moved, "resampled", folder, starts) + patch_rows(whole, "whole", folder, starts)
        rows += slice_rows(moved, folder) + training_rows(moved, folder)
    write("patches", rows)
    print(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
