"""Where the fields of a NIfTI header stand that say something of voxels, values, units and place.

Source:
    https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h
"""

from collections.abc import Mapping

import numpy as np

EXTENSION_FLAG_BYTES = 4  # follow the header


def _layout(size: int, **fields: tuple[str, int]) -> "np.dtype[np.void]":
    """The little-endian layout of a header of this size, from type and offset of its fields."""
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )


# Size of the header, which is also its first field, to layout and name of the format, for voxels in the same file.
LAYOUTS: Mapping[int, tuple["np.dtype[np.void]", bytes]] = {
    348: (
        _layout(
            348,
            sizeof_hdr=("<i4", 0), dim=("(8,)<i2", 40), intent_code=("<i2", 68), datatype=("<i2", 70),
            bitpix=("<i2", 72), pixdim=("(8,)<f4", 76), vox_offset=("<f4", 108), scl_slope=("<f4", 112),
            scl_inter=("<f4", 116), xyzt_units=("u1", 123), qform_code=("<i2", 252), sform_code=("<i2", 254),
            quatern_b=("<f4", 256), quatern_c=("<f4", 260), quatern_d=("<f4", 264), qoffset_x=("<f4", 268),
            qoffset_y=("<f4", 272), qoffset_z=("<f4", 276), srow_x=("(4,)<f4", 280), srow_y=("(4,)<f4", 296),
            srow_z=("(4,)<f4", 312), magic=("V4", 344),
        ),
        b"n+1\0",
    ),
    540: (
        _layout(
            540,
            sizeof_hdr=("<i4", 0), magic=("V8", 4), datatype=("<i2", 12), bitpix=("<i2", 14), dim=("(8,)<i8", 16),
            pixdim=("(8,)<f8", 104), vox_offset=("<i8", 168), scl_slope=("<f8", 176), scl_inter=("<f8", 184),
            qform_code=("<i4", 344), sform_code=("<i4", 348), quatern_b=("<f8", 352), quatern_c=("<f8", 360),
            quatern_d=("<f8", 368), qoffset_x=("<f8", 376), qoffset_y=("<f8", 384), qoffset_z=("<f8", 392),
            srow_x=("(4,)<f8", 400), srow_y=("(4,)<f8", 432), srow_z=("(4,)<f8", 464), xyzt_units=("<i4", 500),
            intent_code=("<i4", 504),
        ),
        b"n+2\0\r\n\x1a\n",
    ),
}  # fmt: skip
# The names of headers whose voxels lie in another file.
PAIRED = (b"ni1\0", b"ni2\0\r\n\x1a\n")
