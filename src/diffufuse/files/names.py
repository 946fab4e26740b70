"""Names in messages: a name that does not exist, and the first of many."""

import difflib
from collections.abc import Iterable, Sequence

from diffufuse.errors import printable

MOST_SHOWN = 5


def near(name: object, names: Iterable[object]) -> str:
    """The question whether another name was meant, `, did you mean 'channels'?`; empty where none is near."""
    matches = difflib.get_close_matches(str(name), [str(one) for one in names], n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""


def instead(name: object, names: Iterable[object]) -> str:
    """The end of a sentence about an unknown name: the one that was probably meant, and all.

    Args:
        name: as written.
        names: those that exist.

    Returns:
        `, did you mean 'channels'?; known are: channels, groups.`, without the question where no name is near.
    """
    texts = [str(one) for one in names]
    return f"{near(name, texts)}; known are: {', '.join(texts)}."


def first_of(texts: Sequence[str]) -> str:
    """The first five of some texts on one line, with `...` behind them if there are more."""
    return printable(", ".join(texts[:MOST_SHOWN]) + (", ..." if len(texts) > MOST_SHOWN else ""))
