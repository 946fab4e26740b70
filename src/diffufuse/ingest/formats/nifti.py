"""Images and labels as NIfTI files, found by the pattern of their paths.

A pattern is a path below the raw folder in which `{case}` stands for the case, `*` for anything within one name.
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
    """Names of the cases that have an image of the reference modality, sorted; a source's `_` is our `-`.

    Raises:
        BadInput: two cases of the source would get the same name.
    """
    patterns = [_expression(pattern) for pattern in block["modalities"][block["reference"]]["file"]]
    paths = [path.relative_to(raw).as_posix() for path in sorted(raw.rglob("*")) if path.is_file()]
    found = {match["case"] for path in paths for pattern in patterns if (match := pattern.fullmatch(path))}
    names = sorted(source.replace("_", "-") for source in found)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise BadInput(
            f"{raw}: expected names that differ by more than `_` and `-`, but {', '.join(twice[:MOST_SHOWN])} stands "
            "twice; rename one."
        )
    return names


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> "NiftiCase":
    """The files of one case.

    Args:
        raw: the source's folder.
        case: name of the case.
        block: of the dataset: every modality has `file`, a list of patterns, and may have `channel`, the index in a
            4-D file; `annotation` has `file` and `values`, from the file's numbers to the names in `labels`.

    Raises:
        BadInput: nothing of the case is there, or two files could be the same image.
    """
    images = {name: _find(raw, case, settings["file"]) for name, settings in block["modalities"].items()}
    labels = _find(raw, case, block["annotation"]["file"])
    if not any(images.values()):
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    return NiftiCase(raw, case, block, {name: path for name, path in images.items() if path}, labels)


@dataclass(frozen=True)
class NiftiCase:
    """The files of one case.

    Attributes:
        raw: the source's folder.
        case: name of the case.
        block: of the dataset.
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
        """Every file that may be read."""
        return sorted({*self.images.values(), *([self.annotation] if self.annotation else [])})

    def owns(self, path: str) -> bool:
        """Whether a path below the raw folder is of this case: by the pattern of a modality or of the labels."""
        settings = [*self.block["modalities"].values(), self.block["annotation"]]
        found = (_expression(pattern).fullmatch(path) for one in settings for pattern in one["file"])
        return any(match is not None and match["case"].replace("_", "-") == self.case for match in found)

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Which file every modality was found in, one row each; empty where there is none."""
        found = {name: self.images.get(name) for name in self.block["modalities"]}
        return [{"modality": name, "file": path.name if path else ""} for name, path in found.items()]

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """An image, float32, in the file's own unit; None where the case has no such modality."""
        if modality not in self.images:
            return None
        volume = read_volume(self.images[modality], channel=self.block["modalities"][modality].get("channel"))
        return volume.with_array(volume.array.astype(np.float32)), {}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Labels on the reference image's grid, as `labels` numbers them.

        Raises:
            BadInput: there is no file, it lies on another grid, or holds a number that `values` does not name.
        """
        path = self.annotation
        if path is None:
            expected = " or ".join(self.block["annotation"]["file"])
            raise BadInput(f"{self.raw}, case {self.case}: expected labels at {expected}, but found none; add them.")
        drawn = read_volume(path)
        if not same_grid(drawn, reference):
            raise BadInput(
                f"{path}: expected labels on the grid of {self.block['reference']}, {reference.shape}, got "
                f"{drawn.shape} or another place; export the labels on the image's grid."
            )
        return drawn.with_array(renumbered(drawn.array, self.block, path)), {}


def renumbered(array: np.ndarray, block: Mapping[str, Any], path: Path) -> np.ndarray:
    """A file's label numbers as the dataset's own.

    Args:
        array: whole numbers of any type.
        block: of the dataset, with `annotation.values` (file's number to name) and `labels` (name to ours).
        path: the file, for messages.

    Returns:
        uint8; 0 stays background.

    Raises:
        BadInput: a value is not whole or not in the table, or two numbers of one file mean the same label.
    """
    values = {0: 0} | {int(number): block["labels"][name] for number, name in block["annotation"]["values"].items()}
    found = np.unique(array)
    unknown = [f"{number:g}" for number in found if float(number) not in values]
    if unknown:
        raise BadInput(
            f"{path}: expected the label values {', '.join(map(str, values))}, got also "
            f"{', '.join(unknown[:MOST_SHOWN])}; add them to annotation.values in datasets.yaml or correct the file."
        )
    meant = [values[int(number)] for number in found]
    if len(set(meant)) < len(meant):
        raise BadInput(
            f"{path}: expected one number per label, but the values {', '.join(f'{n:g}' for n in found)} name one "
            "label twice; the file mixes two releases of the dataset."
        )
    ours = np.zeros(array.shape, np.uint8)
    for number, label in zip(found, meant, strict=True):
        ours[array == number] = label
    return ours


def _expression(pattern: str) -> re.Pattern[str]:
    """What a path must match; the case is the same wherever it stands."""
    first, *others = pattern.split("{case}")
    between = [_literal(part) for part in others]
    return re.compile(_literal(first) + f"(?P<case>{CASE})" + "(?P=case)".join(between))


def _literal(text: str) -> str:
    return "[^/]*".join(re.escape(part) for part in text.split("*"))


def _find(raw: Path, case: str, patterns: Sequence[str]) -> Path | None:
    """The one file of a case under the first pattern that has any."""
    plain = dict.fromkeys([case, case.replace("-", "_")])  # found without a look at the other cases' names
    for pattern in patterns:
        expression = _expression(pattern)
        spelled = [path for name in plain for path in raw.glob(pattern.replace("{case}", name))]
        found = [
            path
            for path in sorted(spelled or raw.glob(pattern.replace("{case}", case.replace("-", "[-_]"))))
            if expression.fullmatch(path.relative_to(raw).as_posix())
        ]
        if len(found) > 1:
            names = ", ".join(path.relative_to(raw).as_posix() for path in found[:MOST_SHOWN])
            raise BadInput(f"{raw}, case {case}: expected one file like {pattern}, got {names}; keep one.")
        if found:
            return found[0]
    return None
