"""Cases that the common grid is too coarse for, and slabs that are too thin for N4 or ANTs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from diffufuse.evaluate.fold import evaluate_fold
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.scaling import fit_calibration
from diffufuse.fetch.manifest import write_manifest
from diffufuse.ingest.case import ingest_case
from diffufuse.predict.inference import write_prediction
from diffufuse.prepare.case import Prepared, prepare_case, require_sound
from diffufuse.prepare.writing import write_prepared
from diffufuse.space.volumes import Volume, read_volume, write_volume
from diffufuse.store.case import read_prepared
from faults import Fault

SHAPE, SPACING_MM, GRID_MM = (40, 40, 20), (1.0, 1.0, 2.0), (2.5, 2.5, 4.0)
MR = {"t1": {"kind": "mr", "bias_correction": "none"}}
N4 = {"t1": {"kind": "mr"}}
PAIR = {"t1": {"kind": "mr", "bias_correction": "none"}, "ct": {"kind": "ct"}}
REGIONS = {"core": [1], "whole": [1, 2]}
NAMES = {"dataset": "legs", "condition": "clean", "trained_on": "legs", "model": "m", "fold": 0, "seed": 0}
Ball = tuple[int, tuple[float, float, float], float]


def tissue(shape: tuple[int, int, int], *, seed: int = 0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return field / field.std()


def balls(*drawn: Ball, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Labels of balls: label, center and radius in mm."""
    points_mm = np.indices(shape) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    labels = np.zeros(shape, np.uint8)
    for label, center_mm, radius_mm in drawn:
        labels[np.linalg.norm(points_mm - np.reshape(center_mm, (3, 1, 1, 1)), axis=0) < radius_mm] = label
    return labels


def written(*drawn: Ball, body: np.ndarray | None = None) -> Callable[[Path], None]:
    """Writes an MR image of a leg and labels."""

    def make(folder: Path) -> None:
        affine = np.diag([*SPACING_MM, 1.0])
        image = 500 + 100 * tissue(SHAPE)
        image = image if body is None else np.where(body, image, 0)
        write_volume(Volume(image.astype(np.float32), affine), folder / "t1.nii.gz")
        write_volume(Volume(balls(*drawn), affine), folder / "labels.nii.gz")

    return make


