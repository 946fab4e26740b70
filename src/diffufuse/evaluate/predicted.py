"""The predictions of a fold beside their references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffufuse.files.sealed import not_as_written
from diffufuse.metrics.comparison import Comparison
from diffufuse.predict.samples import read_samples
from diffufuse.space.volumes import Volume, read_result, same_grid
from diffufuse.store.case import beside, drawn_volumes, read_label_volumes


@dataclass(frozen=True)
class Predicted:
    """The predictions of a fold and the files of their references.

    Attributes:
        predictions: folder with `{case}_{region}.nii.gz` and `{case}_{region}_probability.nii.gz`.
        cases: records of the prepared cases, `{case}.json`, which tell the labels that were drawn; next to each its
            labels and its body, within which probabilities are evaluated.
        regions: region to the label values that it joins.
    """

    predictions: str | Path
    cases: Sequence[str | Path]
    regions: Mapping[str, list[int]]

    def comparisons(self, thresholds: Mapping[str, float] | None = None) -> Iterator[tuple[str, str, Comparison]]:
        """Iterate over cases and regions: case, region, and the comparison of prediction and reference.

        Args:
            thresholds: of the prediction sets, by region; by default NaN.

        Raises:
            BadInput: a prediction or body is missing or does not lie on its reference's grid.
        """
        for record in self.cases if self.regions else ():
            case, labels = Path(record).stem, read_result(beside(record, "_labels.nii.gz"))
            labels_ml = read_label_volumes(record)
            body = _on_grid(beside(record, "_body.nii.gz"), labels).array > 0
            for region, values in self.regions.items():
                stem = Path(self.predictions) / f"{case}_{region}"
                yield (
                    case,
                    region,
                    Comparison(
                        _on_grid(f"{stem}.nii.gz", labels, remove=self.predictions).array > 0,
                        np.isin(labels.array, values),
                        labels.spacing_mm,
                        probability=_on_grid(f"{stem}_probability.nii.gz", labels, remove=self.predictions).array,
                        inside=body,
                        threshold=(thresholds or {}).get(region, np.nan),
                        samples_ml=read_samples(f"{stem}_samples.json"),
                        drawn=bool(drawn_volumes(labels_ml, values)),
                    ),
                )


def _on_grid(path: str | Path, labels: Volume, *, remove: str | Path | None = None) -> Volume:
    volume = read_result(path, remove=remove)
    if not same_grid(volume, labels):
        raise not_as_written(path, "a volume", "its grid is not that of the case's reference", remove=remove)
    return volume
