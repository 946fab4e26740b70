"""Write volumes and contours as DICOM PET, CT and MR series and structure sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
)

from diffufuse.phantom.dicom_headers import (
    Injection,
    Polygon,
    SeriesHeader,
    Written,
    common_header,
    dataset,
    date,
    decimal,
    time,
    uid_of,
)
from diffufuse.space.volumes import Volume

CT_INTERCEPT_HU = -1024
LARGEST = {"PT": 32767, "CT": 4095, "MR": 4095}
STORAGE = {"PT": PositronEmissionTomographyImageStorage, "CT": CTImageStorage, "MR": MRImageStorage}
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, which structure sets still refer to
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def write_ct(hu: Volume, folder: Path, series: SeriesHeader) -> Written:
    """Write a CT series, stored as unsigned 12-bit numbers with intercept -1024.

    Args:
        hu: HU; the third array axis is the slice axis, in the order of InstanceNumber.
        folder: receives one file per slice.
        series: header of the series.
    """
    stored = np.clip(np.rint(hu.array - CT_INTERCEPT_HU), 0, LARGEST["CT"]).astype(np.uint16)
    header = _image_header("CT", hu, series, bits_stored=12)
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.KVP = "120"
    header.RescaleType = "HU"
    header.RescaleIntercept, header.RescaleSlope = str(CT_INTERCEPT_HU), "1"
    return _write_slices(stored, hu, folder, series, header)


def write_mr(
    signal: Volume,
    folder: Path,
    series: SeriesHeader,
    *,
    repetition_ms: float,
    echo_ms: float,
    fat_saturated: bool,
    thickness_mm: float,
) -> Written:
    """Write an MR series, stored as unsigned 12-bit numbers without scaling.

    Args:
        signal: arbitrary units, 0 to 4095; the third array axis is the slice axis, in the order of InstanceNumber.
        folder: receives one file per slice.
        series: header of the series.
        repetition_ms: time between excitations.
        echo_ms: time from excitation to echo.
        fat_saturated: whether fat was saturated.
        thickness_mm: slice thickness; less than the slice spacing if there is a gap.
    """
    stored = np.clip(np.rint(signal.array), 0, LARGEST["MR"]).astype(np.uint16)
    header = _image_header("MR", signal, series, bits_stored=12)
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    header.ScanningSequence, header.SequenceVariant = "SE", "SK"
    header.ScanOptions = "FS" if fat_saturated else ""
    header.MRAcquisitionType = "2D"
    header.RepetitionTime, header.EchoTime = decimal(repetition_ms), decimal(echo_ms)
    header.EchoTrainLength = 1
    header.MagneticFieldStrength = "1.5"
    header.SliceThickness = decimal(thickness_mm)
    header.SpacingBetweenSlices = decimal(signal.spacing_mm[2])
    return _write_slices(stored, signal, folder, series, header)


def write_pet(activity: Volume, folder: Path, series: SeriesHeader, injection: Injection) -> Written:
    """Write a PET series in Bq/mL, decay-corrected to the start of the series, with a rescale slope per slice.

    Args:
        activity: Bq/mL at `series.start`; the third array axis is the slice axis, in the order of InstanceNumber.
        folder: receives one file per slice.
        series: header of the series.
        injection: dose and time of the injection.
    """
    header = _image_header("PT", activity, series, bits_stored=16)
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.SeriesType = ["STATIC", "IMAGE"]
    header.Units, header.CountsSource = "BQML", "EMISSION"
    header.DecayCorrection = "START"
    header.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    header.CollimatorType = "NONE"
    header.NumberOfSlices = activity.shape[2]
    header.FrameReferenceTime = "0"
    header.ActualFrameDuration = "240000"
    header.RescaleIntercept = "0"
    header.RadiopharmaceuticalInformationSequence = Items([_radiopharmaceutical(injection)])
    slopes = [decimal(max(float(plane.max()), 1.0) / LARGEST["PT"]) for plane in np.moveaxis(activity.array, 2, 0)]
    stored = np.clip(np.rint(activity.array / np.array(slopes, float)), 0, LARGEST["PT"]).astype(np.int16)
    rows = [{"RescaleSlope": slope, "ImageIndex": k} for k, slope in enumerate(slopes, start=1)]
    return _write_slices(stored, activity, folder, series, header, rows=rows)


def write_structures(
    regions: Mapping[str, Sequence[Polygon]], path: Path, series: SeriesHeader, *, drawn_on: Written
) -> None:
    """Write a structure set.

    A point belongs to a region if it lies inside an odd number of the region's polygons on its slice.

    Args:
        regions: region name to its polygons.
        path: output file.
        series: header of the structure set; its frame of reference must be that of the images.
        drawn_on: the image series on which the polygons are drawn.

    Raises:
        ValueError: the frames of reference differ.
    """
    if series.frame_uid != drawn_on.series.frame_uid:
        raise ValueError(f"series: expected frame {drawn_on.series.frame_uid}, got {series.frame_uid}")
    header = common_header("RTSTRUCT", RTStructureSetStorage, series)
    header.SOPInstanceUID = uid_of(series.series_uid, 1)
    header.StructureSetLabel = series.description
    header.StructureSetDate, header.StructureSetTime = date(series.start), time(series.start)
    header.ReferencedFrameOfReferenceSequence = Items([_referenced_frame(drawn_on)])
    header.StructureSetROISequence = Items(
        dataset(ROINumber=n, ReferencedFrameOfReferenceUID=series.frame_uid, ROIName=name, ROIGenerationAlgorithm="")
        for n, name in enumerate(regions, start=1)
    )
    header.ROIContourSequence = Items(
        dataset(
            ROIDisplayColor=[255, 60 * n, 0],
            ContourSequence=Items(_contour(polygon, drawn_on) for polygon in polygons),
            ReferencedROINumber=n,
        )
        for n, polygons in enumerate(regions.values(), start=1)
    )
    header.RTROIObservationsSequence = Items(
        dataset(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="GTV", ROIInterpreter="")
        for n, _ in enumerate(regions, start=1)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def _image_header(modality: str, volume: Volume, series: SeriesHeader, *, bits_stored: int) -> Dataset:
    """Return the header elements that are the same in all slices of an image series."""
    header = common_header(modality, STORAGE[modality], series)
    axes = RAS_TO_LPS @ volume.affine[:3, :3] / volume.spacing_mm
    header.AcquisitionDate = header.ContentDate = date(series.start)
    header.AcquisitionTime = header.ContentTime = time(series.start)
    header.BodyPartExamined = "EXTREMITY"
    header.PatientPosition = "HFS"
    header.PositionReferenceIndicator = ""
    header.ImageOrientationPatient = [decimal(part) for part in (*axes[:, 0], *axes[:, 1])]
    header.PixelSpacing = [decimal(volume.spacing_mm[1]), decimal(volume.spacing_mm[0])]
    header.SliceThickness = decimal(volume.spacing_mm[2])
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Columns, header.Rows = volume.shape[0], volume.shape[1]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, bits_stored, bits_stored - 1
    header.PixelRepresentation = int(modality == "PT")
    return header


def _write_slices(
    stored: np.ndarray,
    volume: Volume,
    folder: Path,
    series: SeriesHeader,
    header: Dataset,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
) -> Written:
    """Write one file per slice; `rows` has further elements that differ between slices."""
    folder.mkdir(parents=True, exist_ok=True)
    image_uids = tuple(uid_of(series.series_uid, k) for k in range(1, stored.shape[2] + 1))
    for k, uid in enumerate(image_uids):
        position_mm = RAS_TO_LPS @ (volume.affine @ [0, 0, k, 1])[:3]
        header.SOPInstanceUID = uid
        header.InstanceNumber = k + 1
        header.ImagePositionPatient = [decimal(part) for part in position_mm]
        header.SliceLocation = decimal(position_mm[2])
        for name, value in rows[k].items() if rows else ():
            setattr(header, name, value)
        header.PixelData = np.ascontiguousarray(stored[:, :, k].T).astype(stored.dtype.newbyteorder("<")).tobytes()
        header["PixelData"].VR = "OW"
        header.save_as(folder / f"{k + 1:03d}.dcm", enforce_file_format=True)
    return Written(series, header.SOPClassUID, image_uids)


def _radiopharmaceutical(injection: Injection) -> Dataset:
    return dataset(
        Radiopharmaceutical="FDG -- fluorodeoxyglucose",
        RadiopharmaceuticalStartTime=time(injection.time),
        RadiopharmaceuticalStartDateTime=date(injection.time) + time(injection.time),
        RadionuclideTotalDose=decimal(injection.dose_bq),
        RadionuclideHalfLife=decimal(injection.half_life_s),
        RadionuclidePositronFraction=decimal(injection.positron_fraction),
        RadionuclideCodeSequence=Items([_code("C-111A1", "SRT", "^18^Fluorine")]),
        RadiopharmaceuticalCodeSequence=Items([_code("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")]),
    )


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _referenced_frame(drawn_on: Written) -> Dataset:
    images = Items(_image_reference(drawn_on, k) for k in range(len(drawn_on.image_uids)))
    series = dataset(SeriesInstanceUID=drawn_on.series.series_uid, ContourImageSequence=images)
    study = dataset(
        ReferencedSOPClassUID=STUDY_COMPONENT,
        ReferencedSOPInstanceUID=drawn_on.series.study_uid,
        RTReferencedSeriesSequence=Items([series]),
    )
    return dataset(FrameOfReferenceUID=drawn_on.series.frame_uid, RTReferencedStudySequence=Items([study]))


def _contour(polygon: Polygon, drawn_on: Written) -> Dataset:
    points_mm = polygon.points_mm @ RAS_TO_LPS
    return dataset(
        ContourImageSequence=Items([_image_reference(drawn_on, polygon.slice_index)]),
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points_mm),
        ContourData=[f"{part:.3f}" for part in points_mm.ravel()],
    )


def _image_reference(written: Written, slice_index: int) -> Dataset:
    return dataset(ReferencedSOPClassUID=written.storage_uid, ReferencedSOPInstanceUID=written.image_uids[slice_index])
