"""Whether the patterns of a dataset's block can match: tags, contours, paths and names of the source."""

import functools
import importlib.util
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from diffufuse.errors import BadInput
from diffufuse.files.names import near
from diffufuse.files.texts import odd_character

# What DICOM writes as Modality for each kind, and for contours.
CODES = {"pet": ("PT",), "ct": ("CT",), "mr": ("MR",), "annotation": ("RTSTRUCT", "SEG")}
NO_TAGS = ("sequence", "without")
IMAGE_SUFFIXES = {"pairs": (".png", ".jpg", ".jpeg", ".bmp")}
VOLUME_SUFFIXES = (".nii", ".nii.gz")
NO_TEXT = ("SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN")


def check_series(place: str, block: Mapping[str, Any]) -> None:
    """Check the rules on DICOM tags.

    Args:
        place: of the dataset.
        block: of the dataset.

    Raises:
        BadInput: a keyword is not one of DICOM, a pattern is no regular expression or can match nothing, or two
            modalities have the same rules.
    """
    parts = {f"modalities.{name}": (settings, settings["kind"]) for name, settings in block["modalities"].items()}
    parts["annotation"] = (block["annotation"], "annotation")
    owners: dict[str, str] = {}
    for part, (settings, kind) in parts.items():
        for number, rule in enumerate(settings.get("series", ())):
            _check_rule(f"{place}.{part}.series.{number}", rule, kind)
            tags = repr(sorted((key, repr(value)) for key, value in rule.items() if key != "sequence"))
            if owners.setdefault(tags, part) != part:
                raise BadInput(
                    f"{place}.{part}.series.{number}: expected a rule that no other image has, got that of "
                    f"{owners[tags]}, which would choose the same series; correct one."
                )


def check_rois(place: str, block: Mapping[str, Any]) -> None:
    """Check the patterns of contours.

    Raises:
        BadInput: a pattern is no regular expression, is empty, or is that of another label.
    """
    owners: dict[str, str] = {}
    for label, asked in block["annotation"].get("rois", {}).items():
        pattern = asked if isinstance(asked, str) else asked["pattern"]
        _check_pattern(f"{place}.annotation.rois.{label}", pattern)
        letters = re.sub(r"\\.|.", lambda found: found[0] if found[0][0] == "\\" else found[0].casefold(), pattern)
        if owners.setdefault(letters, label) != label:
            raise BadInput(
                f"{place}.annotation.rois.{label}: expected a pattern of its own, got that of "
                f"{owners[letters]}, on which it would be painted; correct one."
            )


def check_files(place: str, block: Mapping[str, Any]) -> None:
    """Check the patterns of paths below the raw folder.

    Raises:
        BadInput: a pattern leaves the raw folder or can match no file, or two images are one.
    """
    parts = {f"modalities.{name}": settings for name, settings in block["modalities"].items()}
    owners: dict[str, dict[int | None, str]] = defaultdict(dict)
    endings = IMAGE_SUFFIXES.get(block.get("format", ""), VOLUME_SUFFIXES)
    for part, settings in {**parts, "annotation": block.get("annotation", {})}.items():
        for number, pattern in enumerate(settings.get("file", ())):
            _check_path(f"{place}.{part}.file.{number}", pattern, endings)
            others, channel = owners[pattern], settings.get("channel")
            # Without a channel a file is one image, so no other image lies in it.
            same = [owner for key, owner in others.items() if None in (channel, key) or key == channel]
            if same:
                raise BadInput(
                    f"{place}.{part}.file.{number}: expected an image of its own, got that of {same[0]}; correct one, "
                    "or give each its channel."
                )
            others[channel] = part


def check_source(place: str, source: Mapping[str, Any]) -> None:
    """Check the names below a mirror or an archive, and the address of one.

    Raises:
        BadInput: a name leaves the folder, or names more than the first folder where only that is compared; or the
            address is none.
    """
    for key in ("mirror", "folder", "only"):
        names = source.get(key, ())
        for name in [names] if isinstance(names, str) else names:
            fault = _leaves(name)
            if key == "only" and "/" in name:
                fault = "a slash, and only the first name below the raw folder is compared"
            if fault:
                raise BadInput(f"{place}.source.{key}: expected a name below the folder, got {fault}; correct it.")
    fault = _no_address(source["url"]) if "url" in source else None
    if fault:
        raise BadInput(f"{place}.source.url: expected an https address of an archive, got {fault}; correct it.")


