"""N4 and rigid registration, ours against SimpleITK's N4 at full resolution and ANTs' `Rigid`, both at their defaults.

The pairs are a real brain (T1 native and T2 of one BraTS patient, 1 mm, which the publisher aligned) whose T2 is
displaced by a known matrix, and phantom thighs (T1 and CT), with their true displacement. N4 runs on each MR image.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version

import ants
import numpy as np
import SimpleITK as sitk  # noqa: N813
from compare import Row, Timing, compared, timed, write
from pairs import SHARED, body_points, displacement, phantoms

from diffufuse.phantom.grids import Grid, smooth_noise
from diffufuse.prepare.bias import correct_bias
from diffufuse.prepare.body import foreground
from diffufuse.prepare.registration import register
from diffufuse.prepare.registration.ants_bridge import from_ants_transform, to_ants_image
from diffufuse.space.resampling import center_mm
from diffufuse.space.volumes import Volume, read_volume

BRAIN = "BraTS-GLI-00000-000"
PEER = f"SimpleITK {version('SimpleITK')} N4 at full resolution + ANTs {version('antspyx')} Rigid"


def full_n4(image: Volume) -> Volume:
    """SimpleITK's N4 on every voxel, at its defaults: four levels of at most 50 iterations."""
    voxels = image.array.astype(np.float32).transpose(2, 1, 0)
    whole, mask = (sitk.GetImageFromArray(array) for array in (voxels, _mask(image)))
    for itk in (whole, mask):
        itk.SetSpacing(image.spacing_mm)
    corrected = sitk.GetArrayFromImage(sitk.N4BiasFieldCorrectionImageFilter().Execute(whole, mask))
    return image.with_array(corrected.transpose(2, 1, 0))


def our_n4(image: Volume) -> Volume:
    """As `prepare_case` does it."""
    return correct_bias(image, foreground(image))


def _mask(image: Volume) -> np.ndarray:
    return foreground(image).astype(np.uint8).transpose(2, 1, 0)


def ants_rigid(moving: Volume, reference: Volume) -> np.ndarray:
    """ANTs' `Rigid` at its defaults, as a RAS matrix."""
    result = ants.registration(to_ants_image(reference), to_ants_image(moving), type_of_transform="Rigid")
    return from_ants_transform(ants.read_transform(result["fwdtransforms"][0]))


def our_rigid(moving: Volume, reference: Volume) -> np.ndarray:
    """As `prepare_case` does it."""
    return register(moving, reference).transform.matrix


def field_difference(first: Volume, second: Volume, image: Volume) -> float:
    """Relative root mean square difference of two estimated fields within the body, %, whatever their scale."""
    inside = foreground(image) & (first.array > 0) & (second.array > 0)
    ratio = second.array[inside] / first.array[inside]  # the image cancels: one field over the other
    return float(100 * ratio.std() / ratio.mean())


def error_mm(estimate: np.ndarray, truth: np.ndarray, reference: Volume) -> float:
    """Mean distance inside the body between where two matrices put a point."""
    points = body_points(reference)
    difference = (estimate - truth)[:3, :3] @ points + (estimate - truth)[:3, 3:]
    return float(np.linalg.norm(difference, axis=0).mean())


def pipeline(
    n4: Callable[[Volume], Volume], rigid: Callable[[Volume, Volume], np.ndarray], moving: Volume, reference: Volume
) -> tuple[np.ndarray, Volume]:
    """The matrix of a moving MR image and the corrected reference, after both were corrected."""
    corrected = n4(reference)
    return rigid(n4(moving), corrected), corrected


