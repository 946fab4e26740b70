"""What to say of a name that does not exist."""

import difflib
from collections.abc import Iterable


def instead(name: object, names: Iterable[object]) -> str:
    """The end of a sentence about an unknown name: the one that was probably meant, and all.

    Args:
        name: as written.
        names: those that exist.

    Returns:
        `, did you mean 'channels'?; known are: channels, groups.`, without the question where no name is near.
    """
    texts = [str(one) for one in names]
    near = difflib.get_close_matches(str(name), texts, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{hint}; known are: {', '.join(texts)}."
