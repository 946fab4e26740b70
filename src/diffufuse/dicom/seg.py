"""Read DICOM segmentations as masks; frames are placed by their position, not by their number."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import Segmentation

from diffufuse.dicom.elements import refusing
from diffufuse.dicom.rasterizing import require_frame, require_own_stack
from diffufuse.dicom.region_names import plain_name, require_no_control, safe_name
from diffufuse.dicom.seg_frames import KIND, frame_segments, planes_of, segment_numbers
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

LATTICE_TOLERANCE = 0.1  # of a voxel
STEP_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Segments:
    """An open DICOM segmentation.

    Attributes:
        path: the file, for messages.
        file: the segmentation as read by highdicom.
        numbers: SegmentNumber of each segment, in file order.
        of_frames: SegmentNumber of each frame; empty in a label map, every frame of which holds all segments.
        planes: (4, 4), from pixel index (column, row, 0) to RAS coordinate, mm, of each frame.
    """

    path: Path
    file: Segmentation
    numbers: Sequence[int]
    of_frames: Sequence[int]
    planes: Sequence[np.ndarray]

    @property
    def labels(self) -> list[str]:
        """SegmentLabel of each segment, in file order; free text that may name a person."""
        return [plain_name(item.get("SegmentLabel")) for item in self.file.SegmentSequence]

    def name_of(self, index: int) -> str:
        """Return file and segment, for messages."""
        return f"{self.path}, segment {safe_name(self.labels[index])}"

    def mask_of(self, index: int, grid: Volume) -> tuple[Mask, int, int]:
        """Return the mask of one segment on an image's grid; slices without a frame are empty.

        Args:
            index: index of the segment in `labels`.
            grid: the image; the segment covers all or part of its voxel grid.

        Returns:
            (X, Y, Z), True inside; the number of frames used; and the number of slices left out between two in which
            the segment overlaps.

        Raises:
            BadInput: the segment lies on another voxel grid, extends outside the image, was drawn on a coarser stack,
                has two frames in one slice or fractional values, or its pixels are damaged.
        """
        name, frames = self.name_of(index), self._frames_of(index)
        mask, pixels = np.zeros(grid.shape, bool), self._pixels_of(frames, index)
        lattices = [_lattice(self.planes[frame], grid, name) for frame in frames]
        _require_one_each(lattices, name)
        filled = [k for k in range(len(frames)) if pixels[k].any()]
        for k in filled:
            mask[_voxels(pixels[k], lattices[k], grid, name)] = True
        if np.count_nonzero(mask) != np.count_nonzero(pixels):
            raise BadInput(
                f"{name}: expected a voxel for each of {np.count_nonzero(pixels)} pixels, got "
                f"{np.count_nonzero(mask)}; choose the image they were drawn on."
            )
        positions = {_slice_of(lattices[k]): float(lattices[k][_axis_of(lattices[k]), 3]) for k in filled}
        left_out = require_own_stack(name, mask, _axis_of(lattices[0]), positions) if filled else 0
        return mask, len(filled), left_out

    def _frames_of(self, index: int) -> list[int]:
        """Return the frame indices of a segment; in a label map, of all frames."""
        return [frame for frame in range(len(self.planes)) if self._holds(frame, index)]

    def _holds(self, frame: int, index: int) -> bool:
        return not self.of_frames or self.of_frames[frame] == self.numbers[index]

    def _pixels_of(self, frames: Sequence[int], index: int) -> np.ndarray:
        """Return the masks of frames, (frames, rows, columns)."""
        if not frames:
            return np.zeros((0, 0, 0), bool)
        with refusing(self.path, KIND):
            stored = self.file.get_stored_frames([frame + 1 for frame in frames])
        kind = str(self.file.SegmentationType)
        if kind == "LABELMAP":
            return stored == self.numbers[index]
        with refusing(self.path, KIND):
            full = int(self.file.MaximumFractionalValue) if kind == "FRACTIONAL" else 1
        if not np.isin(stored, (0, full)).all():
            raise BadInput(
                f"{self.name_of(index)}: expected voxels in or out, got a {kind} segment with values between; "
                "threshold it and save it as BINARY."
            )
        return stored == full


def open_segments(path: str | os.PathLike[str], *, frame_of_reference: str | None) -> Segments:
    """Open a DICOM segmentation.

    Args:
        path: a file of modality SEG.
        frame_of_reference: FrameOfReferenceUID of the image; None if unknown, which is accepted with a warning.

    Raises:
        BadInput: the file is not a readable segmentation, contradicts itself, or has another frame of reference.
    """
    path = Path(path)
    with refusing(path, KIND):
        file = highdicom.seg.segread(path)
        drawn_in = str(file.FrameOfReferenceUID)
    require_frame(str(path), drawn_in, frame_of_reference)
    of_frames = frame_segments(file, path)
    segments = Segments(path, file, segment_numbers(file, path), of_frames, planes_of(file, path))
    require_no_control(segments.labels, path, noun="segment labels")
    return segments


def _lattice(plane: np.ndarray, grid: Volume, name: str) -> np.ndarray:
    """Return the (3, 4) matrix from pixel index (column, row, 0) to the grid's continuous index."""
    matrix = (np.linalg.inv(grid.affine) @ plane)[:3]
    steps = np.sort(np.abs(matrix[:, :2]), axis=0)
    if np.abs(steps - [[0], [0], [1]]).max() > STEP_TOLERANCE:
        raise BadInput(
            f"{name}: expected segments on the image's voxels, but their pixels are turned or of another size; choose "
            "the image they were drawn on."
        )
    return matrix


def _voxels(pixels: np.ndarray, lattice: np.ndarray, grid: Volume, name: str) -> tuple[np.ndarray, ...]:
    """Return the voxel indices of a frame's pixels, as three arrays."""
    row, column = np.nonzero(pixels)
    exact = lattice @ np.array([column, row, np.zeros_like(row), np.ones_like(row)])
    index = np.round(exact).astype(int)
    off = float(np.abs(exact - index).max())
    if off > LATTICE_TOLERANCE:
        raise BadInput(
            f"{name}: expected segments on the image's voxels, but they lie up to {off:.2f} voxels beside them; choose "
            "the image they were drawn on."
        )
    if (index < 0).any() or (index >= np.array(grid.shape)[:, None]).any():
        raise BadInput(f"{name}: expected segments within the image, but they reach outside; choose their own image.")
    return tuple(index)


def _axis_of(lattice: np.ndarray) -> int:
    """Return the grid axis normal to a frame."""
    return int(np.abs(lattice[:, :2]).sum(axis=1).argmin())


def _slice_of(lattice: np.ndarray) -> int:
    """Return the slice index of a frame, along the grid axis normal to it."""
    return int(np.round(lattice[_axis_of(lattice), 3]))


def _require_one_each(lattices: Sequence[np.ndarray], name: str) -> None:
    """Raise if a segment has two frames in one slice, though one be empty."""
    slices = [_slice_of(lattice) for lattice in lattices]
    if len(set(slices)) < len(slices):
        raise BadInput(f"{name}: expected one frame in each slice, got two; separate the time points.")
