"""Check the marker segments of a JPEG stream; on damaged ones, a decoder may end the process instead of raising."""

from collections.abc import Iterator

START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, HUFFMAN_TABLES = 0xD8, 0xD9, 0xDA, 0xC4
STANDALONE = (0x01, *range(0xD0, 0xD8))
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
LENGTHS = 16  # of Huffman codes, in bits
MOST_BITS = 16
PREDICTORS = range(1, 8)


def require_sound(stream: bytes, *, rows: int, columns: int) -> None:
    """Raise if the segments before the scan of a gray JPEG image contradict themselves or the image's size.

    Args:
        stream: one compressed frame.
        rows: of the image.
        columns: of the image.

    Raises:
        ValueError: a segment is damaged.

    Source:
        ITU-T T.81, annex B.
    """
    frames, tables = [], set[int]()
    for marker, content in _segments(stream):
        if marker in FRAMES:
            frames.append(marker)
            _check_frame(content, rows=rows, columns=columns)
        elif marker == HUFFMAN_TABLES:
            tables |= set(_huffman_tables(content))
        elif marker == START_OF_SCAN:
            _check_scan(content, tables, is_lossless=bool(frames) and frames[0] in LOSSLESS)
    if len(frames) != 1:
        raise ValueError(f"stream: expected one frame, got {len(frames)}")


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment up to the first scan."""
    if stream[:2] != bytes((0xFF, START_OF_IMAGE)):
        raise ValueError("stream: expected the start of an image")
    place, marker = 2, 0
    while marker != START_OF_SCAN:
        if stream[place : place + 1] != b"\xff":
            raise ValueError("stream: expected a marker")
        while stream[place : place + 1] == b"\xff":
            place += 1
        marker = stream[place]
        place += 1
        if marker in STANDALONE:
            continue
        length = int.from_bytes(stream[place : place + 2], "big")
        if marker in (0, END_OF_IMAGE) or length < 2 or place + length > len(stream):
            raise ValueError("stream: expected a whole segment")
        yield marker, stream[place + 2 : place + length]
        place += length


def _check_frame(content: bytes, *, rows: int, columns: int) -> None:
    if len(content) != 9 or content[5] != 1:
        raise ValueError("frame: expected one component")
    size = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    if size != (rows, columns) or not 2 <= content[0] <= MOST_BITS:
        raise ValueError("frame: expected the image's size and at most 16 bits")


def _huffman_tables(content: bytes) -> Iterator[int]:
    """Yield class and number of each table."""
    while content:
        counts = content[1 : 1 + LENGTHS]
        room = sum(count << (LENGTHS - bits) for bits, count in enumerate(counts, start=1))
        end = 1 + LENGTHS + sum(counts)
        if len(content) < end or content[0] & 0xEC or room > 1 << LENGTHS or sum(counts) > 256:
            raise ValueError("table: expected codes of a Huffman tree")
        if content[0] >> 4 == 0 and max(content[1 + LENGTHS : end], default=0) > MOST_BITS:
            raise ValueError("table: expected differences of at most 16 bits")
        yield content[0]
        content = content[end:]


def _check_scan(content: bytes, tables: set[int], *, is_lossless: bool) -> None:
    if len(content) != 6 or content[0] != 1:
        raise ValueError("scan: expected one component")
    if content[2] >> 4 not in tables or (is_lossless and content[3] not in PREDICTORS):
        raise ValueError("scan: expected a table and a predictor that exist")
