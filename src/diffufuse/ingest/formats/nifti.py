"""Read NIfTI datasets: files are selected by path patterns.

A pattern is a path below the raw folder with `{case}` for the name of the case and `*` for any text within one name.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume, read_volume, same_grid

CASE = "[A-Za-z0-9_-]+"
MOST_SHOWN = 5


def find_cases(raw: Path, block: Mapping[str, Any]) -> list[str]:
    """Return the names of the cases with an image of the reference modality, sorted, with `-` for `_`.

    Raises:
        BadInput: two cases would get the same name.
    """
    patterns = [_expression(pattern) for pattern in block["modalities"][block["reference"]]["file"]]
    paths = [path.relative_to(raw).as_posix() for path in sorted(raw.rglob("*")) if path.is_file()]
    sources = {match["case"] for path in paths for pattern in patterns if (match := pattern.fullmatch(path))}
    names = sorted(source.replace("_", "-") for source in sources)
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise BadInput(
            f"{raw}: expected names that differ by more than `_` and `-`, but {', '.join(duplicates[:MOST_SHOWN])} "
            "stands twice; rename one."
        )
    return names


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "NiftiCase":
    """Open the files of one case.

    Args:
        raw: the raw folder.
        case: name of the case.
        block: settings of the dataset: every modality has `file`, a list of patterns, and optionally `channel`, the
            index in a 4-D file; `annotation` has `file` and `values`, label values in the file to names in `labels`.

    Raises:
        BadInput: the case has no image, or two files match one pattern.
    """
    images = {name: _find(raw, case, settings["file"]) for name, settings in block["modalities"].items()}
    labels = _find(raw, case, block["annotation"]["file"])
    if not any(images.values()):
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return NiftiCase(raw, case, block, {name: path for name, path in images.items() if path}, labels)


def identities(raw: Path, case: str, block: Mapping[str, Any]) -> frozenset[str]:
    """Return nothing: headers of NIfTI do not say whose they are."""
    return frozenset()


def case_of_image(path: str, block: Mapping[str, Any]) -> str | None:
    """Return the case of whose images a path below the raw folder is one; labels may be equal, as empty ones are."""
    patterns = [pattern for settings in block["modalities"].values() for pattern in settings["file"]]
    matches = (_expression(pattern).fullmatch(path) for pattern in patterns)
    return next((match["case"].replace("_", "-") for match in matches if match), None)


@dataclass(frozen=True)
class NiftiCase:
    """The files of one case.

    Attributes:
        raw: the raw folder.
        case: name of the case.
        block: settings of the dataset.
        images: modality to its file; several modalities may share a 4-D file.
        annotation: the file of the labels, or None.
    """

    raw: Path
    case: str
    block: Mapping[str, Any]
    images: Mapping[str, Path]
    annotation: Path | None

    @property
    def files(self) -> list[Path]:
        """All files that may be read."""
        return sorted({*self.images.values(), *([self.annotation] if self.annotation else [])})

    def owns(self, path: str) -> bool:
        """Return whether a path below the raw folder matches a pattern of this case's images or labels."""
        settings = [*self.block["modalities"].values(), self.block["annotation"]]
        matches = (_expression(pattern).fullmatch(path) for setting in settings for pattern in setting["file"])
        return any(match is not None and match["case"].replace("_", "-") == self.case for match in matches)

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Table rows of the file of each modality; empty where there is none."""
        files = {name: self.images.get(name) for name in self.block["modalities"]}
        return [{"modality": name, "file": path.name if path else ""} for name, path in files.items()]

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """Read an image, float32, in the unit of the file; None where the case lacks the modality."""
        if modality not in self.images:
            return None
        volume = read_volume(self.images[modality], channel=self.block["modalities"][modality].get("channel"))
        return volume.with_array(volume.array.astype(np.float32)), {}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Read the labels on the reference grid, with the values of `labels`.

        Raises:
            BadInput: the file is missing, is on another grid, or has a value that is not in `values`.
        """
        path = self.annotation
        if path is None:
            expected = " or ".join(self.block["annotation"]["file"])
            raise BadInput(f"{self.raw}, case {self.case}: expected labels at {expected}, but found none; add them.")
        labels = read_volume(path)
        if not same_grid(labels, reference):
            raise BadInput(
                f"{path}: expected labels on the grid of {self.block['reference']}, {reference.shape}, got "
                f"{labels.shape} or another place; export the labels on the image's grid."
            )
        return labels.with_array(renumbered(labels.array, self.block, path)), {}


def renumbered(array: np.ndarray, block: Mapping[str, Any], path: Path) -> np.ndarray:
    """Map the label values of a file to those of the dataset.

    Args:
        array: integers of any type.
        block: settings of the dataset, with `annotation.values` (value in the file to name) and `labels` (name to
            value).
        path: the file, for messages.

    Returns:
        uint8; 0 stays background.

    Raises:
        BadInput: a value is not an integer or not in the table, or two values of the file have the same label.
    """
    mapping = {0: 0} | {int(number): block["labels"][name] for number, name in block["annotation"]["values"].items()}
    values = np.unique(array)
    unknown = [f"{number:g}" for number in values if float(number) not in mapping]
    if unknown:
        raise BadInput(
            f"{path}: expected the label values {', '.join(map(str, mapping))}, got also "
            f"{', '.join(unknown[:MOST_SHOWN])}; add them to annotation.values in datasets.yaml or correct the file."
        )
    labels = [mapping[int(number)] for number in values]
    if len(set(labels)) < len(labels):
        raise BadInput(
            f"{path}: expected one number per label, but the values {', '.join(f'{n:g}' for n in values)} name one "
            "label twice; the file mixes two releases of the dataset."
        )
    renumbered_array = np.zeros(array.shape, np.uint8)
    for number, label in zip(values, labels, strict=True):
        renumbered_array[array == number] = label
    return renumbered_array


def _expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a path pattern; repeated `{case}` must match the same text."""
    first, *others = pattern.split("{case}")
    between = [_literal(part) for part in others]
    return re.compile(_literal(first) + f"(?P<case>{CASE})" + "(?P=case)".join(between))


def _literal(text: str) -> str:
    return "[^/]*".join(re.escape(part) for part in text.split("*"))


def _find(raw: Path, case: str, patterns: Sequence[str]) -> Path | None:
    """Return the one file of a case that matches the first pattern with any match."""
    spellings = dict.fromkeys([case, case.replace("-", "_")])  # tried first, without listing the other cases
    for pattern in patterns:
        expression = _expression(pattern)
        candidates = [path for name in spellings for path in raw.glob(pattern.replace("{case}", name))]
        matches = [
            path
            for path in sorted(candidates or raw.glob(pattern.replace("{case}", case.replace("-", "[-_]"))))
            if expression.fullmatch(path.relative_to(raw).as_posix())
        ]
        if len(matches) > 1:
            names = ", ".join(path.relative_to(raw).as_posix() for path in matches[:MOST_SHOWN])
            raise BadInput(f"{raw}, case {case}: expected one file like {pattern}, got {names}; keep one.")
        if matches:
            return matches[0]
    return None