def _no_address(url: str) -> str | None:
    """Why a text is no address of an archive, without the text, in which a secret may be; None if it is one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "one that cannot be read"
    if not re.fullmatch("[!-~]+", url):
        return "one with a space or a letter that an address writes with %, as %20"
    if "@" in parts.netloc:
        return "one with a password or a user in it"
    return None if host else "one without a host"


def _check_rule(place: str, rule: Mapping[str, Any], kind: str) -> None:
    tags = {key: pattern for key, pattern in rule.items() if key not in NO_TAGS}
    without = rule.get("without", {})
    if not tags:
        raise BadInput(f"{place}: expected at least one DICOM keyword with a pattern, got none; add one.")
    for keyword, pattern in (*tags.items(), *((f"without.{key}", pattern) for key, pattern in without.items())):
        _check_keyword(place, keyword.rpartition(".")[2])
        _check_pattern(f"{place}.{keyword}", pattern)
    if without and all(tags.get(key) == pattern for key, pattern in without.items()):
        raise BadInput(f"{place}.without: expected other patterns than the rule's own, as it can match nothing.")
    codes = CODES[kind]
    if "Modality" in tags and not any(re.search(tags["Modality"], code, re.IGNORECASE) for code in codes):
        raise BadInput(
            f"{place}.Modality: expected a pattern that matches {' or '.join(codes)}, as DICOM writes it, got "
            f"{tags['Modality']!r}; correct it."
        )


def _check_keyword(place: str, keyword: str) -> None:
    keywords = dicom_keywords()
    if not keywords or keywords.get(keyword, NO_TEXT[0]).split(" ")[0] not in NO_TEXT:
        return
    hint = near(keyword, keywords.keys() - {keyword})
    raise BadInput(f"{place}: {keyword!r} is not the keyword of a DICOM tag with text{hint or '; correct it.'}")


@functools.cache
def dicom_keywords() -> dict[str, str]:
    """Keyword of every tag of DICOM to its value representation; none where pydicom is not installed.

    Read from pydicom's dictionary alone: importing pydicom takes longer than all other checks together.
    """
    package = importlib.util.find_spec("pydicom")
    path = Path(package.origin or "").with_name("_dicom_dict.py") if package else None
    spec = importlib.util.spec_from_file_location("dicom_dictionary", path) if path and path.is_file() else None
    if spec is None or spec.loader is None:
        return {}
    dictionary = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dictionary)
    return {entry[4]: entry[0] for entry in dictionary.DicomDictionary.values() if entry[4]}


def _check_pattern(place: str, pattern: str) -> None:
    odd = odd_character(pattern)
    if not pattern.strip() or odd:
        got = odd or "an empty one, which matches every text"
        raise BadInput(f"{place}: expected a regular expression, got {got}; write `^$` for a text that is empty.")
    try:
        re.compile(pattern, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadInput(f"{place}: expected a regular expression, got {pattern!r}: {error}.") from None


def _check_path(place: str, pattern: str, endings: tuple[str, ...]) -> None:
    fault = _leaves(pattern) or _never(pattern, endings)
    if fault:
        raise BadInput(f"{place}: expected a path below the raw folder, got {fault}; correct it.")


def _leaves(name: str) -> str | None:
    """Why a name does not stay below a folder, in words; None if it does."""
    steps = name.split("/")
    if odd_character(name):
        return f"{odd_character(name)} in it"
    if name != name.strip() or not name:
        return "spaces around it" if name else "an empty one"
    if "\\" in name:
        return "a backslash; write / between folders"
    if name.startswith(("/", "~")) or re.match("[A-Za-z]:", name):
        return "an absolute path"
    if ".." in steps:
        return "a path with `..`, which leaves the folder"
    return "a path with an empty name or `.` in it" if {"", "."} & set(steps) else None


def _never(pattern: str, endings: tuple[str, ...]) -> str | None:
    """Why a pattern of a path can match no image, in words; None if it can."""
    rest = pattern.replace("{case}", "")
    if rest == pattern:
        return "one without {case}, which is the same file for all"
    if set(rest) & set("{}[]?"):
        wrong = next(character for character in rest if character in "{}[]?")
        return f"`{wrong}`, which is taken as it is; only {{case}} and * stand for other text"
    if "**" in rest:
        return "`**`; write one * for each folder"
    if not pattern.endswith(endings):
        return f"another ending than {' or '.join(endings)}"
    return None
