"""Faults of NIfTI headers: scaled values, units, places, types and sizes, for images and labels."""

import bz2
import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.ingest.formats import nifti
from diffufuse.space import nifti_file
from diffufuse.space.volumes import Volume, read_labels, read_volume, write_volume
from faults import Fault

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])
SHAPE = (6, 5, 4)
SPACING_MM = (2, 2, 3)
BLOCK = {
    "reference": "ct",
    "modalities": {"ct": {"kind": "ct", "file": ["{case}_ct.nii"]}},
    "annotation": {"file": ["{case}_seg.nii"], "values": {1: "mass", 2: "edema", 300: "far"}},
    "labels": {"mass": 1, "edema": 2, "far": 3},
}


def content_of(array, *, affine=LPS, codes=(1, 1), version=1, big=False, fields=None, **more):
    """The bytes of a file, with fields of the header overwritten; an array sets the first elements of a field."""
    image = (nib.Nifti1Image, nib.Nifti2Image)[version - 1](array, affine, dtype=array.dtype)
    image.set_qform(affine, code=codes[0])
    image.set_sform(affine, code=codes[1])
    if big:
        image = type(image)(array, affine, image.header.as_byteswapped(">"), dtype=array.dtype)
    content = bytearray(image.to_bytes())
    header = np.frombuffer(content, image.header.structarr.dtype, count=1)
    for name, value in {**(fields or {}), **more}.items():
        if header[name].ndim > 1:
            header[name][0][: len(value)] = value
        else:
            header[name] = value
    return bytes(content)


def numbers(kind="int16"):
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(kind)


def image(array=None, *, name="A_ct.nii", **more):
    """Write one file with this header."""

    def make(folder):
        content = content_of(numbers() if array is None else array, **more)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    return make


def labels(*values, kind="uint8", **more):
    """Write a CT and labels with these stored values and this header."""

    def make(folder):
        array = np.zeros(SHAPE, kind)
        array.flat[: len(values)] = values
        (folder / "A_ct.nii").write_bytes(content_of(numbers()))
        (folder / "A_seg.nii").write_bytes(content_of(array, **more))

    return make


def content(change, *, name="A_ct.nii", **more):
    """Write one file whose bytes are changed."""
    return lambda folder: (folder / name).write_bytes(change(content_of(numbers(), **more)))


def read_image(folder):
    return read_volume(next(path for path in folder.iterdir() if path.name.startswith("A_ct")))


def read_case(folder):
    case = nifti.open_case(folder, "A", BLOCK)
    return case.read_labels(case.read_image("ct")[0])[0].array


def read_exact_labels(folder):
    return set(np.unique(read_labels(folder / "A_seg.nii").array).tolist())


def values_are(expected):
    """Whether the first axes of the file, which run to the left and back, are turned and the values are these."""
    return lambda volume: bool(np.allclose(volume.array[::-1, ::-1], expected, rtol=1e-6, atol=0))


def spacing_is(*expected_mm):
    return lambda volume: bool(np.allclose(volume.spacing_mm, expected_mm, rtol=1e-6, atol=0))


def labels_are(*expected):
    return lambda array: set(np.unique(array).tolist()) == {0, *expected}


def in_unit(code, per_mm, **more):
    """Write the image with its place in another unit of length."""
    return image(affine=np.diag([-2 / per_mm, -2 / per_mm, 3 / per_mm, 1.0]), xyzt_units=code, **more)


def quaternion(*vector, codes=(1, 1), affine=LPS):
    named = dict(zip(("quatern_b", "quatern_c", "quatern_d"), vector, strict=True))
    return image(affine=affine, codes=codes, fields=named)


def pipe(folder):
    os.mkfifo(folder / "A_ct.nii")


def locked(folder):
    (folder / "A_ct.nii").write_bytes(content_of(numbers()))


def read_locked(folder):
    """Root may read everything, so the refusal of the file system is played."""

    class Locked(type(Path())):
        def read_bytes(self):
            raise PermissionError(13, "Permission denied")

    return nifti_file.stored(Locked(folder / "A_ct.nii"))


def write_error(volume):
    """Write a volume, which may only fail in a sentence that names what does not fit."""

    def read(folder):
        try:
            write_volume(volume, folder / "out.nii.gz")
        except ValueError as error:
            raise BadInput(str(error)) from error

    return read


