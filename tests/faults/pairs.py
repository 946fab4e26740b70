"""Faults of sets of picture pairs, and of the files of pictures."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from diffufuse.fetch.manifest import contents_of, write_manifest
from diffufuse.ingest.formats import pairs
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.png import write_picture
from diffufuse.prepare.pairs import prepare_pairs
from diffufuse.store.case import read_all_prepared
from faults import Fault

BLOCK = {
    "format": "pairs",
    "pair": {"structure": "mri", "function": "pet"},
    "modalities": {
        "mri": {"kind": "picture", "file": ["train/MRI/{case}.png", "test/MRI/{case}.png", "test/MRI/{case}.jpg"]},
        "pet": {"kind": "picture", "file": ["train/PET/{case}.png", "test/PET/{case}.png", "test/PET/{case}.jpg"]},
    },
}
PARTS = {"1001": (None, None), "1002": (None, 0), "1003": (0, None)}
PLACES = {"1001": "train", "1002": "train", "1003": "test"}
SIZE = (24, 20)
GRAY = np.random.default_rng(0).integers(0, 256, SIZE).astype(np.uint8)
COLOR = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65_536, SIZE).astype(np.uint16)
DEEP_COLOR = np.random.default_rng(3).integers(0, 65_536, (*SIZE, 3)).astype(np.uint16)


def smooth(seed: int, *, colors: bool) -> np.ndarray:
    """A picture of a few waves, so that its average over squares is its own."""
    generator, (rows, columns) = np.random.default_rng(seed), np.mgrid[:64, :64] / 64
    waves = [generator.normal() * np.sin(2 * np.pi * (a * rows + b * columns)) for a in (0, 1, 2) for b in (1, 2)]
    gray = np.sum(waves, axis=0)
    gray = (gray - gray.min()) / np.ptp(gray)
    return np.stack([gray, gray**2, 0.2 * gray], axis=-1) if colors else gray


def whole(folder: Path) -> None:
    """Write three pairs: one to train, one to validate, one to test."""
    for number, (case, place) in enumerate(PLACES.items()):
        write_picture(smooth(number, colors=False), folder / "set" / place / "MRI" / f"{case}.png")
        write_picture(smooth(10 + number, colors=True), folder / "set" / place / "PET" / f"{case}.png")


def changed(change):
    """Write the set and then change something in its folder."""

    def make(folder: Path) -> None:
        whole(folder)
        change(folder / "set")

    return make


def replaced(path: str, picture: np.ndarray):
    return changed(lambda raw: write_picture(picture, raw / path))


def renamed(path: str, to: str):
    def change(raw: Path) -> None:
        (raw / to).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).rename(raw / to)

    return changed(change)


def copied(*paths: tuple[str, str]):
    """Copy files of the set to other names, as they are."""

    def change(raw: Path) -> None:
        for path, to in paths:
            (raw / to).parent.mkdir(parents=True, exist_ok=True)
            (raw / to).write_bytes((raw / path).read_bytes())

    return changed(change)


def tested_again(save):
    """The pair that is trained on stands in the test part once more, saved by a function of picture and path."""

    def change(raw: Path) -> None:
        for kind in ("MRI", "PET"):
            picture = read_picture(raw / "train" / kind / "1001.png")
            (raw / "test" / kind / "1003.png").unlink()
            save(picture, raw / "test" / kind / "1003")

    return changed(change)


def as_jpeg(picture: np.ndarray, stem: Path) -> None:
    Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(stem.with_suffix(".jpg"), quality=60)


def brighter(picture: np.ndarray, stem: Path) -> None:
    write_picture(picture + 1 / 255, stem.with_suffix(".png"))


def smaller(picture: np.ndarray, stem: Path) -> None:
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    write_picture(np.asarray(image.resize((48, 48))) / 255, stem.with_suffix(".png"))


def prepare(folder: Path, parts=PARTS):
    """Prepare the set by the way of a study: its manifest, its files, its store."""
    raw, manifest = folder / "set", folder / "set.manifest.tsv"
    write_manifest(manifest, contents_of(raw), address="copy")
    prepare_pairs(manifest, block=BLOCK, parts=parts, folder=folder / "pairs", record=folder / "pairs.json")
    return read_all_prepared([folder / "pairs.json"])


def all_three(cases) -> bool:
    return list(cases) == list(PARTS) and all(case.slices.stored[:2] == ("mri", "pet") for case in cases.values())


def listed(folder: Path):
    return pairs.list_cases(folder / "set", BLOCK)


def picture(write):
    """Write one file with a function of its path."""
    return lambda folder: write(folder / "picture.png")


def saved(array: np.ndarray, mode: str | None = None, **more):
    """Write one picture as Pillow does."""

    def write(path: Path) -> None:
        image = Image.fromarray(array)
        (image.convert(mode) if mode else image).save(path, **{"format": "PNG", **more})

    return picture(write)


def content(change, array=GRAY, **more):
    """Write one picture and change its bytes."""

    def write(path: Path) -> None:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, **{"format": "PNG", **more})
        path.write_bytes(change(buffer.getvalue()))

    return picture(write)


def flip_a_byte_of_the_values(png: bytes) -> bytes:
    """One byte of the compressed values changes; its stored checksums alone tell."""
    at = png.index(b"IDAT") + 40
    return png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :]


def of_size(width: int, height: int):
    """A PNG whose header has another size, with a right checksum."""

    def change(png: bytes) -> bytes:
        header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
        return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]

    return content(change)


def animated(path: Path) -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    frames[0].save(path, format="PNG", save_all=True, append_images=frames[1:])


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOR).save(path, format="JPEG", exif=exif)


def with_alpha(alpha: int):
    return np.dstack([COLOR, np.full(SIZE, alpha, np.uint8)])


def sixteen_bit_color(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(DEEP_COLOR, isVector=True), str(path))


def sixteen_bit_color_with_alpha(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.dstack([DEEP_COLOR, DEEP]), isVector=True), str(path))


def read(folder: Path) -> np.ndarray:
    return read_picture(folder / "picture.png")


def holds(array: np.ndarray, largest: int = 255):
    """Whether exactly these numbers were read."""
    return lambda values: values.shape == array.shape and bool(np.array_equal(values, array / largest))


def near(array: np.ndarray):
    """Whether these numbers were read up to what JPEG changes."""
    return lambda values: values.shape == array.shape and np.abs(values - array / 255).mean() < 0.05


FAULTS = [
    Fault("picture: two thirds of the file", content(lambda c: c[: len(c) * 2 // 3]), read, "whole PNG, JPEG or BMP"),
    Fault(
        "picture: one flipped byte",
        content(flip_a_byte_of_the_values, compress_level=0),
        read,
        "whole PNG, JPEG or BMP",
    ),
    Fault("picture: a web page with the right name", content(lambda c: b"<html>gone</html>"), read, "whole PNG, JPEG"),
    Fault("picture: an empty file", content(lambda c: b""), read, "whole PNG, JPEG or BMP"),
    Fault("picture: a TIFF with the right name", saved(GRAY, format="TIFF"), read, "whole PNG, JPEG or BMP"),
    Fault("picture: a GIF with the right name", saved(GRAY, format="GIF"), read, "whole PNG, JPEG or BMP"),
    Fault("picture: half a JPEG", content(lambda c: c[: len(c) // 2], format="JPEG"), read, "whole PNG, JPEG or BMP"),
    Fault("picture: a header of no pixels", of_size(0, 20), read, "whole PNG, JPEG or BMP|1 to"),
    Fault("picture: half of its rows, with right checksums", of_size(20, 48), read, "whole PNG, JPEG or BMP"),
    Fault("picture: a header of 60000 x 60000 pixels", of_size(60_000, 60_000), read, "whole PNG|of 1 to"),
    Fault("picture: a header of 9000 x 9000 pixels", of_size(9_000, 9_000), read, "got one of 9000 x 9000"),
    Fault("picture: transparent pixels", saved(with_alpha(254)), read, "transparent pixels"),
    Fault("picture: an opaque alpha channel", saved(with_alpha(255)), read, right=holds(COLOR)),
    Fault("picture: gray with an opaque alpha channel", saved(GRAY, "LA"), read, right=holds(GRAY)),
    Fault(
        "picture: a gray level that means transparent", saved(GRAY, transparency=int(GRAY[0, 0])), read, "transparent"
    ),
    Fault(
        "picture: a palette with a transparent color",
        saved(GRAY, "P", transparency=int(GRAY[0, 0])),
        read,
        "transparent",
    ),
    Fault(
        "picture: a palette of opaque colors",
        saved(GRAY, "P", transparency=b"\xff" * 256),
        read,
        right=holds(np.dstack([GRAY] * 3)),
    ),
    Fault(
        "picture: a transparent gray level that does not occur",
        saved(np.minimum(GRAY, 250), transparency=255),
        read,
        right=holds(np.minimum(GRAY, 250)),
    ),
    Fault(
        "picture: 16 bits, with a transparent level", saved(DEEP, transparency=int(DEEP[0, 0])), read, "16 bits without"
    ),
    Fault(
        "picture: a palette",
        saved(GRAY, "P"),
        read,
        right=lambda values: np.array_equal(values[..., 0] if values.ndim == 3 else values, GRAY / 255),
    ),
    Fault("picture: one bit", saved((GRAY > 99).astype(np.uint8) * 255, "1"), read, right=holds(GRAY > 99, 1)),
    Fault("picture: 16 bits, gray", saved(DEEP), read, right=holds(DEEP, 65_535)),
    Fault("picture: 16 bits, color", picture(sixteen_bit_color), read, right=holds(DEEP_COLOR, 65_535)),
    Fault("picture: 16 bits, with an alpha channel", picture(sixteen_bit_color_with_alpha), read, "16 bits without an"),
    Fault("picture: CMYK", saved(COLOR, "CMYK", format="JPEG"), read, "of the kind CMYK"),
    Fault("picture: two frames", picture(animated), read, "got 2 in one file"),
    Fault("picture: turned by its header", picture(turned), read, r"orientation 6\)"),
    Fault(
        "picture: a JPEG, color",
        saved(smooth_color := (smooth(5, colors=True) * 255).astype(np.uint8), format="JPEG"),
        read,
        right=near(smooth_color),
    ),
    Fault("picture: a BMP, gray", saved(GRAY, format="BMP"), read, right=holds(GRAY)),
    Fault("picture: a BMP, color", saved(COLOR, format="BMP"), read, right=holds(COLOR)),
    Fault("pairs: as they should be", whole, prepare, right=all_three),
    Fault(
        "pairs: of two sizes",
        replaced("test/PET/1003.png", smooth(9, colors=True)[:, :48]),
        prepare,
        "size of its partner of pet, 48 x 64, got 64 x 64",
    ),
    Fault("pairs: a constant picture", replaced("test/MRI/1003.png", np.full((64, 64), 0.4)), prepare, "all are 0.4"),
    Fault(
        "pairs: a color picture of one color",
        replaced("test/PET/1003.png", np.full((64, 64, 3), (1.0, 0, 0))),
        prepare,
        "all are 0.299",
    ),
    Fault(
        "pairs: no partner", changed(lambda raw: (raw / "test/PET/1003.png").unlink()), prepare, r"lack one .*\(1003\)"
    ),
    Fault(
        "pairs: no partner, as it is listed",
        changed(lambda raw: (raw / "test/PET/1003.png").unlink()),
        listed,
        right=lambda listing: listing.left_out["test/MRI/1003.png"] == "no partner of pet with its name",
    ),
    Fault(
        "pairs: the partner is in another folder",
        renamed("test/PET/1003.png", "train/PET/1003.png"),
        listed,
        right=lambda listing: "1003" not in listing.names and "another folder" in listing.left_out["test/MRI/1003.png"],
    ),
    Fault(
        "pairs: one name in train and test",
        copied(("train/MRI/1001.png", "test/MRI/1001.png")),
        prepare,
        "one file for",
    ),
    Fault(
        "pairs: a PNG and a JPEG of one name",
        copied(("test/MRI/1003.png", "test/MRI/1003.jpg")),
        prepare,
        "one file for",
    ),
    Fault(
        "pairs: names that differ in case alone",
        copied(*((f"train/{kind}/1001.png", f"train/{kind}/{name}.png") for kind in ("MRI", "PET") for name in "aA")),
        prepare,
        "stands twice",
    ),
    Fault(
        "pairs: other, hidden files and empty folders are named",
        changed(
            lambda raw: [
                (raw / "notes.txt").touch(),
                (raw / ".x").mkdir(),
                (raw / "test/CT").mkdir(),
                (raw / "test/MRI/.DS").touch(),
            ]
        ),
        listed,
        right=lambda listing: (
            listing.names == list(PARTS) and set(listing.left_out) == {"notes.txt", ".x", "test/CT", "test/MRI/.DS"}
        ),
    ),
    Fault("pairs: an empty folder", lambda folder: (folder / "set").mkdir(), listed, "expected pairs of files like"),
    Fault(
        "pairs: a file is changed after the fetch",
        changed(lambda raw: write_picture(smooth(50, colors=False), raw / "new/MRI/1003.png")),
        lambda folder: (
            (prepare(folder), (folder / "set/new/MRI/1003.png").replace(folder / "set/test/MRI/1003.png"))
            and prepare_pairs(
                folder / "set.manifest.tsv", block=BLOCK, parts=PARTS, folder=folder / "b", record=folder / "b.json"
            )
        ),
        "1 changed",
    ),
    Fault(
        "pairs: a training pair renamed in test",
        tested_again(lambda p, stem: write_picture(p, stem.with_suffix(".png"))),
        prepare,
        "1001 and 1003 are the same",
    ),
    Fault("pairs: a training pair in test, as JPEG", tested_again(as_jpeg), prepare, "1001 and 1003 are the same"),
    Fault(
        "pairs: a training pair in test, a gray level up", tested_again(brighter), prepare, "1001 and 1003 are the same"
    ),
    *(
        Fault(
            f"pairs: a training pair in test, {how}",
            tested_again(lambda p, stem, turn=turn: write_picture(turn(p), stem.with_suffix(".png"))),
            prepare,
            "1001 and 1003 are the same, or one is the other turned",
        )
        for how, turn in {
            "mirrored": lambda p: p[:, ::-1],
            "upside down": lambda p: p[::-1],
            "turned": lambda p: np.rot90(p),
            "transposed": lambda p: np.swapaxes(p, 0, 1),
        }.items()
    ),
    Fault("pairs: a training pair in test, scaled down", tested_again(smaller), prepare, "1001 and 1003 are the same"),
    Fault(
        "pairs: one pair twice in training is read",
        tested_again(brighter),
        lambda folder: prepare(folder, dict.fromkeys(PARTS, (None, None))),
        right=all_three,
    ),
    Fault(
        "pairs: one structure with two functions is read",
        copied(("train/MRI/1001.png", "test/MRI/1003.png")),
        prepare,
        right=all_three,
    ),
]
