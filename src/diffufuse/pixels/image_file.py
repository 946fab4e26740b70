"""Read pictures: PNG, JPEG and BMP, gray or color, as floating-point gray levels in 0..1.

Values are the numbers of the file, divided by the largest of its depth: gamma and color profiles are not applied, as
public sets of medical pictures mean their numbers.
"""

import io
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image

from diffufuse.errors import BadInput
from diffufuse.pixels.png_header import ALPHA, RGB, PngHeader, require_all_rows

FORMATS = ("PNG", "JPEG", "BMP")
MOST_PIXELS = 1 << 26
UPRIGHT = (None, 0, 1)
DEEP = 16
# Largest number of each kind of pixels that is read.
LARGEST = {"1": 1, "L": 255, "I;16": 65_535, "RGB": 255}
WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
# Whatever a damaged file makes Pillow raise.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, LookupError, TypeError, AttributeError),
    *(OverflowError, MemoryError, NotImplementedError, RuntimeError, Image.DecompressionBombError, Warning),
)


def read_picture(path: str | os.PathLike[str]) -> Float[np.ndarray, "*shape"]:
    """Read a picture.

    Args:
        path: PNG, JPEG or BMP of 1 to 16 bits, gray, color or with a palette; a PNG's checksums
            are verified, and the number of its values.

    Returns:
        (rows, columns) gray, or (rows, columns, 3) red, green and blue; first row on top; float64 in 0..1.

    Raises:
        BadInput: the file is damaged or of another format, has transparent pixels, several pictures or too many
            pixels, is to be turned for display, or its colors are neither gray nor RGB.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: expected a picture, but it cannot be read ({error.strerror}); mend it.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                _require_size(picture, path)
                picture.verify()  # of a PNG, all checksums
            require_all_rows(content)
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                _require_one(picture, path)
                picture.load()
                return _levels(picture, content, path)
        except BadInput:
            raise
        except DAMAGED as error:
            raise BadInput(
                f"{path}: expected a whole PNG, JPEG or BMP file, got a damaged one or another kind; get it again."
            ) from error


def _require_size(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if not 0 < width * height <= MOST_PIXELS:
        raise BadInput(
            f"{path}: expected a picture of 1 to {MOST_PIXELS} pixels, got one of {width} x {height}; scale it down."
        )


def _require_one(picture: Image.Image, path: Path) -> None:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 or getattr(picture, "is_animated", False):
        raise BadInput(f"{path}: expected one picture, got {frames} in one file; save the one that is meant alone.")
    turned = picture.getexif().get(ExifTags.Base.Orientation)
    if turned not in UPRIGHT:
        raise BadInput(
            f"{path}: expected a picture that is stored upright, got one that its EXIF header has turned for display "
            f"(orientation {turned}); save it turned, without that header."
        )


def _levels(picture: Image.Image, content: bytes, path: Path) -> np.ndarray:
    header = PngHeader.of(content)
    deep = header if header and header.depth == DEEP else None
    if deep and (deep.color & ALPHA or "transparency" in picture.info):
        raise BadInput(f"{path}: expected 16 bits without an alpha channel, got one; save the picture without it.")
    picture = _without_alpha(picture, path)
    if picture.mode not in LARGEST:
        raise BadInput(f"{path}: expected gray or RGB, got colors of the kind {picture.mode}; save it as RGB.")
    values = np.asarray(picture)
    if deep and deep.color == RGB:  # Pillow keeps but the upper eight bits
        return _sixteen_bit_color(content, upper=values, path=path) / LARGEST["I;16"]
    return values.astype(np.float64) / LARGEST[picture.mode]


def _without_alpha(picture: Image.Image, path: Path) -> Image.Image:
    """The picture without a palette and without an alpha channel, which must be opaque."""
    if "transparency" not in picture.info and picture.mode not in WITH_ALPHA:
        return picture.convert("RGB") if picture.mode == "P" else picture
    opaque = picture.convert("RGBA")
    if opaque.getchannel("A").getextrema() != (255, 255):
        raise BadInput(
            f"{path}: expected a picture without transparent pixels, got an alpha channel that has some; save it on a "
            "background, without that channel."
        )
    return opaque.convert("RGB").getchannel("R") if picture.mode in ("L", "LA", "1") else opaque.convert("RGB")


def _sixteen_bit_color(content: bytes, *, upper: np.ndarray, path: Path) -> np.ndarray:
    """Read a PNG of 16-bit color with ITK.

    Args:
        content: of the file.
        upper: the upper eight bits of its values, to which ITK must agree.
        path: of the file, for the message.
    """
    import SimpleITK as sitk  # noqa: N813 - its usual name

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "picture.png"
        copy.write_bytes(content)
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(copy), imageIO="PNGImageIO"))
    if values.dtype != np.uint16 or not np.array_equal(values >> 8, upper):
        raise BadInput(f"{path}: expected 16-bit color that two readers agree on; save it with 8 bits.")
    return values
