"""Read prepared cases from disk."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record
from diffufuse.files.sealed import not_as_written
from diffufuse.store.scan import Scan
from diffufuse.store.slices import StoredCase, open_slices
from diffufuse.types import Spacing

# The folder of fused images in one of predictions, and the name of their one image.
FUSED = "fused"
UNLIKE_A_RECORD = (KeyError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True)
class PreparedCase:
    """A case on its common grid.

    Attributes:
        name: name of the case.
        slices: its images, presence, body and labels.
        statistics: modality to `mean` and `sd` of its image inside the body; absent modalities have none.
        affine: (4, 4), voxel index to RAS mm.
        labels_ml: label to its volume as `drawn` and as `resampled`, ml.
    """

    name: str
    slices: StoredCase
    statistics: Mapping[str, Mapping[str, float]]
    affine: np.ndarray
    labels_ml: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size along X, Y, Z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def scan(self) -> Scan:
        """The whole case in memory, as acquired."""
        all_slices = slice(None)
        return Scan(
            images=self.slices.images(all_slices).transpose(1, 2, 3, 0),
            presence=self.slices.presence(all_slices).transpose(1, 2, 3, 0),
            body=self.slices.body(all_slices).transpose(1, 2, 0),
        )

    def selected(self, modalities: Iterable[str]) -> "PreparedCase":
        """The same case with these images alone, in this order.

        Raises:
            BadInput: the case was prepared without one of them.
        """
        return replace(self, slices=self.slices.selected(modalities))

    def lost(self, values: Iterable[int]) -> bool:
        """Whether resampling left no voxel of a region that was drawn, given its label values."""
        drawn = drawn_volumes(self.labels_ml, values)
        return bool(drawn) and not any(volume["resampled"] for volume in drawn)


def drawn_volumes(labels_ml: Mapping[str, Mapping[str, float]], values: Iterable[int]) -> list[Mapping[str, float]]:
    """The volumes of those labels of a region that were drawn in a case, from its record."""
    return [labels_ml[str(value)] for value in values if str(value) in labels_ml]


def read_prepared(record: str | os.PathLike[str]) -> PreparedCase:
    """Open a prepared case by its record; its slice store lies beside it.

    Raises:
        BadInput: the record or the slice store is missing or damaged.
    """
    return _prepared(record, read_record(record, remove=_made_with(record)))


def _prepared(record: str | os.PathLike[str], facts: Mapping[str, Any]) -> PreparedCase:
    try:
        name, sha256, statistics = facts["case"], facts["slices_sha256"], facts["statistics"]
        affine, labels_ml = np.array(facts["affine"], float).reshape(4, 4), _labels_ml(facts)
    except UNLIKE_A_RECORD as error:
        raise _other_record(record) from error
    slices = open_slices(beside(record, "_slices.b2nd"), sha256=sha256, remove=_made_with(record))
    return PreparedCase(name=name, slices=slices, statistics=statistics, affine=affine, labels_ml=labels_ml)


def read_label_volumes(record: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Label to its volume as `drawn` and as `resampled`, ml, from the record of a prepared case.

    Raises:
        BadInput: the record is missing or damaged.
    """
    facts = read_record(record, remove=_made_with(record))
    try:
        return _labels_ml(facts)
    except UNLIKE_A_RECORD as error:
        raise _other_record(record) from error


def _labels_ml(facts: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    volumes = facts["labels_ml"].items()
    return {str(label): {when: float(volume[when]) for when in ("drawn", "resampled")} for label, volume in volumes}


def _other_record(record: str | os.PathLike[str]) -> BadInput:
    return not_as_written(record, "the record of a prepared case", "it is another one", remove=_made_with(record))


def _made_with(record: str | os.PathLike[str]) -> Path:
    """What is made as a whole with a case: its record, or the folder of predictions that its fused image lies in."""
    path = Path(record)
    return path.parents[1] if path.parent.name == FUSED else path


def read_all_prepared(records: Iterable[str | os.PathLike[str]]) -> dict[str, PreparedCase]:
    """Open several prepared cases; returns name to case.

    Args:
        records: of cases, or of whole sets of picture pairs, which give a case for each pair.

    Raises:
        BadInput: a record or a slice store is missing or damaged.
    """
    cases: dict[str, PreparedCase] = {}
    for record in records:
        facts = read_record(record, remove=_made_with(record))
        opened = _pairs(record, facts["pairs"]) if "pairs" in facts else [_prepared(record, facts)]
        cases |= {case.name: case for case in opened}
    return cases


def _pairs(record: str | os.PathLike[str], pairs: Mapping[str, Mapping[str, Any]]) -> list[PreparedCase]:
    """The pairs of a set, whose stores lie in the folder `pairs` beside `pairs.json`, on a grid without a place."""
    try:
        stored = [(name, facts["slices_sha256"], facts["statistics"]) for name, facts in pairs.items()]
    except UNLIKE_A_RECORD as error:
        raise not_as_written(record, "the record of a set of pairs", "it is another one") from error
    folder = Path(record).with_suffix("")
    return [
        PreparedCase(
            name, open_slices(folder / f"{name}_slices.b2nd", sha256=sha256, remove=Path(record)), statistics, np.eye(4)
        )
        for name, sha256, statistics in stored
    ]


def beside(record: str | os.PathLike[str], ending: str) -> Path:
    """Return a file beside a record: `{case}_labels.nii.gz` beside `{case}.json` for `_labels.nii.gz`."""
    path = Path(record)
    return path.with_name(f"{path.stem}{ending}")