def slab(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Callable[[Path], None]:
    """Writes an MR slab without labels."""

    def make(folder: Path) -> None:
        affine, x = np.diag([*spacing_mm, 1.0]), np.indices(shape)[0]
        image = np.exp(x / max(shape)) * (500 + 30 * np.random.default_rng(0).normal(size=shape))
        write_volume(Volume(image.astype(np.float32), affine), folder / "t1.nii.gz")
        write_volume(Volume(np.zeros(shape, np.uint8), affine), folder / "labels.nii.gz")

    return make


def with_ct(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Callable[[Path], None]:
    """Writes a CT of that shape beside an MR image."""

    def make(folder: Path) -> None:
        written()(folder)
        hu = 60 - 20 * (tissue((40, 40, 20))[: shape[0], : shape[1], : shape[2]] - 1) ** 2
        write_volume(Volume(hu.astype(np.float32), np.diag([*spacing_mm, 1.0])), folder / "ct.nii.gz")

    return make


def prepared(
    folder: Path, modalities: Mapping[str, Mapping[str, str]] = MR, transform: Any = "rigid", spacing_mm: Any = GRID_MM
) -> Prepared:
    images = {name: read_volume(folder / f"{name}.nii.gz") for name in modalities}
    settings = {"modalities": modalities, "reference": "t1", "spacing_mm": spacing_mm, "transform": transform}
    case = prepare_case(images, read_volume(folder / "labels.nii.gz"), **settings)
    require_sound(case, "LEG-1", gate={}, picture="LEG-1.png")
    return case


def notes(folder: Path) -> list[str]:
    notes: list[str] = prepared(folder).record["notes"]
    return notes


def predicted(folder: Path, *, nothing: bool = True) -> Predicted:
    """The case, prepared and written, with predictions of nothing or of everything."""
    files = {part: folder / part for part in ("images", "masks")}
    files |= {name: folder / f"LEG-1_{name}.nii.gz" for name in ("labels", "body")}
    files |= {"slices": folder / "LEG-1_slices.b2nd", "record": folder / "LEG-1.json"}
    write_prepared(prepared(folder), "LEG-1", modalities=MR, **files)
    case = read_prepared(files["record"])
    probability = np.full(case.slices.shape, 0 if nothing else 1, np.float32)
    write_prediction(dict.fromkeys(REGIONS, probability), case, folder)
    return Predicted(folder, [files["record"]], REGIONS)


def scores(folder: Path, *, nothing: bool = True) -> pd.DataFrame:
    """Regions in rows, metrics in columns."""
    table, _ = evaluate_fold(predicted(folder, nothing=nothing), thresholds={}, names=NAMES)
    return table.pivot(index="region", columns="metric", values="value")


def not_scored(table: Any, region: str) -> bool:
    return bool(table.loc[region, "lost"] == 1 and table.loc[region].drop("lost").isna().all())


def calibrated_on(folder: Path) -> list[int]:
    names = {name: NAMES[name] for name in ("dataset", "model", "fold", "seed")}
    return fit_calibration(predicted(folder, nothing=False), scaling="none", names=names)["patients"].tolist()


def write_constant_body(folder: Path) -> None:
    body = balls((1, (20, 20, 20), 14)) > 0
    affine = np.diag([*SPACING_MM, 1.0])
    image = np.where(body, 100, np.random.default_rng(0).normal(0, 1, SHAPE).clip(0, 5))
    write_volume(Volume(image.astype(np.float32), affine), folder / "t1.nii.gz")
    write_volume(Volume(np.zeros(SHAPE, np.uint8), affine), folder / "labels.nii.gz")


class Covering:
    """A format whose one label covers another whole."""

    files: tuple[Path, ...] = ()
    choice = ({"modality": "t1", "file": "t1.nii.gz"},)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_case(self, raw: Path, case: str, block: Mapping[str, Any]) -> "Covering":
        return self

    def owns(self, path: str) -> bool:
        return False

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]]:
        return read_volume(self.folder / f"{modality}.nii.gz"), {}

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        facts = {"core": {"drawn_ml": 0.3, "mask_ml": 0.3}, "edema": {"drawn_ml": 2.0, "mask_ml": 2.0}}
        return read_volume(self.folder / "labels.nii.gz"), facts


def ingested(folder: Path) -> object:
    write_manifest(folder / "raw.manifest.tsv", {}, address="-")
    block = {"modalities": {"t1": {}}, "reference": "t1", "annotation": {}, "labels": {"core": 1, "edema": 2}}
    files = {"folder": folder / "LEG-1", "record": folder / "LEG-1.json"}
    return ingest_case(Covering(folder), folder / "raw.manifest.tsv", "LEG-1", block=block, **files)


