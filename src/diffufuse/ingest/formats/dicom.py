"""Read DICOM datasets: one folder per case, series chosen by rules on their tags."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from diffufuse.dicom.choice import Chosen, choice_report, choose_series
from diffufuse.dicom.image_planes import image_planes
from diffufuse.dicom.series import Series, find_series, read_stack, sidecar_of
from diffufuse.dicom.structures import painted, read_masks
from diffufuse.dicom.suv import read_suv
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume

FOLDER = re.compile("[A-Za-z0-9_-]+")


def find_cases(raw: Path, block: Mapping[str, Any]) -> list[str]:
    """Return the names of the case folders in the raw folder, sorted, with `-` for `_`."""
    folders = [path.name for path in raw.iterdir() if path.is_dir() and FOLDER.fullmatch(path.name)]
    names = sorted(name.replace("_", "-") for name in folders)
    if len(set(names)) < len(names):
        raise BadInput(f"{raw}: expected folders whose names differ by more than `_` and `-`; rename one.")
    return names


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "DicomCase":
    """Open the series of one case; each header is read once.

    Args:
        raw: the raw folder, with one folder per case.
        case: name of the case.
        block: settings of the dataset: every modality has `kind` and `series`, a list of rules for `dicom.choice`;
            `annotation` has `drawn_on`, the modality in whose frame the contours lie, `series`, `rois` (label to
            pattern, or to `pattern` and `several: union`; later labels overwrite earlier ones) and `optional`.

    Raises:
        BadInput: the folder is missing, or contains no readable DICOM.
    """
    folders = [path for path in sorted(raw.glob(case.replace("-", "[-_]"))) if path.is_dir()]
    if not folders:
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return DicomCase(folders[0], block, tuple(find_series(folders[0])))


@dataclass(frozen=True)
class DicomCase:
    """The series of one case.

    Attributes:
        folder: folder of the case.
        block: settings of the dataset.
        series: all series in the folder.
    """

    folder: Path
    block: Mapping[str, Any]
    series: tuple[Series, ...]

    @property
    def files(self) -> list[Path]:
        """All files that may be read."""
        return sorted(path for series in self.series for path in series.files)

    def owns(self, path: str) -> bool:
        """Return whether a path below the raw folder is in the folder of this case."""
        return path.startswith(f"{self.folder.name}/")

    @cached_property
    def chosen(self) -> dict[str, Chosen | None]:
        """Modality to the series chosen by its rules; None where none matches, unless it is the reference."""
        reference = self.block["reference"]
        return {
            name: choose_series(self.series, settings["series"], required=name if name == reference else None)
            for name, settings in self.block["modalities"].items()
        }

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Table rows of the series chosen for each modality, and of the remaining series."""
        return choice_report(self.series, self.chosen)

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """Read an image in HU, SUV or MR intensity; None where no series is chosen."""
        choice, settings = self.chosen[modality], self.block["modalities"][modality]
        if choice is None:
            return None
        reader = read_suv if settings["kind"] == "pet" else read_stack
        stack = reader(choice.series, fill_gaps=settings.get("fill_gaps", 0))
        sequence = {"sequence": choice.sequence} if choice.sequence else {}
        return stack.volume, {**sidecar_of(choice.series), **stack.facts, **sequence}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Read the labels on the reference grid, from the structure set or segmentation chosen by the rules.

        Raises:
            BadInput: none matches, a required region is missing or does not fit the grid, or later labels hide one.
        """
        settings = self.block["annotation"]
        drawn_on = self.chosen[settings["drawn_on"]]
        if drawn_on is None:
            raise BadInput(f"{self.folder}: expected {settings['drawn_on']}, on which the contours are; add it.")
        annotation = choose_series(self.series, settings["series"], required="the annotation")
        regions = read_masks(
            cast(Chosen, annotation).series,
            settings["rois"],
            reference,
            frame_of_reference=drawn_on.series.frame_of_reference,
            optional=settings.get("optional", ()),
            images=image_planes(drawn_on.series),
        )
        return painted(regions.masks, self.block["labels"], reference, self.folder), regions.facts
