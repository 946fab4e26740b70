"""What a job asks of the machine that it runs on."""

from collections.abc import Callable


def growing(amount: int) -> Callable[[object, int], int]:
    """Give the first attempt at a job this much of a resource, the second twice as much, and so on.

    A job that ran out of memory or time would do so again with the same.

    Args:
        amount: megabytes, or minutes.
    """

    def of_attempt(wildcards: object, attempt: int) -> int:
        return amount * attempt

    return of_attempt
