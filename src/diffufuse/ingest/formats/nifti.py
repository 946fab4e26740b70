"""Read NIfTI datasets: files are selected by the path patterns of `formats.patterns`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.errors import BadInput, printable
from diffufuse.files.names import first_of
from diffufuse.ingest.formats.listing import Listing, case_name, listing_of
from diffufuse.ingest.formats.patterns import case_in, find_file, find_sources
from diffufuse.space.affines import farthest_mm
from diffufuse.space.volumes import Volume, read_labels, read_volume, same_grid

LATTICE_TOLERANCE = 0.1  # of a voxel
SAME_SPACING = 1e-4


def list_cases(raw: Path, block: Mapping[str, Any]) -> Listing:
    """List the cases with an image of the reference modality, and what stands beside them without one.

    Raises:
        BadInput: there is no case, two would get the same name, or something in the raw folder cannot be read.
    """
    sources, left_out = find_sources(raw, block)
    expected = " or ".join(block["modalities"][block["reference"]]["file"])
    return listing_of(raw, sources, left_out, expected=f"files like {expected}")


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "NiftiCase":
    """Open the files of one case.

    Args:
        raw: the raw folder.
        case: name of the case.
        block: settings of the dataset: every modality has `file`, a list of patterns, and optionally `channel`, the
            index in a 4-D file; `annotation` has `file` and `values`, label values in the file to names in `labels`.

    Raises:
        BadInput: the case has no image, or two files match one pattern.
    """
    images = {name: find_file(raw, case, settings["file"]) for name, settings in block["modalities"].items()}
    labels = find_file(raw, case, block["annotation"]["file"])
    if not any(images.values()):
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return NiftiCase(raw, case, block, {name: path for name, path in images.items() if path}, labels)


def identities(raw: Path, case: str, block: Mapping[str, Any]) -> frozenset[str]:
    """Return nothing: headers of NIfTI do not say whose they are."""
    return frozenset()


def case_of_image(path: str, block: Mapping[str, Any]) -> str | None:
    """Return the case of whose images a path below the raw folder is one; labels may be equal, as empty ones are."""
    patterns = [pattern for settings in block["modalities"].values() for pattern in settings["file"]]
    return next((case_name(text) for pattern in patterns if (text := case_in(pattern, path))), None)


@dataclass(frozen=True)
class NiftiCase:
    """The files of one case.

    Attributes:
        raw: the raw folder.
        case: name of the case.
        block: settings of the dataset.
        images: modality to its file; several modalities may share a 4-D file.
        annotation: the file of the labels, or None.
    """

    raw: Path
    case: str
    block: Mapping[str, Any]
    images: Mapping[str, Path]
    annotation: Path | None

    @property
    def files(self) -> list[Path]:
        """All files that may be read."""
        return sorted({*self.images.values(), *([self.annotation] if self.annotation else [])})

    def owns(self, path: str) -> bool:
        """Return whether a path below the raw folder matches a pattern of this case's images or labels."""
        settings = [*self.block["modalities"].values(), self.block["annotation"]]
        texts = {case_in(pattern, path) for setting in settings for pattern in setting["file"]}
        return any(text is not None and case_name(text) == self.case for text in texts)

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Table rows of the file of each modality; empty where there is none."""
        files = {name: self.images.get(name) for name in self.block["modalities"]}
        return [{"modality": name, "file": printable(path.name) if path else ""} for name, path in files.items()]

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """Read an image, float32, slope and intercept applied; None where the case lacks the modality."""
        if modality not in self.images:
            return None
        volume = read_volume(self.images[modality], channel=self.block["modalities"][modality].get("channel"))
        return volume.with_array(volume.array.astype(np.float32)), {}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Read the labels on the reference grid, with the values of `labels`.

        Raises:
            BadInput: the file is missing, lies a tenth of a voxel or more beside the reference, or has a value that is
                not whole or not in `values`.
        """
        path = self.annotation
        if path is None:
            expected = " or ".join(self.block["annotation"]["file"])
            raise BadInput(f"{self.raw}, case {self.case}: expected labels at {expected}, but found none; add them.")
        labels = read_labels(path)
        if not _on_voxels(labels, reference):
            raise BadInput(
                f"{path}: expected labels on the grid of {self.block['reference']}, {reference.shape}, got "
                f"{labels.shape} or another place; export the labels on the image's grid."
            )
        place = labels if same_grid(labels, reference) else reference
        return place.with_array(renumbered(labels.array, self.block, path)), {}


def _on_voxels(labels: Volume, reference: Volume) -> bool:
    """Return whether labels lie on the voxels of an image; programs that round a rotation turn them a little."""
    if labels.shape != reference.shape or not np.allclose(labels.spacing_mm, reference.spacing_mm, rtol=SAME_SPACING):
        return False
    apart_mm = farthest_mm(reference.shape, labels.affine, reference.affine)
    return apart_mm < LATTICE_TOLERANCE * min(reference.spacing_mm)


def renumbered(array: np.ndarray, block: Mapping[str, Any], path: Path) -> np.ndarray:
    """Map the label values of a file to those of the dataset.

    Args:
        array: integers of any type.
        block: settings of the dataset, with `annotation.values` (value in the file to name) and `labels` (name to
            value).
        path: the file, for messages.

    Returns:
        uint8; 0 stays background.

    Raises:
        BadInput: a value is not in the table, or two values of the file have the same label.
    """
    mapping = {0: 0} | {int(number): block["labels"][name] for number, name in block["annotation"]["values"].items()}
    values = np.unique(array)
    unknown = [str(number) for number in values if number not in mapping]
    if unknown:
        raise BadInput(
            f"{path}: expected the label values {', '.join(map(str, mapping))}, got also "
            f"{first_of(unknown)}; add them to annotation.values in datasets.yaml or correct the file."
        )
    labels = [mapping[int(number)] for number in values]
    if len(set(labels)) < len(labels):
        raise BadInput(
            f"{path}: expected one number per label, but the values {', '.join(map(str, values))} name one "
            "label twice; the file mixes two releases of the dataset."
        )
    renumbered_array = np.zeros(array.shape, np.uint8)
    for number, label in zip(values, labels, strict=True):
        renumbered_array[array == number] = label
    return renumbered_array
