"""Whether the values of a dataset's block fit together: labels, regions, modalities and their order."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.dataset_display import (
    check_display,
    check_no_prefix,
    check_pair_keys,
    check_patterns_of_pair,
    check_phantom,
)
from diffufuse.study.dataset_frames import check_frames
from diffufuse.study.dataset_patterns import check_files, check_rois, check_series, check_source

# Names of files beside the images of a case.
RESERVED = ("labels", "body")
# Key of a modality or of the annotation to the one format that reads it; `file` is read by all but DICOM.
FORMAT_OF_KEY = {
    "modalities": dict.fromkeys(("series", "fill_gaps", "aligned", "partial"), "dicom") | {"channel": "nifti"},
    "annotation": dict.fromkeys(("series", "drawn_on", "rois", "optional", "other_study"), "dicom")
    | dict.fromkeys(("file", "values"), "nifti"),
}
# Key of a normalization to the one method that reads it.
METHOD_OF_KEY = {"clip": "cohort", "low": "window", "high": "window"}
PHYSICS = {"log": "pet"}
LARGEST_LABEL = 255
FINEST_MM, COARSEST_MM = 0.01, 100


def check_dataset(name: str, block: Mapping[str, Any]) -> None:
    """Check the block of a dataset.

    Args:
        name: of the dataset.
        block: its block of `config/datasets.yaml`, of the form of its schema.

    Raises:
        BadInput: a label or a modality does not exist or stands twice, a label has no number of its own or no contour
            or value, modalities follow one another in a circle or read one image, limits are not ascending, a key is
            read by another format or method alone, or a pattern is none or can match nothing; the message names the
            place.
    """
    place = f"datasets.{name}"
    check_display(place, block)
    check_phantom(place, block)
    if block.get("format") == "pairs":
        check_pair_keys(place, block)
        check_files(place, block)
        check_patterns_of_pair(place, block)
        check_source(place, block.get("source", {}))
        return
    check_no_prefix(place, block)
    _check_numbers(place, block)
    _check_labels(place, block)
    _check_values(place, block)
    _check_modalities(place, block)
    check_frames(place, block)
    _check_spacing(place, block)
    for modality, settings in block["modalities"].items():
        _check_normalization(f"{place}.modalities.{modality}.normalization", settings)
    _check_keys(place, block)
    check_series(place, block)
    check_rois(place, block)
    check_files(place, block)
    check_source(place, block.get("source", {}))


def check_alike(blocks: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that `like` names a modality of the same kind that another dataset has, and this one has not.

    Args:
        blocks: of all datasets.

    Raises:
        BadInput: it names nothing, or has no effect.
    """
    for name, block in blocks.items():
        kinds = {
            (modality, settings["kind"])
            for other, other_block in blocks.items()
            if other != name
            for modality, settings in other_block["modalities"].items()
        }
        taken: dict[str, str] = {}
        for modality, settings in block["modalities"].items():
            if "like" in settings:
                place, like = f"datasets.{name}.modalities.{modality}.like", settings["like"]
                alike = dict.fromkeys(other for other, kind in sorted(kinds) if kind == settings["kind"])
                _require(place, like, alike, f"a modality of kind {settings['kind']} of another dataset")
                if like in block["modalities"] or like in taken:
                    raise BadInput(
                        f"{place}: expected a modality that nothing else of this dataset stands for, got {like!r}, "
                        f"which {taken.get(like, like)} does; leave it out."
                    )
                taken[like] = modality


def _check_keys(place: str, block: Mapping[str, Any]) -> None:
    """Check that no key stands where the format does not read it."""
    if "format" not in block:
        return
    parts = {f"modalities.{name}": settings for name, settings in block["modalities"].items()}
    for part, settings in (*parts.items(), ("annotation", block["annotation"])):
        for key in settings:
            wanted = FORMAT_OF_KEY[part.partition(".")[0]].get(key, block["format"])
            if key == "file" and block["format"] == "dicom":
                wanted = "nifti"
            if wanted != block["format"]:
                raise BadInput(
                    f"{place}.{part}.{key}: expected a key that is read with format {block['format']}, got one that is "
                    f"read with {wanted} alone; leave it out, or correct the format."
                )


