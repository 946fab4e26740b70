"""The files that a picture is drawn from."""

from collections.abc import Sequence
from typing import NamedTuple

from diffufuse.store.case import PreparedCase


class Inputs(NamedTuple):
    """Cases, and what a model made of them; a picture uses what it needs.

    Attributes:
        cases: prepared cases.
        predictions: folders of predictions: one for a case, one per condition, or one per fold.
        metrics: tables in the schema `METRICS`, one per folder, where cases are ranked.
    """

    cases: Sequence[PreparedCase]
    predictions: Sequence[str] = ()
    metrics: Sequence[str] = ()
