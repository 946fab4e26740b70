"""One training in several processes of a machine: how many, and which of them speaks and writes.

The first process starts the others, each of which runs the same program on the same data; see `diffufuse.collective`
for what they exchange. Their number is a matter of the machine, so it is no part of a study, a plan or a path.
"""

import os

from diffufuse.errors import BadInput

COUNT = "DIFFUFUSE_PROCESSES"
# Set by Fabric for the processes that it starts.
RANK = "LOCAL_RANK"


def asked() -> int:
    """The number of processes that share a training: `DIFFUFUSE_PROCESSES`, by default 1.

    Raises:
        BadInput: the variable is not a positive number.
    """
    text = os.environ.get(COUNT) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(
            f"{COUNT}: expected how many processes share a training, such as 2 for two GPUs, got {text!r}; correct it, "
            "or unset it for one."
        )
    return int(text)


def is_first() -> bool:
    """Whether this process is the only one, or the one that started the others: it alone logs and writes."""
    return COUNT not in os.environ or os.environ.get(RANK, "0") == "0"
