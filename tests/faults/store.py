"""The store of prepared cases: damage, and images that 16 bits do not hold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffufuse.store.slices import StoredCase, open_slices, write_slices
from faults import Fault

SHAPE = (40, 36, 12)


def _image() -> np.ndarray:
    return np.random.default_rng(3).normal(100, 20, SHAPE).astype(np.float32)


def _write(folder: Path, image: np.ndarray) -> None:
    whole = np.ones(SHAPE, bool)
    digest = write_slices(
        folder / "case.b2nd", images={"t1": image}, presence={"t1": whole}, body=whole, labels=whole.astype(np.uint8)
    )
    (folder / "sha256").write_text(digest)


def _read(folder: Path) -> StoredCase:
    return open_slices(folder / "case.b2nd", sha256=(folder / "sha256").read_text())


def _damaged(damage: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _write(folder, _image())
        file = folder / "case.b2nd"
        file.write_bytes(damage(file.read_bytes()))

    return make


def _flipped(share: float) -> Callable[[Path], None]:
    def flip(content: bytes) -> bytes:
        place = int(share * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]

    return _damaged(flip)


def _with_value(value: float) -> Callable[[Path], object]:
    def write(folder: Path) -> object:
        image = _image()
        image[3, 4, 5] = value
        return _write(folder, image)

    return write


def _nothing(folder: Path) -> None:
    """The fault is in the values that are written."""


REFUSAL = r"missing or damaged; remove it and run snakemake again\.$"

FAULTS = [
    Fault("store: a byte flipped in the header", _flipped(0.0005), _read, REFUSAL),
    Fault("store: a byte flipped in the voxels", _flipped(0.5), _read, REFUSAL),
    Fault("store: a byte flipped in the index at the end", _flipped(0.9995), _read, REFUSAL),
    Fault("store: truncated to two thirds", _damaged(lambda content: content[: len(content) * 2 // 3]), _read, REFUSAL),
    Fault("store: followed by other bytes", _damaged(lambda content: content * 2), _read, REFUSAL),
    Fault("store: the file is not there", lambda folder: (folder / "sha256").write_text("0"), _read, REFUSAL),
    Fault("store: one voxel is not a number", _nothing, _with_value(np.nan), "1 that are not"),
    Fault("store: one voxel so far out that the others would lose their steps", _nothing, _with_value(1e9), "far out"),
    Fault(
        "store: values are read back within half a step",
        lambda folder: _write(folder, _image()),
        _read,
        right=lambda stored: bool(
            np.abs(stored.images(slice(None))[:, 0].transpose(1, 2, 0) - _image()).max() <= 0.501 * stored.steps[0]
        ),
    ),
]
