"""Faults of NIfTI images and label files."""

import gzip
import struct

import nibabel as nib
import numpy as np

from diffufuse.ingest.formats import nifti
from diffufuse.space.volumes import read_volume
from faults import Fault

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])
SHAPE = (6, 5, 4)
BRATS = {
    "reference": "t1c",
    "modalities": {"t1c": {"kind": "mr", "file": ["{case}/{case}-t1c.nii.gz", "{case}/{case}_t1ce.nii.gz"]}},
    "annotation": {
        "file": ["{case}/{case}-seg.nii.gz", "{case}/{case}_seg.nii.gz"],
        "values": {1: "ncr", 2: "edema", 3: "et", 4: "et"},
    },
    "labels": {"ncr": 1, "edema": 2, "et": 3},
}


def image_array(kind=np.int16):
    return np.arange(np.prod(SHAPE), dtype=kind).reshape(SHAPE)


def save(path, array, affine=AFFINE, **codes):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.set_qform(codes.get("qform", affine), code=codes.get("qform_code", 1))
    image.set_sform(affine, code=codes.get("sform_code", 1))
    nib.save(image, path)


def one(array=None, **more):
    """Write one image."""
    return lambda folder: save(folder / "image.nii.gz", image_array() if array is None else array, **more)


def damaged(change):
    """Write one image and then change its bytes."""

    def make(folder):
        one()(folder)
        path = folder / "image.nii.gz"
        path.write_bytes(change(path.read_bytes()))

    return make


def flip_a_byte_of_the_values(content):
    """One value changes and the gzip stream stays readable: only the checksum in its trailer tells."""
    plain = bytearray(gzip.decompress(content))
    stored = gzip.compress(bytes(plain), compresslevel=0, mtime=0)
    at = stored.rindex(bytes(plain[-20:]))
    return stored[:at] + bytes([stored[at] ^ 0x40]) + stored[at + 1 :]


def shear(folder):
    """nibabel itself would write a qform without the shear; the sform alone says it."""
    affine = AFFINE.copy()
    affine[0, 2] = 1.0
    save(folder / "image.nii.gz", image_array(), affine, qform=AFFINE, qform_code=0)


def case(labels, *, name="BraTS-GLI-00000-000", naming="2023", affine=AFFINE):
    """Write one case of BraTS with these labels in one of its namings."""
    separator, t1c = ("-", "t1c") if naming == "2023" else ("_", "t1ce")

    def make(folder):
        save(folder / name / f"{name}{separator}{t1c}.nii.gz", image_array())
        if labels is not None:
            save(folder / name / f"{name}{separator}seg.nii.gz", labels, affine)

    return make


def turned(radians):
    """The place of the image, turned around its third axis."""
    cosine, sine = np.cos(radians), np.sin(radians)
    turn = np.eye(4)
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return turn @ AFFINE


def labels_of(*values, kind=np.uint8):
    array = np.zeros(SHAPE, kind)
    array.flat[: len(values)] = values
    return array


def read_image(folder):
    return read_volume(folder / "image.nii.gz")


def read_labels(folder):
    [name] = nifti.list_cases(folder, BRATS).names
    opened = nifti.open_case(folder, name, BRATS)
    return opened.read_labels(opened.read_image("t1c")[0])[0]


def written(*values):
    """Whether exactly these values were read, in any order."""
    return lambda volume: sorted(set(np.unique(volume.array).tolist())) == sorted({0, *values})


def two_images(folder):
    case(labels_of(1))(folder)
    case(labels_of(1), name="BraTS_GLI_00000_000")(folder)


def lies_where_it_says(volume):
    """The first voxel of the file, stored from left to right and front to back, lies at the origin."""
    value_at = volume.array[-1, -1, 0]
    return (
        value_at == 0 and np.allclose(volume.affine[:3, 3], [-10, -8, 0]) and np.allclose(np.diag(volume.affine)[:2], 2)
    )


FAULTS = [
    Fault("nifti: two thirds of the file", damaged(lambda c: c[: len(c) * 2 // 3]), read_image, "whole NIfTI file"),
    Fault("nifti: the gzip trailer is cut", damaged(lambda c: c[:-4]), read_image, "whole NIfTI file"),
    Fault("nifti: one flipped byte", damaged(flip_a_byte_of_the_values), read_image, "whole NIfTI file"),
    Fault(
        "nifti: a wrong length in the trailer", damaged(lambda c: c[:-4] + struct.pack("<I", 9)), read_image, "whole"
    ),
    Fault("nifti: a web page with the right name", damaged(lambda c: b"<html>gone</html>"), read_image, "whole NIfTI"),
    Fault("nifti: an empty file", damaged(lambda c: b""), read_image, "whole NIfTI file"),
    Fault("nifti: NaN voxels", one(np.full(SHAPE, np.nan, np.float32)), read_image, "120 voxels are NaN"),
    Fault(
        "nifti: a time series given as 3-D", one(np.zeros((*SHAPE, 3), np.int16)), read_image, r"got shape \(6, 5, 4, 3"
    ),
    Fault("nifti: qform and sform disagree", one(qform=AFFINE @ np.diag([1, 1, 1.1, 1])), read_image, "to agree"),
    Fault("nifti: neither qform nor sform", one(qform_code=0, sform_code=0), read_image, "does not say where it lies"),
    Fault("nifti: axes not at right angles", shear, read_image, "right angles"),
    Fault("nifti: stored left to right is turned", one(), read_image, right=lies_where_it_says),
    Fault("labels: an unknown value", case(labels_of(1, 2, 7)), read_labels, "got also 7"),
    Fault("labels: a value that is not whole", case(labels_of(1.5, kind=np.float32)), read_labels, "got also 1.5"),
    Fault("labels: a negative value", case(labels_of(-1, kind=np.int16)), read_labels, "got also -1"),
    Fault(
        "labels: floats that are whole", case(labels_of(1, 2, 3, kind=np.float32)), read_labels, right=written(1, 2, 3)
    ),
    Fault("labels: enhancing tumor as 4", case(labels_of(1, 2, 4), naming="2021"), read_labels, right=written(1, 2, 3)),
    Fault("labels: enhancing tumor as 3", case(labels_of(1, 2, 3)), read_labels, right=written(1, 2, 3)),
    Fault("labels: both 3 and 4", case(labels_of(1, 3, 4)), read_labels, "mixes two releases"),
    Fault("labels: an empty mask is read as empty", case(labels_of()), read_labels, right=written()),
    Fault("labels: none for a case", case(None), read_labels, "expected labels at"),
    Fault(
        "labels: turned by the rounding of a quaternion",
        case(labels_of(1), affine=turned(0.004)),
        read_labels,
        right=lambda volume: written(1)(volume) and np.allclose(volume.affine[:2, :2], 2 * np.eye(2), atol=1e-6),
    ),
    Fault("labels: turned by a tenth of a voxel", case(labels_of(1), affine=turned(0.03)), read_labels, "grid of t1c"),
    Fault("labels: on another grid", case(labels_of(1), affine=AFFINE * 1.01), read_labels, "on the grid of t1c"),
    Fault("labels: two cases with one name", two_images, read_labels, "stands twice"),
]
