"""Images and contours as a hospital's DICOM: one folder per case, its series chosen by rules on their tags."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from diffufuse.dicom.choice import Chosen, choice_report, choose_series
from diffufuse.dicom.series import Series, find_series, read_stack, sidecar_of
from diffufuse.dicom.structures import read_masks
from diffufuse.dicom.suv import read_suv
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume

FOLDER = re.compile("[A-Za-z0-9_-]+")


def find_cases(raw: Path, block: Mapping[str, Any]) -> list[str]:
    """Names of the cases: the folders in the raw folder, sorted; a source's `_` is our `-`."""
    folders = [path.name for path in raw.iterdir() if path.is_dir() and FOLDER.fullmatch(path.name)]
    names = sorted(name.replace("_", "-") for name in folders)
    if len(set(names)) < len(names):
        raise BadInput(f"{raw}: expected folders whose names differ by more than `_` and `-`; rename one.")
    return names


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "DicomCase":
    """The series of one case, each header read once.

    Args:
        raw: the source's folder, with one folder per case.
        case: name of the case.
        block: of the dataset: every modality has `kind` and `series`, a list of rules as `dicom.choice` reads them;
            `annotation` has `drawn_on`, the modality in whose frame the contours lie, `series`, `rois` (label to
            pattern, in painting order: a later one lies on an earlier) and `optional`.

    Raises:
        BadInput: there is no such folder, or it holds no readable DICOM.
    """
    folders = [path for path in sorted(raw.glob(case.replace("-", "[-_]"))) if path.is_dir()]
    if not folders:
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return DicomCase(folders[0], block, tuple(find_series(folders[0])))


@dataclass(frozen=True)
class DicomCase:
    """The series of one case.

    Attributes:
        folder: of the case.
        block: of the dataset.
        series: all that the folder holds.
    """

    folder: Path
    block: Mapping[str, Any]
    series: tuple[Series, ...]

    @property
    def files(self) -> list[Path]:
        """Every file that may be read."""
        return sorted(path for series in self.series for path in series.files)

    def owns(self, path: str) -> bool:
        """Whether a path below the raw folder is of this case: in its folder."""
        return path.startswith(f"{self.folder.name}/")

    @cached_property
    def chosen(self) -> dict[str, Chosen | None]:
        """Modality to the one series that its rules choose; None where none does, unless it is the reference."""
        reference = self.block["reference"]
        return {
            name: choose_series(self.series, settings["series"], required=name if name == reference else None)
            for name, settings in self.block["modalities"].items()
        }

    @property
    def choice(self) -> list[dict[str, Any]]:
        """What was chosen for every modality, and which series were left, one row each."""
        return choice_report(self.series, self.chosen)

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """An image in HU, SUV or MR intensity; None where no series is chosen."""
        found, settings = self.chosen[modality], self.block["modalities"][modality]
        if found is None:
            return None
        read = read_suv if settings["kind"] == "pet" else read_stack
        stack = read(found.series, fill_gaps=settings.get("fill_gaps", 0))
        sequence = {"sequence": found.sequence} if found.sequence else {}
        return stack.volume, {**sidecar_of(found.series), **stack.facts, **sequence}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Labels on the reference image's grid, from the one structure set or segmentation that the rules choose.

        Raises:
            BadInput: there is none, or a region that is not optional cannot be found or placed.
        """
        wanted = self.block["annotation"]
        drawn_on = self.chosen[wanted["drawn_on"]]
        if drawn_on is None:
            raise BadInput(f"{self.folder}: expected {wanted['drawn_on']}, on which the contours are; add it.")
        found = choose_series(self.series, wanted["series"], required="the annotation")
        read = read_masks(
            cast(Chosen, found).series,
            wanted["rois"],
            reference,
            frame_of_reference=drawn_on.series.frame_of_reference,
            optional=wanted.get("optional", ()),
        )
        labels = np.zeros(reference.shape, np.uint8)
        for label in wanted["rois"]:
            if label in read.masks:
                labels[read.masks[label]] = self.block["labels"][label]
        return reference.with_array(labels), read.facts
