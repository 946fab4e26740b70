"""Write the phantom cohort as DICOM, with its ground truth."""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import contourpy
import numpy as np
from scipy.ndimage import gaussian_filter

from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import write_record
from diffufuse.logs import Progress
from diffufuse.phantom.anatomy import Anatomy, draw_anatomy
from diffufuse.phantom.dicom_headers import Injection, Person, Polygon, SeriesHeader, Written, uid_of
from diffufuse.phantom.dicom_writing import write_ct, write_mr, write_pet, write_structures
from diffufuse.phantom.grids import (
    FINE_SPACING_MM,
    Grid,
    centered_grid,
    fine_grid,
    moved,
    random_displacement,
    sample,
)
from diffufuse.phantom.scanners import SpinEcho, ct_hu, mr_signal, pet_suv
from diffufuse.phantom.traits import Traits, draw_traits
from diffufuse.seeds import seed_of
from diffufuse.space.volumes import Volume, write_volume

HALF_LIFE_S = 6586.2  # fluorine-18
PET_SHAPE, PET_SPACING_MM = (64, 64, 44), (4.0, 4.0, 3.27)
CT_SHAPE, CT_SPACING_MM = (144, 144, 48), (1.5, 1.5, 3.0)
T1 = SpinEcho("T1 SE AX", repetition_ms=550, echo_ms=12, residual_fat=1, thickness_mm=4.0)
T1_SHAPE, T1_SPACING_MM = (144, 136, 34), (1.2, 1.2, 4.0)
T2FS = SpinEcho("T2 FS AX", repetition_ms=4000, echo_ms=75, residual_fat=0.07, thickness_mm=3.6)
T2FS_SHAPE, T2FS_SPACING_MM = (116, 112, 33), (1.4, 1.4, 4.0)
MASS_SMOOTHING_MM = 1.5
FEWEST_POINTS = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Visit:
    """One patient and the data shared by all images.

    Attributes:
        case: name of the case.
        seed: seed of the study.
        person: patient data of the header.
        anatomy: tissue maps of the patient.
        to_petct: (4, 4), RAS coordinate in the MR frame to RAS coordinate in the PET/CT frame, mm.
        petct_start: start of the PET/CT study.
        mr_start: start of the MR study.
    """

    case: str
    seed: int
    person: Person
    anatomy: Anatomy
    to_petct: np.ndarray
    petct_start: datetime
    mr_start: datetime

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the random number generator for one purpose."""
        return np.random.default_rng(seed_of(self.seed, "phantom", self.case, purpose))

    def series(self, name: str, *, study: str, number: int, minutes: float) -> SeriesHeader:
        """Return the header of a series that starts `minutes` after its study, which is `petct` or `mr`."""
        study_start = self.petct_start if study == "petct" else self.mr_start
        return SeriesHeader(
            person=self.person,
            study_uid=uid_of("phantom", self.seed, self.case, study, "study"),
            series_uid=uid_of("phantom", self.seed, self.case, name),
            frame_uid=uid_of("phantom", self.seed, self.case, study, "frame"),
            number=number,
            description=name,
            study_start=study_start,
            start=study_start + timedelta(minutes=minutes),
        )


def write_phantom_cohort(folder: Path, truth_folder: Path, *, patients: int, study_seed: int) -> None:
    """Write a cohort `PH-001`, `PH-002`, ...; a patient does not depend on the size of the cohort.

    Args:
        folder: receives one folder of DICOM files per patient.
        truth_folder: receives the true displacement and mask of each patient.
        patients: number of patients.
        study_seed: seed of the study.
    """
    progress = Progress("Write phantom patients", patients)
    for number in range(1, patients + 1):
        write_phantom_patient(folder, truth_folder, f"PH-{number:03d}", study_seed)
        progress.step(number)


def write_phantom_patient(folder: Path, truth_folder: Path, case: str, seed: int) -> None:
    """Write one patient: `PET`, `CT`, `MR_T1`, `MR_T2FS` and `RTSTRUCT` in a folder named after the case.

    PET and CT share one frame of reference, both MR series and the structures another. In the truth folder,
    `{case}.json` holds `mr_to_petct`, the 4x4 matrix that maps a RAS coordinate (mm) in the MR frame to the RAS
    coordinate of the same tissue in the PET/CT frame; `{case}_mass.nii.gz` is the mass on a fine grid in the MR frame.

    Args:
        folder: receives the patient's folder, written atomically.
        truth_folder: receives the ground truth.
        case: ends in the patient's number, such as `PH-001`.
        seed: seed of the study.

    Raises:
        ValueError: the case does not end in a number.
    """
    number = case.rsplit("-", 1)[-1]
    if not number.isdigit():
        raise ValueError(f"case: expected a name that ends in a number, such as PH-001, got {case!r}")
    traits = draw_traits(int(number), study_seed=seed)
    visit = _draw_visit(case, seed, traits)
    mass, mass_and_edema = (_smoothed(region) for region in (visit.anatomy.mass, visit.anatomy.mass_and_edema))
    with atomic_folder(folder / case) as partial:
        _write_petct(visit, partial)
        drawn_on, grid = _write_mr(visit, partial)
        edges = {"GTV_Mass": mass, "GTV_Edema": np.maximum(mass, mass_and_edema)}
        regions = {name: _polygons(region, grid, visit) for name, region in edges.items()}
        structures = visit.series("RTSTRUCT", study="mr", number=9, minutes=60 * 24 * 7)
        write_structures(regions, partial / "RTSTRUCT" / "001.dcm", structures, drawn_on=drawn_on)
    _write_truth(visit, traits, mass, truth_folder)
    log.info("%s written: a mass of %.0f mm, SUV %.1f", case, traits.diameter_mm, traits.viable_suv)


def _draw_visit(case: str, seed: int, traits: Traits) -> _Visit:
    generator = np.random.default_rng(seed_of(seed, "phantom", case, "visit"))
    petct_start = datetime(2001, 1, 1, 8, 30) + timedelta(days=int(generator.integers(300)))
    return _Visit(
        case=case,
        seed=seed,
        person=Person(
            patient_id=case,
            name=f"Phantom^{case.rsplit('-', 1)[-1]}",
            born=datetime(1920 + seed_of(seed, "phantom", case, "born") % 60, 2, 3),
            sex=str(generator.choice(["F", "M"])),
            weight_kg=round(generator.uniform(55, 100), 1),
            height_m=round(generator.uniform(1.58, 1.90), 2),
        ),
        anatomy=draw_anatomy(traits, np.random.default_rng(seed_of(seed, "phantom", case, "anatomy"))),
        to_petct=random_displacement(generator, shift_mm=(2, 6), angle_deg=(1, 4)),
        petct_start=petct_start + timedelta(minutes=int(generator.integers(360))),
        mr_start=petct_start + timedelta(days=int(generator.integers(1, 15)), hours=2),
    )


def _write_petct(visit: _Visit, folder: Path) -> None:
    generator = visit.generator("petct")
    ct_grid = centered_grid(CT_SHAPE, CT_SPACING_MM, directions=(-1, -1, 1))
    ct = visit.series("CT", study="petct", number=2, minutes=2)
    write_ct(Volume(ct_hu(visit.anatomy, ct_grid, visit.generator("ct")), ct_grid.affine), folder / "CT", ct)
    center_mm = generator.uniform(-6, 6, 3) * [1, 1, 0.2]
    grid = centered_grid(PET_SHAPE, PET_SPACING_MM, center_mm=center_mm, directions=(-1, -1, 1))
    pet = visit.series("PET", study="petct", number=3, minutes=5)
    injection = Injection(
        dose_bq=round(generator.uniform(3.1e8, 3.9e8), -5),
        time=pet.start - timedelta(seconds=int(generator.integers(3300, 4200))),
        half_life_s=HALF_LIFE_S,
        positron_fraction=0.97,
    )
    suv = pet_suv(visit.anatomy, grid, visit.generator("pet"))
    decay = 2 ** (-(pet.start - injection.time).total_seconds() / HALF_LIFE_S)
    bq_per_ml = suv * np.float32(injection.dose_bq * decay / (visit.person.weight_kg * 1000))
    write_pet(Volume(bq_per_ml, grid.affine), folder / "PET", pet, injection)


def _write_mr(visit: _Visit, folder: Path) -> tuple[Written, Grid]:
    """Write both MR series; returns the series on which the contours are drawn, and its grid.

    The T2 series is stored from top to bottom with rows and columns rotated by 180 degrees, as by some scanners.
    """
    generator = visit.generator("mr")
    mass_mm = moved(visit.anatomy.center_mm[:, None], np.linalg.inv(visit.to_petct))[:, 0]
    center_mm = mass_mm * [0.65, 0.65, 1] + generator.uniform(-6, 6, 3) * [1, 1, 0.7]
    t1_grid = centered_grid(T1_SHAPE, T1_SPACING_MM, center_mm=center_mm, directions=(-1, -1, 1))
    shifted_mm = center_mm + generator.uniform(-4, 4, 3) * [1, 1, 0.5]
    t2fs_grid = centered_grid(T2FS_SHAPE, T2FS_SPACING_MM, center_mm=shifted_mm, directions=(1, 1, -1))
    t1 = _write_spin_echo(visit, folder / "MR_T1", T1, t1_grid, number=4)
    _write_spin_echo(visit, folder / "MR_T2FS", T2FS, t2fs_grid, number=5)
    return t1, t1_grid


def _write_spin_echo(visit: _Visit, folder: Path, sequence: SpinEcho, grid: Grid, *, number: int) -> Written:
    name = folder.name
    signal = mr_signal(visit.anatomy, grid, sequence, visit.generator(name), to_petct=visit.to_petct)
    return write_mr(
        Volume(signal, grid.affine),
        folder,
        visit.series(name, study="mr", number=number, minutes=6.0 * number),
        repetition_ms=sequence.repetition_ms,
        echo_ms=sequence.echo_ms,
        fat_saturated=sequence.residual_fat < 1,
        thickness_mm=sequence.thickness_mm,
    )


def _smoothed(region: np.ndarray) -> np.ndarray:
    """Smooth a mask; its surface is the isosurface at 0.5."""
    return gaussian_filter(region.astype(np.float32), MASS_SMOOTHING_MM / FINE_SPACING_MM)


def _polygons(region: np.ndarray, grid: Grid, visit: _Visit) -> list[Polygon]:
    """Return the contours of a smoothed region on every slice of a grid in the MR frame."""
    values = sample(region, visit.anatomy.grid, moved(grid.points_mm, visit.to_petct))
    polygons = []
    for k in range(grid.shape[2]):
        lines: Any = contourpy.contour_generator(z=values[:, :, k].T).lines(0.5)
        for line in lines:
            index = np.column_stack([line[:-1], np.full(len(line) - 1, k), np.ones(len(line) - 1)])
            if len(index) >= FEWEST_POINTS:
                polygons.append(Polygon(k, (index @ grid.affine.T)[:, :3]))
    return polygons


def _write_truth(visit: _Visit, traits: Traits, mass: np.ndarray, folder: Path) -> None:
    grid = fine_grid()
    truth = sample(mass, visit.anatomy.grid, moved(grid.points_mm, visit.to_petct)) > 0.5
    write_volume(Volume(truth.astype(np.uint8), grid.affine), folder / f"{visit.case}_mass.nii.gz")
    record = asdict(traits) | {
        "case": visit.case,
        "mr_to_petct": visit.to_petct.tolist(),
        "mass_ml": float(truth.sum() * FINE_SPACING_MM**3 / 1000),
        "mass_center_petct_mm": visit.anatomy.center_mm.tolist(),
    }
    write_record(record, folder / f"{visit.case}.json")
