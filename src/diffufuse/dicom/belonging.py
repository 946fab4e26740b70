"""Whether the series of a case are of one person, and whether two of them lie in one frame.

Identifiers are compared and never shown: a message names series by their modality, imaging terms and folder.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pydicom

from diffufuse.dicom.choice import listed
from diffufuse.dicom.elements import items_of, text_of
from diffufuse.dicom.series import Series, first_header
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

SPECIFIC_SEX = ("M", "F")  # the others, and U, A and N of HL7, say that it is not known or not told
NO_DATE = "0"  # of which a date consists where a writer fills the field and knows none


@dataclass(frozen=True)
class Origin:
    """Whose a series is, and from which examination.

    Attributes:
        patient: PatientID, empty where there is none.
        issuer: of the PatientID, empty where there is none, as planning systems drop it.
        born: date of birth, empty where there is none.
        sex: M or F, empty where there is none or another.
        study: StudyInstanceUID.
        frame: FrameOfReferenceUID, empty where there is none.
    """

    patient: str
    issuer: str
    born: str
    sex: str
    study: str
    frame: str

    def contradicts(self, other: "Origin") -> bool:
        """Return whether two series cannot be of one person, or nothing says that they are.

        A PatientID beside a missing one says nothing, unless both series are of one study. Two that are missing are
        taken for removed. An issuer beside a missing one says nothing: archives add it, planning systems drop it.
        """
        if self.study and self.study == other.study and not (self.patient and other.patient):
            return self._differs(other)
        return self.patient != other.patient or self._differs(other)

    def _differs(self, other: "Origin") -> bool:
        pairs = ((self.issuer, other.issuer), (self.born, other.born), (self.sex, other.sex))
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


def origin_of(series: Series) -> Origin:
    """Return the origin of a series, by its first file.

    Raises:
        BadInput: a tag cannot be decoded.
    """
    header, path = first_header(series), series.files[0]
    patient, issuer, born, sex, study = (
        text_of(header, keyword, path).strip()
        for keyword in ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID")
    )
    return Origin(
        patient=patient,
        issuer=issuer if patient else "",
        born=born if born.strip(NO_DATE) else "",
        sex=sex if sex in SPECIFIC_SEX else "",
        study=study,
        frame=series.frame_of_reference,
    )


def require_one_patient(series: Mapping[str, Series]) -> None:
    """Raise if series are not of one person by PatientID, date of birth and sex.

    Args:
        series: name of each, such as its modality, to the series.

    Raises:
        BadInput: two contradict each other.
    """
    origins = {name: origin_of(one) for name, one in series.items()}
    if len(series) > 1 and not any(origin.patient for origin in origins.values()):
        log.warning("%s: no series has a PatientID.", next(iter(series.values())).files[0].parent)
    names = list(series)
    for index, name in enumerate(names):
        for other in names[:index]:
            if origins[name].contradicts(origins[other]):
                raise BadInput(
                    f"{both(series[other], series[name])}: expected {other} and {name} of one patient, but PatientID, "
                    "its issuer, date of birth or sex differ or are missing in one; remove the series that is not this "
                    "patient's."
                )


def log_strangers(candidates: Sequence[Series], chosen: Iterable[Series]) -> None:
    """Warn of series in a case's folder that are not of the patient whose series were chosen."""
    mine = {series.uid: origin_of(series) for series in chosen}
    strangers = [
        series
        for series in candidates
        if series.uid not in mine and any(origin_of(series).contradicts(origin) for origin in mine.values())
    ]
    if strangers:
        log.warning(
            "%s: left over, and of another patient or of none: %s.", candidates[0].files[0].parent, listed(strangers)
        )


def same_frame(first: Series, second: Series) -> bool:
    """Return whether two series have one frame of reference, which both name."""
    return bool(first.frame_of_reference) and first.frame_of_reference == second.frame_of_reference


