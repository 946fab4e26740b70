"""Read DICOM datasets: one folder per case, series chosen by rules on their tags."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from diffufuse.dicom.belonging import (
    both,
    log_strangers,
    require_drawn_on,
    require_frames_in_studies,
    require_one_patient,
    same_frame,
)
from diffufuse.dicom.choice import Chosen, choice_report, choose_series
from diffufuse.dicom.elements import refusing
from diffufuse.dicom.file_names import named_like_dicom
from diffufuse.dicom.identities import identities_below
from diffufuse.dicom.image_planes import image_planes
from diffufuse.dicom.series import Series, find_series, read_stack, sidecar_of
from diffufuse.dicom.structures import painted, read_masks
from diffufuse.dicom.suv import read_suv
from diffufuse.errors import BadInput
from diffufuse.files.tree import entries_of, files_below
from diffufuse.ingest.formats.listing import Listing, case_name, listing_of, one_name_twice
from diffufuse.space.volumes import Volume


def list_cases(raw: Path, block: Mapping[str, Any]) -> Listing:
    """List the folders of the raw folder that hold files, each a case, and what else there is.

    Raises:
        BadInput: there is no case, or two would get the same name.
    """
    reasons = {entry.name: _reason_against(entry) for entry in entries_of(raw)}
    sources = [name for name, reason in reasons.items() if not reason]
    left_out = {name: reason for name, reason in reasons.items() if reason}
    return listing_of(raw, sources, left_out, expected="a folder for each case")


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "DicomCase":
    """Open the series of one case; each header is read once.

    Args:
        raw: the raw folder, with one folder per case.
        case: name of the case.
        block: settings of the dataset: every modality has `kind` and `series`, a list of rules for `dicom.choice`, and
            optionally `follows` with `aligned`, why it lies on the modality that it follows if headers do not say so,
            and `partial`, why its series has fewer slices than its headers say; `annotation` has `drawn_on`, the
            modality in whose frame the contours lie, `series`, `rois` (label to pattern, or to `pattern` and
            `several: union`; later labels overwrite earlier ones), `optional`, and
            `other_study`, why it is filed in a study of its own.

    Raises:
        BadInput: the folder is missing, contains no readable DICOM, or two folders are those of the case.
    """
    folder = _folder_of(raw, case)
    return DicomCase(folder, block, tuple(find_series(folder)))


def identities(raw: Path, case: str, block: Mapping[str, Any]) -> frozenset[str]:
    """Return what tells cases of one patient: PatientID and studies, of one header in each folder of the case."""
    return identities_below(_folder_of(raw, case))


def case_of_image(path: str, block: Mapping[str, Any]) -> str | None:
    """Return the case to which a path below the raw folder belongs, None for one that is no image by its name."""
    parts = Path(path).parts
    return case_name(parts[0]) if len(parts) > 1 and named_like_dicom(Path(path)) else None


def _folder_of(raw: Path, case: str) -> Path:
    folders = [Path(entry.path) for entry in entries_of(raw) if case_name(entry.name) == case and entry.is_dir()]
    if len(folders) > 1:
        raise one_name_twice(raw, [", ".join(folder.name for folder in folders)])
    if not folders:
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return folders[0]


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
        """Modality to the series chosen by its rules; None where none matches, unless it is the reference.

        Raises:
            BadInput: more than one series matches, the reference is missing, or the chosen series are not of one
                patient, or do not lie on each other as the block says.
        """
        reference = self.block["reference"]
        with refusing(self.folder):
            chosen = {
                name: choose_series(self.series, settings["series"], required=name if name == reference else None)
                for name, settings in self.block["modalities"].items()
            }
            self._require_together({name: choice.series for name, choice in chosen.items() if choice})
        return chosen

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Table rows of the series chosen for each modality, and of the remaining series."""
        with refusing(self.folder):
            return choice_report(self.series, self.chosen)

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """Read an image in HU, SUV or MR intensity; None where no series is chosen."""
        choice, settings = self.chosen[modality], self.block["modalities"][modality]
        if choice is None:
            return None
        reader = read_suv if settings["kind"] == "pet" else read_stack
        sequence = {"sequence": choice.sequence} if choice.sequence else {}
        with refusing(choice.series.files[0].parent):
            stack = reader(choice.series, fill_gaps=settings.get("fill_gaps", 0), partial=bool(settings.get("partial")))
            return stack.volume, {**sidecar_of(choice.series), **stack.facts, **sequence}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Read the labels on the reference grid, from the structure set or segmentation chosen by the rules.

        Raises:
            BadInput: none matches, it was not drawn on the image that the block names, that image lies in another frame
                than the reference, a required region is missing or does not fit the grid, or later labels hide one.
        """
        settings = self.block["annotation"]
        drawn_on = self.chosen[settings["drawn_on"]]
        if drawn_on is None:
            raise BadInput(f"{self.folder}: expected {settings['drawn_on']}, on which the contours are; add it.")
        with refusing(self.folder):
            annotation = cast(Chosen, choose_series(self.series, settings["series"], required="the annotation"))
            self._require_reference_frame(settings["drawn_on"], drawn_on.series)
            require_drawn_on(
                annotation.series,
                drawn_on.series,
                name=settings["drawn_on"],
                other_study=bool(settings.get("other_study")),
            )
            regions = read_masks(
                annotation.series,
                settings["rois"],
                reference,
                frame_of_reference=drawn_on.series.frame_of_reference,
                optional=settings.get("optional", ()),
                images=image_planes(drawn_on.series),
            )
        labels = painted(
            regions.masks, self.block["labels"], reference, self.folder, optional=settings.get("optional", ())
        )
        return labels, regions.facts

    def _require_together(self, series: Mapping[str, Series]) -> None:
        """Raise if series are of several patients, or one follows another without a frame of reference in common."""
        require_one_patient(series)
        log_strangers(self.series, series.values())
        require_frames_in_studies(series, aligned=[name for name in series if self._aligned(name)])
        for name, one in series.items():
            followed = series.get(self.block["modalities"][name].get("follows", ""))
            if followed is None or self._aligned(name) or same_frame(one, followed):
                continue
            other = self.block["modalities"][name]["follows"]
            raise BadInput(
                f"{both(followed, one)}: expected {name}, which follows {other}, in its frame of reference, but the "
                f"headers name another or none; let {name} follow none, so that it is registered, or say in its "
                "`aligned` how it is known that it lies there."
            )

    def _aligned(self, modality: str) -> bool:
        return bool(self.block["modalities"][modality].get("aligned"))

    def _require_reference_frame(self, name: str, drawn_on: Series) -> None:
        """Raise if the contours lie in another frame than the reference, whose grid receives them as they are."""
        reference = self.block["reference"]
        common = cast(Chosen, self.chosen[reference]).series
        follows = self._follows(name, reference) or self._follows(reference, name)
        if not follows and not same_frame(drawn_on, common):
            raise BadInput(
                f"{both(common, drawn_on)}: expected contours in the frame of the reference {reference}, but {name}, "
                f"on which they are drawn, lies in another or names none; set `reference` to {name} or a modality in "
                "its frame, so that the other images are registered to it."
            )

    def _follows(self, first: str, second: str) -> bool:
        """Return whether a modality follows another, over chosen modalities, each of which is checked by itself."""
        steps = list(self.chosen)
        while first != second and steps:
            followed = self.block["modalities"][first].get("follows", "")
            first = followed if self.chosen.get(followed) else ""
            steps = steps[1:] if first else []
        return first == second


def _reason_against(entry: os.DirEntry[str]) -> str:
    """Why an entry of the raw folder is no case; empty if it is one."""
    if not os.path.exists(entry.path):
        return "a link to nothing"
    if not entry.is_dir():
        return "a file beside the folders of cases"
    try:
        return "" if files_below(Path(entry.path)) else "a folder without a file"
    except BadInput as error:
        return str(error)