def brain(ours_repeats: int) -> Row:
    """The whole of both on the real brain; theirs once, as it takes minutes."""
    folder = SHARED / "brats" / BRAIN
    reference, moving = (read_volume(folder / f"{BRAIN}-{name}.nii.gz") for name in ("t1n", "t2w"))
    truth = displacement(BRAIN, about_mm=center_mm(reference))
    moving = Volume(moving.array, truth @ moving.affine)
    kept: dict[str, tuple[np.ndarray, Volume]] = {}

    def run(name: str, n4: Callable[[Volume], Volume], rigid: Callable[[Volume, Volume], np.ndarray]) -> None:
        kept[name] = pipeline(n4, rigid, moving, reference)

    ours = timed(lambda: run("ours", our_n4, our_rigid), ours_repeats, warmup=1)
    theirs = timed(lambda: run("theirs", full_n4, ants_rigid), 1, warmup=0)
    errors = {name: error_mm(matrix, truth, reference) for name, (matrix, _) in kept.items()}
    apart = field_difference(kept["ours"][1], kept["theirs"][1], reference)
    return _row("N4 + rigid, brain, T2 displaced to T1", ours, theirs, errors, apart)


def thigh(name: str, t1: Volume, ct: Volume, truth: np.ndarray) -> Row:
    """N4 of a phantom's T1, and the CT registered to it."""
    kept: dict[str, tuple[np.ndarray, Volume]] = {}

    def run(side: str, n4: Callable[[Volume], Volume], rigid: Callable[[Volume, Volume], np.ndarray]) -> None:
        corrected = n4(t1)
        kept[side] = rigid(ct, corrected), corrected

    ours = timed(lambda: run("ours", our_n4, our_rigid), 5)
    theirs = timed(lambda: run("theirs", full_n4, ants_rigid), 1, warmup=0)
    errors = {side: error_mm(matrix, truth, t1) for side, (matrix, _) in kept.items()}
    apart = field_difference(kept["ours"][1], kept["theirs"][1], t1)
    return _row(f"N4 + rigid, {name}, CT to T1", ours, theirs, errors, apart)


def _row(what: str, ours: Timing, theirs: Timing, errors: dict[str, float], apart: float) -> Row:
    return compared(
        what,
        "bias correction of the MR, rigid registration, seconds",
        ours,
        theirs,
        peer=PEER,
        goal="ratio >= 10",
        agrees=errors["ours"] <= errors["theirs"] + 0.1 and apart <= 1,
        how_agrees=f"error {errors['ours']:.2f} mm (theirs {errors['theirs']:.2f} mm); fields differ by {apart:.2f} %",
        notes="theirs ran once",
    )


def known_field(name: str) -> Row:
    """A field like the phantom's on a T1 that its publisher had corrected: how much of it is left."""
    image = read_volume(SHARED / "sts_ibsi" / "nifti" / name / "MR_T1_image.nii.gz")
    generator = np.random.default_rng(0)
    grid = Grid(image.shape, image.affine)
    field = np.exp(0.2 * smooth_noise(grid, generator, scale_mm=60))
    biased = image.with_array((image.array * field).astype(np.float32))
    corrected = {"ours": our_n4(biased), "theirs": full_n4(biased)}
    # what each makes of the image without the field belongs to the image, not to the field
    corrected_original = {"ours": our_n4(image), "theirs": full_n4(image)}
    remaining = {side: field_difference(corrected_original[side], corrected[side], image) for side in corrected}
    return Row(
        name=f"a known field on {name}",
        what="part of a known field, of 20 % standard deviation, that is left within the body",
        ours=remaining["ours"],
        theirs=remaining["theirs"],
        unit="%",
        peer=PEER,
        notes=f"fields differ by {field_difference(corrected['ours'], corrected['theirs'], image):.2f} %",
    )


def main(parts: list[str]) -> None:
    """Run the parts that are named, or all."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}
    if set(threads.values()) != {"1"}:
        raise SystemExit(f"expected one thread each, got {threads}")
    rows: list[Row] = []
    if "thigh" in parts:
        rows += [thigh(name, im["t1_as_acquired"], im["ct"], truth) for name, im, truth in list(phantoms())[:1]]
        write("registration", rows)
    if "field" in parts:
        rows.append(known_field("STS_025"))
        write("registration", rows)
    if "brain" in parts:
        rows.append(brain(3))
        write("registration", rows)


if __name__ == "__main__":
    main(sys.argv[1:] or ["thigh", "field", "brain"])