def require_frames_in_studies(series: Mapping[str, Series], *, aligned: Sequence[str]) -> None:
    """Raise if a frame of reference is shared by series of two studies, and nobody says why.

    Args:
        series: modality to its series.
        aligned: the modalities of which the block says that they are aligned.

    Raises:
        BadInput: two series have one frame and two studies.
    """
    names = list(series)
    for index, name in enumerate(names):
        for other in names[:index]:
            one, two = series[other], series[name]
            stated = name in aligned or other in aligned
            if same_frame(one, two) and origin_of(one).study != origin_of(two).study and not stated:
                raise BadInput(
                    f"{both(one, two)}: expected {other} and {name}, which name one frame of reference, of one study, "
                    "but their studies differ; remove the series of the other examination, or let one follow the "
                    "other and say in `aligned` how it is known that they lie on each other."
                )


def require_drawn_on(annotation: Series, image: Series, *, name: str, other_study: bool = False) -> None:
    """Raise if a structure set or segmentation was not drawn on the given image series.

    Args:
        annotation: of modality RTSTRUCT or SEG.
        image: the series on which its regions are said to be drawn.
        name: modality of that series, for messages.
        other_study: whether it is known that the annotation is filed in, or names, another study than its image.

    Raises:
        BadInput: patients or studies differ, or the annotation refers to other series alone.

    Source:
        DICOM PS3.3 C.8.8.5 (Referenced Frame of Reference Sequence), C.12.4 (Common Instance Reference).
    """
    require_one_patient({name: image, "the annotation": annotation})
    where, studies = both(image, annotation), _studies_referred_to(annotation)
    referred = _series_referred_to(annotation)
    if referred and image.uid not in referred:
        raise BadInput(
            f"{where}: expected the annotation of {name}, but it refers to another series; set `drawn_on` to the "
            "modality that it was drawn on, or choose another annotation."
        )
    study = origin_of(image).study
    elsewhere = origin_of(annotation).study != study or (studies and study not in studies)
    if elsewhere and not other_study:
        raise BadInput(
            f"{where}: expected the annotation in the study of {name}, got it in another; choose the one of this "
            "study, or say in `annotation.other_study` why it is filed elsewhere."
        )


def both(first: Series, second: Series) -> str:
    """Return two series with their folders, for messages."""
    one, two = first.files[0].parent, second.files[0].parent
    beside = f"{two}, " if two != one else ""
    return f"{one}, {listed([first])}, and {beside}{listed([second])}"


def _series_referred_to(annotation: Series) -> set[str]:
    """Return the SeriesInstanceUIDs that an annotation names: those of its contours or of its source images."""
    path = annotation.files[0]
    series = [
        series
        for study in _studies_of_contours(annotation)
        for series in items_of(study, "RTReferencedSeriesSequence", path)
    ]
    others = _items(annotation, "StudiesContainingOtherReferencedInstancesSequence")
    series += _items(annotation, "ReferencedSeriesSequence")
    series += [series for study in others for series in items_of(study, "ReferencedSeriesSequence", path)]
    return {text_of(one, "SeriesInstanceUID", path) for one in series} - {""}


def _studies_referred_to(annotation: Series) -> set[str]:
    path = annotation.files[0]
    return {text_of(study, "ReferencedSOPInstanceUID", path) for study in _studies_of_contours(annotation)} - {""}


def _studies_of_contours(annotation: Series) -> list[pydicom.Dataset]:
    frames = _items(annotation, "ReferencedFrameOfReferenceSequence")
    return [study for frame in frames for study in items_of(frame, "RTReferencedStudySequence", annotation.files[0])]


def _items(annotation: Series, keyword: str) -> list[pydicom.Dataset]:
    """Return the items of a sequence, decoded apart: readers of contours check their file before it is decoded."""
    header, apart = first_header(annotation), pydicom.Dataset()
    element = header.get_item(keyword, keep_deferred=True)
    if element is not None:
        apart[element.tag] = element
    return items_of(apart, keyword, annotation.files[0])