MIDDLE, ASIDE = (19.0, 19.0, 18.0), (9.0, 9.0, 10.0)
TINY, LARGE = (1, MIDDLE, 1.1), (1, MIDDLE, 7.0)
FAULTS = [
    Fault(
        "lesion: 2 mm on a grid of 2.5 x 2.5 x 4 mm, and a model that predicts nothing",
        written(TINY),
        scores,
        right=lambda table: not_scored(table, "core") and not_scored(table, "whole"),
    ),
    Fault(
        "lesion: 2 mm on a grid of 2.5 x 2.5 x 4 mm, and a model that predicts something",
        written(TINY),
        lambda folder: scores(folder, nothing=False),
        right=lambda table: not_scored(table, "core") and not_scored(table, "whole"),
    ),
    Fault(
        "lesion: lost in a validation patient", written(TINY), calibrated_on, right=lambda patients: patients == [0, 0]
    ),
    Fault("lesion: lost, and told", written(TINY), notes, right=lambda told: "label 1: all 0.01 ml" in told[0]),
    Fault(
        "lesion: one region of two is lost, the other is scored",
        written((2, MIDDLE, 7.0), (1, (27.0, 19.0, 18.0), 1.1)),
        lambda folder: scores(folder, nothing=False),
        right=lambda table: not_scored(table, "core") and 0 < table.loc["whole", "dice"] < 1,
    ),
    Fault(
        "lesion: none was drawn, so that nothing is right",
        written(),
        scores,
        right=lambda table: table.loc["core", ["dice", "both_empty", "lost"]].tolist() == [1, 1, 0],
    ),
    Fault(
        "lesion: one of two parts of a label is lost",
        written(LARGE, (1, ASIDE, 1.1)),
        notes,
        right=lambda told: "label 1: 1 of its 2 parts are lost" in told[0],
    ),
    Fault(
        "lesion: two parts of a label are both there",
        written(LARGE, (1, ASIDE, 5.0)),
        notes,
        right=lambda told: told == [],
    ),
    Fault(
        "lesion: its volume changes by a fifth",
        written((1, MIDDLE, 2.3)),
        notes,
        right=lambda told: len(told) == 1 and "ml became" in told[0],
    ),
    Fault(
        "lesion: outside of the body",
        written((1, ASIDE, 4.5), body=np.indices(SHAPE)[0] > 18),
        notes,
        right=lambda told: "100% of it lie outside the body" in told[-1],
    ),
    Fault(
        "lesion: another label, painted later, covers it",
        written((1, MIDDLE, 4.0), (2, MIDDLE, 7.0)),
        ingested,
        "LEG-1: expected voxels of core, .* put core after them in rois",
    ),
    Fault(
        "slab: three slices of 3 mm, thinner than N4's smallest grid",
        slab((48, 48, 3), (1.0, 1.0, 3.0)),
        lambda folder: prepared(folder, N4, spacing_mm=(None, None, None)),
        right=lambda case: case.record["notes"] == [] and flat(case.images["t1"].array),
    ),
    Fault(
        "slab: two slices of 5 mm",
        slab((48, 48, 2), (1.0, 1.0, 5.0)),
        lambda folder: prepared(folder, N4, spacing_mm=(None, None, None)),
        right=lambda case: case.record["notes"] == [] and flat(case.images["t1"].array),
    ),
    Fault(
        "slab: a single slice has no bias field to correct",
        slab((48, 48, 1), (1.0, 1.0, 3.0)),
        lambda folder: prepared(folder, N4, spacing_mm=(None, None, None)).record["notes"],
        right=lambda told: "t1: its bias field is not corrected, as its shape is 48 x 48 x 1" in told[0],
    ),
    Fault(
        "slab: a few voxels in the plane",
        slab((3, 3, 8), (1.0, 1.0, 3.0)),
        lambda folder: prepared(folder, N4, spacing_mm=(None, None, None)),
        right=lambda case: bool(np.isfinite(case.images["t1"].array).all()),
    ),
    Fault(
        "slab: one slice is not deformed",
        with_ct((40, 40, 1), (1.0, 1.0, 2.0)),
        lambda folder: prepared(folder, PAIR, "syn"),
        "ct: expected images that ANTs can register .* set transform: rigid",
    ),
    Fault(
        "slab: an image of a few voxels cannot be registered",
        with_ct((2, 2, 2), (1.0, 1.0, 1.0)),
        lambda folder: prepared(folder, PAIR),
        "ct: expected values that vary inside the body, got only 57.3742 there",
    ),
    Fault(
        "slab: an image that is constant inside the body",
        write_constant_body,
        lambda folder: prepared(folder, spacing_mm=(None, None, None)),
        "t1: expected values that vary",
    ),
]


def flat(image: np.ndarray) -> bool:
    """Whether the bias field, a factor of e from side to side, is gone for the most part."""
    left, right = np.median(image[:8]), np.median(image[-8:])
    return bool(np.isfinite(image).all() and right / left < 1.5)
