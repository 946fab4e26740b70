"""Text files that people write: their encoding, and how to speak of a character that cannot be seen."""

import os
import unicodedata
from pathlib import Path

from diffufuse.errors import BadInput, printable

# Byte order mark to encoding. That of UTF-32 begins like that of UTF-16, so it comes first.
MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What other programs write where a text was expected.
OTHERS = {b"PK\x03\x04": "a spreadsheet or an archive", b"\xd0\xcf\x11\xe0": "an old spreadsheet", b"\x1f\x8b": "gzip"}


def read_lines(path: str | os.PathLike[str], *, what: str, wide: bool = True) -> list[str]:
    """Read a text in UTF-8, or in UTF-8 or UTF-16 with a byte order mark.

    Args:
        path: the file.
        what: kind of file, for the message.
        wide: whether UTF-16 is read; else it is refused.

    Returns:
        Its lines without their ends, which may be LF, CRLF or CR; a last empty line is left out.

    Raises:
        BadInput: the file cannot be read or has another encoding.
    """
    name = printable(str(path))
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is no path"
        raise BadInput(f"{name}: expected {what}, but it cannot be read ({reason}).") from error
    text = _decoded(content, name, what, wide).replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def odd_character(text: str) -> str | None:
    """The first character of a text that cannot be seen, with its code point and name; None if there is none."""
    return next((described(character) for character in text if not character.isprintable()), None)


def described(character: str) -> str:
    """A character by its code point and name, as in `U+00A0 (no-break space)`."""
    name = unicodedata.name(character, "control character").lower()
    return f"U+{ord(character):04X} ({name})"


def _decoded(content: bytes, path: str, what: str, wide: bool) -> str:
    other = next((name for start, name in OTHERS.items() if content.startswith(start)), None)
    if other:
        raise BadInput(f"{path}: expected {what} as plain text, got {other}; export it as tab-separated text in UTF-8.")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding == "utf-8-sig":
        content, encoding = content[3:], "utf-8"
    if (encoding != "utf-8" and not wide) or (encoding == "utf-8" and b"\x00" in content[:2]):
        raise BadInput(f"{path}: expected {what} in UTF-8, got UTF-16 or UTF-32; save it as UTF-8.")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        if encoding != "utf-8":
            raise BadInput(
                f"{path}: expected {what}, got damaged {encoding.upper()} at byte {error.start}; save it as UTF-8."
            ) from error
        raise BadInput(
            f"{path}, line {line}: expected {what} in UTF-8, got the byte 0x{byte:02x}, as Latin-1 or Windows-1252 "
            "write a letter with an accent; save it as UTF-8."
        ) from error