def sheared():
    affine = np.diag([2.0, 2, 3, 1])
    affine[0, 2] = 1
    return affine


def moved(millimeters):
    affine = np.diag([2.0, 2, 3, 1])
    affine[0, 3] = millimeters
    return affine


def nothing(folder):
    """The fault is in what is written."""


HUGE = {"dim": (3, 32767, 32767, 32767)}
STORED = numbers("uint8")

FAULTS = [
    Fault(
        "header: uint8 with slope and intercept, a CT",
        image(STORED, scl_slope=10, scl_inter=-1000),
        read_image,
        right=values_are(STORED * 10.0 - 1000),
    ),
    Fault(
        "header: uint8 with slope 1/255, a probability",
        image(STORED, scl_slope=1 / 255),
        read_image,
        right=values_are(STORED / 255),
    ),
    Fault(
        "header: int8 with an intercept alone",
        image(numbers("int8"), scl_slope=1, scl_inter=0.5),
        read_image,
        right=values_are(numbers() + 0.5),
    ),
    Fault(
        "header: floats with a slope",
        image(numbers("float32"), scl_slope=-3),
        read_image,
        right=values_are(numbers() * -3.0),
    ),
    Fault(
        "header: slope 0 is no slope",
        image(numbers(), scl_slope=0, scl_inter=0),
        read_image,
        right=values_are(numbers()),
    ),
    Fault(
        "header: slope NaN is no slope",
        image(numbers(), scl_slope=np.nan, scl_inter=0),
        read_image,
        right=values_are(numbers()),
    ),
    Fault("header: slope 0 with an intercept", image(scl_slope=0, scl_inter=5), read_image, "got 0 and 5"),
    Fault("header: slope NaN with an intercept", image(scl_slope=np.nan, scl_inter=5), read_image, "got nan and 5"),
    Fault("header: slope infinite", image(scl_slope=np.inf), read_image, "got inf and 0"),
    Fault("header: intercept NaN", image(scl_slope=2, scl_inter=np.nan), read_image, "got 2 and nan"),
    Fault("header: a slope that others ignore", image(scl_slope=1e-20), read_image, "in different ways"),
    Fault(
        "header: values beyond float32",
        image(np.full(SHAPE, 1e300)),
        read_image,
        r"120 voxels are too large for float32, the first at \(0, 0, 0\)",
    ),
    Fault("header: values scaled beyond float32", image(scl_slope=1e38), read_image, "too large for float32"),
    Fault("header: values that vanish in float32", image(np.full(SHAPE, 1e-50)), read_image, "nearer to 0 than"),
    Fault("header: meters", in_unit(1, 1000), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: microns", in_unit(3, 0.001), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: meters, qform alone", in_unit(1, 1000, codes=(1, 0)), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: microns, sform alone", in_unit(3, 0.001, codes=(0, 1)), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: meters and seconds", in_unit(1 + 8, 1000), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: no unit is millimeters", in_unit(0, 1), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: an unknown unit", in_unit(5, 1), read_image, "got the unknown 5"),
    Fault("header: meters, but spacing in millimeters", in_unit(1, 1), read_image, "got 2000, 2000, 3000 mm"),
    Fault("header: microns, but spacing in millimeters", in_unit(3, 1), read_image, "got 0.002, 0.002, 0.003 mm"),
    Fault("header: format 2", image(version=2), read_image, right=values_are(numbers())),
    Fault("header: format 2, sent as text", image(version=2, eol_check=[10]), read_image, "transfer as text"),
    Fault("header: format 2, meters", in_unit(1, 1000, version=2), read_image, right=spacing_is(*SPACING_MM)),
    Fault("header: big-endian with a slope", image(big=True, scl_slope=2), read_image, right=values_are(numbers() * 2)),
    Fault("header: a pair of .hdr and .img", image(magic=b"ni1"), read_image, "voxels lie in another"),
    Fault("header: Analyze", image(magic=b""), read_image, "does not name the format"),
    Fault("header: plain, named .nii.gz", content(lambda c: c, name="A_ct.nii.gz"), read_image, "not compressed"),
    Fault("header: gzip, named .nii", content(gzip.compress), read_image, r"name it \.nii\.gz"),
    Fault(
        "header: bzip2", content(bz2.compress, name="A_ct.nii.bz2"), read_image, "does not begin with a NIfTI header"
    ),
    Fault(
        "header: two gzip streams",
        content(lambda c: gzip.compress(c[:400]) + gzip.compress(c[400:]) + bytes(9), name="A_ct.nii.gz"),
        read_image,
        right=values_are(numbers()),
    ),
    Fault("header: RGB", image(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), read_image, "got RGB colors"),
    Fault("header: complex", image(np.zeros(SHAPE, "complex64")), read_image, "got complex"),
    Fault("header: a type that is none", image(datatype=3), read_image, "unknown type 3"),
    Fault("header: type and bits contradict", image(bitpix=8), read_image, "int16 and 8 bits"),
    Fault("header: voxels that are vectors", image(intent_code=1007), read_image, "vectors, matrices or colors"),
    Fault(
        "header: three values in the fifth dimension",
        image(np.zeros((*SHAPE, 1, 3), "int16")),
        read_image,
        r"got shape \(6, 5, 4, 1, 3",
    ),
    Fault(
        "header: trailing dimensions of 1",
        image(numbers().reshape(*SHAPE, 1, 1)),
        read_image,
        right=values_are(numbers()),
    ),
    Fault("header: one dimension of 0", image(dim=(3, 6, 0, 4)), read_image, "3 dimensions of 6, 0, 4 voxels"),
    Fault("header: a negative dimension", image(dim=(3, 6, -5, 4)), read_image, "3 dimensions of 6, -5, 4 voxels"),
    Fault("header: two dimensions", image(dim=(2, 6, 20, 1)), read_image, "expected one 3-D image"),
    Fault("header: 32767 voxels along every axis", image(fields=HUGE), read_image, "promises 70362301923678 bytes"),
    Fault(
        "header: the same, compressed",
        image(fields=HUGE, name="A_ct.nii.gz"),
        read_image,
        "promises 70362301923678 bytes",
    ),
    Fault("header: a voxel is missing at the end", content(lambda c: c[:-2]), read_image, "more than there are"),
    Fault("header: bytes after the voxels", content(lambda c: c + bytes(16)), read_image, "592 bytes, and it has more"),
    Fault(
        "header: bytes after the voxels, compressed",
        content(lambda c: gzip.compress(c + bytes(16)), name="A_ct.nii.gz"),
        read_image,
        "592 bytes, and it has more",
    ),
    Fault("header: half a header", content(lambda c: c[:100]), read_image, "does not begin with a NIfTI header"),
    Fault("header: voxels begin inside the header", image(vox_offset=0), read_image, "begin at byte 0"),
    Fault("header: voxels begin at half a byte", image(vox_offset=352.5), read_image, "begin at byte 352.5"),
    Fault(
        "header: a quaternion just above 1 with an sform",
        quaternion(0, 0, 1.00001),
        read_image,
        right=spacing_is(*SPACING_MM),
    ),
    Fault(
        "header: a quaternion just above 1 alone",
        quaternion(0, 0, 1.00001, codes=(1, 0)),
        read_image,
        right=values_are(numbers()),
    ),
    Fault(
        "header: a long quaternion that agrees with the sform",
        quaternion(0, 0, 1.5),
        read_image,
        right=spacing_is(*SPACING_MM),
    ),
    Fault("header: a long quaternion alone", quaternion(0, 0, 1.5, codes=(1, 0)), read_image, "quaternion is longer"),
    Fault("header: a quaternion NaN", quaternion(0, 0, np.nan), read_image, "no rotation"),
    Fault("header: no positive spacing in the qform", image(pixdim=(1, -2, 2, 3)), read_image, "no positive spacing"),
    Fault(
        "header: spacing 0 in the qform", image(pixdim=(1, 0, 2, 3), codes=(1, 0)), read_image, "no positive spacing"
    ),
    Fault("header: a flip that is no sign", image(pixdim=(-7, 2, 2, 3)), read_image, "no positive spacing, or no rot"),
    Fault("header: a flip NaN", image(pixdim=(np.nan, 2, 2, 3)), read_image, "no positive spacing, or no rot"),
    Fault(
        "header: no flip, in another number than 1",
        image(pixdim=(4, 2, 2, 3)),
        read_image,
        right=values_are(numbers()),
    ),
    Fault(
        "header: sform alone with another spacing",
        image(pixdim=(1, 5, 5, 5), codes=(0, 1)),
        read_image,
        "got 5, 5, 5 mm",
    ),
    Fault("header: an sform of zeros", image(codes=(0, 1), srow_x=np.zeros(4)), read_image, "got 0, 2, 3 mm"),
    Fault("header: an sform NaN", image(codes=(0, 1), srow_x=np.full(4, np.nan)), read_image, "does not say where"),
    Fault("header: an unknown code", image(sform_code=9), read_image, "none of 0 to 5"),
    Fault(
        "header: a folder with the name of a file",
        lambda folder: (folder / "A_ct.nii").mkdir(),
        read_image,
        "got a folder",
    ),
    Fault("header: a pipe with the name of a file", pipe, read_image, "pipe"),
    Fault("header: a file that may not be read", locked, read_locked, "Permission denied"),
    Fault("header: the file is not there", nothing, lambda folder: read_volume(folder / "A_ct.nii"), "No such file"),
    Fault("labels: 0 and 100 with slope 0.01", labels(100, 200, scl_slope=0.01), read_case, right=labels_are(1, 2)),
    Fault("labels: 127 with slope 1/127", labels(127, scl_slope=1 / 127), read_case, right=labels_are(1)),
    Fault("labels: 255 with slope 1/255", labels(255, kind="int32", scl_slope=1 / 255), read_case, right=labels_are(1)),
    Fault(
        "labels: shifted by an intercept",
        labels(*[7] * 119, 6, kind="int8", scl_slope=1, scl_inter=-6),
        read_case,
        right=labels_are(1),
    ),
    Fault("labels: a probability", labels(128, scl_slope=1 / 255), read_case, "got also 0.50196"),
    Fault("labels: 0.9999999", labels(0.9999999, kind="float32"), read_case, r"got also 0\.9999999; round"),
    Fault(
        "labels: 0.9999999 in double precision",
        labels(0.9999999, kind="float64"),
        read_case,
        r"got also 0\.9999999; round",
    ),
    Fault("labels: infinite", labels(np.inf, kind="float32"), read_case, "1 voxels are NaN or infinite"),
    Fault("labels: 300", labels(1, 300, kind="int16"), read_case, right=labels_are(1, 3)),
    Fault("labels: 16777217 is not 16777216", labels(16777217, kind="int32"), read_case, "got also 16777217;"),
    Fault(
        "labels: 2^53 + 1",
        labels(2**53 + 1, kind="int64"),
        read_exact_labels,
        right=lambda found: found == {0, 2**53 + 1},
    ),
    Fault("labels: 2^64 - 1", labels(2**64 - 1, kind="uint64"), read_case, "got also 18446744073709551615;"),
    Fault("labels: 1e300", labels(1e300, kind="float64"), read_case, r"got also 1e\+300"),
    Fault(
        "labels: in meters",
        labels(1, affine=np.diag([-0.002, -0.002, 0.003, 1]), xyzt_units=1),
        read_case,
        right=labels_are(1),
    ),
    Fault("labels: voxels that are colors", labels(1, intent_code=2003), read_case, "vectors, matrices or colors"),
    Fault(
        "writing: values beyond float32",
        nothing,
        write_error(Volume(np.full(SHAPE, 1e300), np.diag([2.0, 2, 3, 1]))),
        "120 voxels are not finite in float32",
    ),
    Fault(
        "writing: complex values",
        nothing,
        write_error(Volume(np.zeros(SHAPE, complex), np.diag([2.0, 2, 3, 1]))),
        "real numbers, got complex128",
    ),
    Fault(
        "writing: a sheared grid",
        nothing,
        write_error(Volume(np.zeros(SHAPE, np.uint8), sheared())),
        "affine that the header",
    ),
    Fault(
        "writing: an origin beyond single precision",
        nothing,
        write_error(Volume(np.zeros(SHAPE, np.uint8), moved(1e6 + 0.03))),
        "affine that the header",
    ),
]
