"""Prepare a set of picture pairs: read, checked and stored as cases of one slice.

Nothing is registered or resampled: the two pictures of a pair show one object pixel by pixel, as their publisher says.
Color is stored as luma and chroma, to half a step of 1/32,767 of the largest value: at most 0.004 of a gray level of 8
bits, so that 8-bit colors come back as they were.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.fetch.manifest import fetched_folder_of, require_unchanged
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.names import first_of
from diffufuse.files.records import write_record
from diffufuse.ingest.formats import pairs as format_pairs
from diffufuse.logs import PROGRESS, Progress
from diffufuse.pixels.color import luma_and_chroma
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.orientation import as_slice
from diffufuse.prepare.near_duplicates import repeated, thumbnail
from diffufuse.store.intensity import intensity_statistics
from diffufuse.store.slices import write_slices

ROLES = ("structure", "function")
Parts = Mapping[str, tuple[int | None, int | None]]


def prepare_pairs(
    manifest: str | os.PathLike[str],
    *,
    block: Mapping[str, Any],
    parts: Parts,
    folder: str | os.PathLike[str],
    record: str | os.PathLike[str],
) -> None:
    """Read, check and store the pairs of a set.

    Args:
        manifest: of the dataset's raw files; those of the pairs must match it.
        block: settings of the dataset: `pair`, and `modalities` with `file`.
        parts: name of each pair that takes part → the fold in which it is tested and the one in which it validates.
        folder: receives `{case}_slices.b2nd` of each pair: the luma of both modalities in 0..1, in channel order, and
            of a picture with colors `{modality}_cb` and `{modality}_cr`; everywhere present and body, without labels.
        record: JSON; `pairs` has for each pair the SHA-256 of its store, statistics, size and files.

    Raises:
        BadInput: a pair is missing, cannot be read, is constant or of two sizes; files differ from the manifest; or
            two pairs are the same pictures and a fold parts them. The first fault is raised, the others are logged.
    """
    raw = fetched_folder_of(manifest)
    found = _chosen(raw, format_pairs.find_pairs(raw, block), parts)
    files = [file for pair in found.values() for file in pair.values()]
    require_unchanged(manifest, files, owns=lambda path: format_pairs.case_of_image(path, block) in found)
    progress, facts, thumbnails = Progress(f"Prepare {raw.name}", len(found)), {}, {}
    faults: list[BadInput] = []
    with atomic_folder(folder) as partial:
        for number, (case, pair) in enumerate(found.items(), start=1):
            try:
                facts[case], thumbnails[case] = _stored(case, pair, raw, partial)
            except BadInput as fault:
                faults.append(fault)
            progress.step(number)
        _raise_first(faults)
        _raise_first(list(_doubles(raw, thumbnails, block["pair"], parts)))
    write_record({"pair": dict(block["pair"]), "pairs": facts}, record)


def _chosen(raw: Path, found: Mapping[str, dict[str, Path]], parts: Parts) -> dict[str, dict[str, Path]]:
    """The pairs that take part, in the order of the cohort sheet."""
    missing = [case for case in parts if case not in found]
    if missing:
        raise BadInput(
            f"{raw}: expected two pictures of each pair in the cohort sheet, but {len(missing)} lack one or both "
            f"({first_of(missing)}); put them there, or exclude the pair in its sheet."
        )
    others = [case for case in found if case not in parts]
    if others:
        PROGRESS.info("%s: %d pairs take no part: %s", raw.name, len(others), first_of(others))
    return {case: found[case] for case in parts}


def _stored(
    case: str, pair: Mapping[str, Path], raw: Path, folder: Path
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Store one pair; returns its facts, and modality to the thumbnail of its picture."""
    pictures = {name: read_picture(path) for name, path in pair.items()}
    _require_one_size(pair, pictures)
    images: dict[str, np.ndarray] = {}
    chroma: dict[str, np.ndarray] = {}
    for name, picture in pictures.items():
        if picture.ndim == 3 and (picture != picture[..., :1]).any():
            images[name], chroma[f"{name}_cb"], chroma[f"{name}_cr"] = luma_and_chroma(picture)
        else:
            images[name] = picture if picture.ndim == 2 else picture[..., 0]
        if np.ptp(images[name]) == 0:
            raise BadInput(
                f"{pair[name]}: expected gray levels that vary, but all are {images[name].flat[0]:.3g}; exclude the "
                "pair in its cohort sheet."
            )
    channels = {name: as_slice(values) for name, values in (images | chroma).items()}
    everywhere = np.ones(next(iter(channels.values())).shape, bool)
    sha256 = write_slices(
        folder / f"{case}_slices.b2nd",
        images=channels,
        presence=dict.fromkeys(channels, everywhere),
        body=everywhere,
        labels=np.zeros(everywhere.shape, np.uint8),
        bounded=True,
    )
    facts = {
        "slices_sha256": sha256,
        "statistics": {name: intensity_statistics(channels[name], everywhere) for name in images},
        "files": {name: path.relative_to(raw).as_posix() for name, path in pair.items()},
        "shape": list(everywhere.shape),
    }
    return facts, {name: thumbnail(image) for name, image in images.items()}


def _require_one_size(pair: Mapping[str, Path], pictures: Mapping[str, np.ndarray]) -> None:
    (one, first), (other, second) = pictures.items()
    if first.shape[:2] != second.shape[:2]:
        raise BadInput(
            f"{pair[one]}: expected the size of its partner of {other}, {_size(second)}, got {_size(first)}; "
            "exclude the pair in its cohort sheet, or get pictures of one size."
        )


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _doubles(
    raw: Path, thumbnails: Mapping[str, Mapping[str, np.ndarray]], pair: Mapping[str, str], parts: Parts
) -> Iterator[BadInput]:
    """The refusals of pairs whose pictures are both the same and that a fold parts; other repetitions are logged.

    One picture alone may be the same for a good reason: one slice of MR with two tracers.
    """
    cases = list(thumbnails)
    structures, functions = ([thumbnails[case][pair[role]] for case in cases] for role in ROLES)
    for i, j, shared in repeated(structures, functions):
        first, second = cases[i], cases[j]
        apart = parts[first] != parts[second]
        if shared == "both" and apart:
            yield BadInput(
                f"{raw}: expected other pictures in test, validation and training, but {first} and {second} are the "
                "same, or one is the other turned or mirrored, and a fold of the cohort sheet parts them; exclude one, "
                "or give both the same fold and validates."
            )
        else:
            where = "in two parts" if apart else "in one part"
            PROGRESS.warning(
                "%s: %s and %s have the same pictures (%s), %s of the cohort.", raw.name, first, second, shared, where
            )


def _raise_first(faults: list[BadInput]) -> None:
    for fault in faults[1:]:
        PROGRESS.warning("%s", fault)
    if faults:
        raise faults[0]
