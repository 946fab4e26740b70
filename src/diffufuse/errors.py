"""The one error that is meant for the person who brought the data."""

import errno

# What a write fails with on a full disk, beyond a quota or beyond a limit of file size.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BadInput(ValueError):
    """A fault of the input, in one sentence: which file, what was expected, what to do.

    The sentence is printable and on one line, whatever the names of the files in it.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    r"""The text with an escape such as `\n` or `\xfc` for every character that cannot be printed on one line.

    Args:
        text: any; bytes of a file name that are not UTF-8 stand in it as surrogates, and are shown as bytes.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    byte = ord(letter) - 0xDC00  # of a surrogate that stands for a byte
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()
