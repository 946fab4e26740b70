"""How much a source holds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """What a fetch would bring; None is unknown.

    Attributes:
        cases: examinations.
        series: image and annotation series.
        bytes: to download.
        license: as the source itself states it.
    """

    cases: int | None = None
    series: int | None = None
    bytes: int | None = None
    license: str | None = None