def _check_numbers(place: str, block: Mapping[str, Any]) -> None:
    names: dict[int, str] = {}
    for label, number in block["labels"].items():
        if number in names:
            raise BadInput(
                f"{place}.labels.{label}: expected a number of its own, got {number}, which {names[number]} has; give "
                "each label another."
            )
        names[number] = label
        if not 1 <= number <= LARGEST_LABEL:
            raise BadInput(f"{place}.labels.{label}: expected 1 to {LARGEST_LABEL}, got {number}; 0 is background.")


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
        if len(set(joined)) < len(joined):
            raise BadInput(f"{place}.regions.{region}: expected each number once, got {', '.join(map(str, joined))}.")
    named = [("rois", label) for label in annotation.get("rois", ())]
    named += [("values", label) for label in annotation.get("values", {}).values()]
    named += [("optional", label) for label in annotation.get("optional", ())]
    for key, label in named:
        _require(f"{place}.annotation.{key}", label, labels, f"in {place}.labels")
    drawn = {label for key, label in named if key != "optional"}
    for label in labels:
        if drawn and label not in drawn:
            raise BadInput(
                f"{place}.labels.{label}: expected a label that {place}.annotation names, got one that no contour and "
                "no value gives, so it would be empty in every case; name it there, or leave it out."
            )
    if "no_lesion" not in block and "lesion" in block:
        _require(f"{place}.lesion", block["lesion"], block["regions"], "a region")


def _check_values(place: str, block: Mapping[str, Any]) -> None:
    """Check the numbers of the file; 0 is background in every file."""
    for value in block["annotation"].get("values", ()):
        if not re.fullmatch(r"-?[0-9]+", str(value)):
            raise BadInput(f"{place}.annotation.values: expected whole numbers of the file as keys, got {value!r}.")
        if not re.fullmatch(r"-?[1-9][0-9]{0,8}", str(value)):
            raise BadInput(
                f"{place}.annotation.values: expected numbers of the file like 1 or 12 as keys, got {value!r}; 0 is "
                "background and has no label."
            )


def _check_modalities(place: str, block: Mapping[str, Any]) -> None:
    modalities, reference = block["modalities"], block["reference"]
    _require(f"{place}.reference", reference, modalities, f"in {place}.modalities")
    if "drawn_on" in block["annotation"]:
        _require(f"{place}.annotation.drawn_on", block["annotation"]["drawn_on"], modalities, f"in {place}.modalities")
    for name in modalities:
        if name in RESERVED:
            raise BadInput(
                f"{place}.modalities.{name}: expected a name that no other file of a case has, got {name!r}; choose "
                "another."
            )
    followed = {name: settings["follows"] for name, settings in modalities.items() if "follows" in settings}
    for name, other in followed.items():
        _require(f"{place}.modalities.{name}.follows", other, modalities, f"in {place}.modalities")
    _check_circles(place, followed)
    if reference in followed:
        raise BadInput(
            f"{place}.modalities.{reference}.follows: expected none, as {reference} is the reference, to which all "
            f"others are brought, got {followed[reference]!r}; leave it out."
        )


def _check_circles(place: str, followed: Mapping[str, str]) -> None:
    for name in followed:
        chain = [name]
        while chain[-1] in followed:
            chain.append(followed[chain[-1]])
            if chain[-1] in chain[:-1]:
                raise BadInput(
                    f"{place}.modalities.{name}.follows: expected a modality that does not follow back, got the circle "
                    f"{', '.join(chain)}; let one of them follow none."
                )


def _check_spacing(place: str, block: Mapping[str, Any]) -> None:
    spacing = block.get("spacing_mm", ())
    if not all(FINEST_MM <= size <= COARSEST_MM for size in spacing):
        raise BadInput(
            f"{place}.spacing_mm: expected voxels of {FINEST_MM} to {COARSEST_MM} mm, got "
            f"{', '.join(map(str, spacing))}; give the size in mm."
        )


def _check_normalization(place: str, modality: Mapping[str, Any]) -> None:
    settings = modality["normalization"]
    method = settings["method"]
    for key in settings:
        if METHOD_OF_KEY.get(key, method) != method:
            raise BadInput(
                f"{place}.{key}: expected a key that the method {method} reads, got one that {METHOD_OF_KEY[key]} "
                "alone reads; leave it out, or correct the method."
            )
    if PHYSICS.get(method, modality["kind"]) != modality["kind"]:
        raise BadInput(
            f"{place}.method: expected another method than {method} for an image of kind {modality['kind']}, as it is "
            f"meant for {PHYSICS[method]} and values below 0 would be lost."
        )
    clip = settings.get("clip", (0, 1))
    if not clip[0] < clip[1]:
        raise BadInput(f"{place}.clip: expected a lower and a higher percentile, got {', '.join(map(str, clip))}.")
    low, high = settings.get("low", 0), settings.get("high", 1)
    if method == "window" and not low < high:
        raise BadInput(f"{place}: expected low below high, got {low} and {high}.")


def _require(place: str, name: str, names: Iterable[str], where: str) -> None:
    names = list(names)
    if name not in names:
        raise BadInput(f"{place}: {name!r} is not {where}{instead(name, names)}")
