"""What the header of a PNG says of its values: their depth and kind, and how many there must be.

Checksums hold for what is written, also where a writer stopped early; a decoder then fills the rest with black.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\x89PNG\r\n\x1a\n"
RGB, ALPHA = 2, 4
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by kind of color
# First column and row of each pass, and the steps to the next ones.
WHOLE = ((0, 0, 1, 1),)
INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class PngHeader(NamedTuple):
    """Header of a PNG.

    Attributes:
        width: columns.
        height: rows.
        depth: bits of a value.
        color: kind of color; its bits are palette, `RGB` and `ALPHA`.
        compression: always 0.
        filtering: always 0.
        interlaced: 0 or 1.
    """

    width: int
    height: int
    depth: int
    color: int
    compression: int
    filtering: int
    interlaced: int

    @classmethod
    def of(cls, content: bytes) -> "PngHeader | None":
        """The header of a file; None of one that is no PNG."""
        return cls(*struct.unpack_from(">IIBBBBB", content, 16)) if content.startswith(MAGIC) else None

    @property
    def size(self) -> int:
        """Bytes of all rows before compression, each with the one that names its filter."""
        passes = INTERLACED if self.interlaced else WHOLE
        sizes = [(-((x - self.width) // dx), -((y - self.height) // dy)) for x, y, dx, dy in passes]
        bits = self.depth * CHANNELS[self.color]
        return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def require_all_rows(content: bytes) -> None:
    """Check that a PNG holds as many values as its header says; other files pass.

    Raises:
        ValueError: there are fewer.
    """
    header = PngHeader.of(content)
    if header is None:
        return
    values = b"".join(data for name, data in _chunks(content) if name == b"IDAT")
    if len(zlib.decompressobj().decompress(values, header.size)) < header.size:
        raise ValueError("expected a value for every pixel")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of each chunk."""
    at = len(MAGIC)
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        yield name, content[at + 8 : at + 8 + length]
        at += length + 12
