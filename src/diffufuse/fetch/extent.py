"""Size of a source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """Size and license of the data of a fetch; None if unknown.

    Attributes:
        cases: number of examinations.
        series: number of image and annotation series.
        bytes: to download.
        license: as stated by the source.
    """

    cases: int | None = None
    series: int | None = None
    bytes: int | None = None
    license: str | None = None
