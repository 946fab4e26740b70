"""Whether the values of a dataset's block fit together: labels, regions, modalities and patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.study.names import instead


def check_dataset(name: str, block: Mapping[str, Any]) -> None:
    """Check the block of a dataset.

    Args:
        name: of the dataset.
        block: its block of `config/datasets.yaml`, of the form of its schema.

    Raises:
        BadInput: a label or a modality does not exist, modalities follow one another in a circle, limits are not
            ascending, or a pattern is no regular expression; the message names the place.
    """
    place = f"datasets.{name}"
    _check_labels(place, block)
    _check_modalities(place, block)
    for modality, settings in block["modalities"].items():
        _check_normalization(f"{place}.modalities.{modality}.normalization", settings["normalization"])
        _check_series(f"{place}.modalities.{modality}.series", settings.get("series", ()))
    annotation = block["annotation"]
    _check_series(f"{place}.annotation.series", annotation.get("series", ()))
    for label, asked in annotation.get("rois", {}).items():
        _check_pattern(f"{place}.annotation.rois.{label}", asked if isinstance(asked, str) else asked["pattern"])


def _check_labels(place: str, block: Mapping[str, Any]) -> None:
    labels, annotation = block["labels"], block["annotation"]
    values = {value: f"{value} ({label})" for label, value in labels.items()}
    for region, joined in block["regions"].items():
        for value in joined:
            if value not in values:
                raise BadInput(
                    f"{place}.regions.{region}: {value} is not a value of {place}.labels; known are: "
                    f"{', '.join(values.values())}."
                )
    named = [("rois", label) for label in annotation.get("rois", ())]
    named += [("values", label) for label in annotation.get("values", {}).values()]
    named += [("optional", label) for label in annotation.get("optional", ())]
    for key, label in named:
        _require(f"{place}.annotation.{key}", label, labels, f"in {place}.labels")
    for value in annotation.get("values", ()):
        if not re.fullmatch(r"-?[0-9]+", str(value)):
            raise BadInput(f"{place}.annotation.values: expected whole numbers of the file as keys, got {value!r}.")


def _check_modalities(place: str, block: Mapping[str, Any]) -> None:
    modalities, reference = block["modalities"], block["reference"]
    _require(f"{place}.reference", reference, modalities, f"in {place}.modalities")
    if "drawn_on" in block["annotation"]:
        _require(f"{place}.annotation.drawn_on", block["annotation"]["drawn_on"], modalities, f"in {place}.modalities")
    followed = {name: settings["follows"] for name, settings in modalities.items() if "follows" in settings}
    for name, other in followed.items():
        _require(f"{place}.modalities.{name}.follows", other, modalities, f"in {place}.modalities")
    for name in followed:
        chain = [name]
        while chain[-1] in followed and chain[-1] != reference:
            chain.append(followed[chain[-1]])
            if chain[-1] in chain[:-1]:
                raise BadInput(
                    f"{place}.modalities.{name}.follows: expected a modality that does not follow back, got the circle "
                    f"{', '.join(chain)}; let one of them follow none."
                )


def _check_normalization(place: str, settings: Mapping[str, Any]) -> None:
    clip = settings.get("clip", (0, 1))
    if not clip[0] < clip[1]:
        raise BadInput(f"{place}.clip: expected a lower and a higher percentile, got {', '.join(map(str, clip))}.")
    low, high = settings.get("low", 0), settings.get("high", 1)
    if settings["method"] == "window" and not low < high:
        raise BadInput(f"{place}: expected low below high, got {low} and {high}.")


def _check_series(place: str, rules: Iterable[Mapping[str, Any]]) -> None:
    for number, rule in enumerate(rules):
        tags = {key: pattern for key, pattern in rule.items() if key not in ("sequence", "without")}
        tags |= {f"without.{key}": pattern for key, pattern in rule.get("without", {}).items()}
        for keyword, pattern in tags.items():
            _check_pattern(f"{place}.{number}.{keyword}", pattern)


def _check_pattern(place: str, pattern: str) -> None:
    try:
        re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise BadInput(f"{place}: expected a regular expression, got {pattern!r}: {error}.") from None


def _require(place: str, name: str, names: Iterable[str], where: str) -> None:
    names = list(names)
    if name not in names:
        raise BadInput(f"{place}: {name!r} is not {where}{instead(name, names)}")
