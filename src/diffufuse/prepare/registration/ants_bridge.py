"""Interface to ANTs: conversion of images and transforms, and registration with a fixed seed."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import ants
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.prepare.similarity import BINS
from diffufuse.space.transforms import Transform, Warp
from diffufuse.space.volumes import Volume
from diffufuse.types import Affine

SEED = 123
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAMPLED_FRACTION = 0.3
COARSE: dict[str, Any] = {"aff_shrink_factors": (2,), "aff_smoothing_sigmas": (1,), "aff_iterations": (200,)}
FINE: dict[str, Any] = {"aff_shrink_factors": (1,), "aff_smoothing_sigmas": (0,), "aff_iterations": (50,)}
# The update field is smoothed by 4 voxels, the total field by half a voxel, which suppresses deformations by noise.
DEFORMATION: dict[str, Any] = {"reg_iterations": (40, 30, 20), "flow_sigma": 4, "total_sigma": 0.5, "grad_step": 0.15}


def linear_with_ants(
    moving: Volume,
    reference: Volume,
    *,
    start: Affine,
    kind: Literal["Rigid", "Affine"],
    schedule: dict[str, Any],
) -> Affine:
    """Return the (4, 4) matrix, RAS, optimized by ANTs from a start with Mattes mutual information.

    It is the start where ANTs finds no finite one, as in images of a few voxels.

    Raises:
        BadInput: ANTs cannot register the two.
    """
    with _deterministic(), tempfile.TemporaryDirectory() as folder:
        result = _registration(
            moving,
            reference,
            type_of_transform=kind,
            aff_metric="mattes",
            aff_sampling=BINS,
            aff_random_sampling_rate=SAMPLED_FRACTION,
            initial_transform=_write_start(start, folder),
            outprefix=str(Path(folder) / "linear"),
            **schedule,
        )
        matrix = from_ants_transform(ants.read_transform(result["fwdtransforms"][0]))
    return matrix if np.isfinite(matrix).all() else start.copy()


def deform_with_ants(moving: Volume, reference: Volume, *, start: Affine) -> Transform:
    """Return a SyN deformation (Mattes mutual information) in the reference's frame, followed by the start matrix.

    Raises:
        BadInput: ANTs cannot register the two, e.g. slabs of one voxel.

    Source:
        Avants et al. 2008, Symmetric diffeomorphic image registration with cross-correlation; ANTs.
    """
    with _deterministic(), tempfile.TemporaryDirectory() as folder:
        _registration(
            moving,
            reference,
            type_of_transform="SyNOnly",
            syn_metric="mattes",
            syn_sampling=BINS,
            initial_transform=_write_start(start, folder),
            outprefix=str(Path(folder) / "syn"),
            **DEFORMATION,
        )
        forward, affine = read_ants_field(Path(folder) / "syn1Warp.nii.gz")
        backward, _ = read_ants_field(Path(folder) / "syn1InverseWarp.nii.gz")
    return Transform((Warp(forward, backward, affine), start))


def _registration(moving: Volume, reference: Volume, **settings: Any) -> dict[str, Any]:
    try:
        result: dict[str, Any] = ants.registration(
            fixed=to_ants_image(reference), moving=to_ants_image(moving), **settings
        )
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"expected images that ANTs can register ({settings['type_of_transform']}), but it gave up on shapes "
            f"{moving.shape} and, the reference, {reference.shape} at the spacing of registration; set transform: "
            "rigid, let the modality follow another, or exclude the case."
        ) from error
    return result


def to_ants_image(volume: Volume) -> Any:
    """Convert a volume to an ANTs image (LPS mm)."""
    return _ants_image(np.ascontiguousarray(volume.array, np.float32), volume.affine)


def to_ants_transform(matrix: Affine) -> Any:
    """Convert a RAS matrix to an ANTs transform (LPS mm, about the origin)."""
    lps = LPS_FROM_RAS @ matrix @ LPS_FROM_RAS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    return ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, precision="double", parameters=parameters
    )


def from_ants_transform(transform: Any) -> Affine:
    """Convert a linear ANTs transform, `y = A (x - c) + c + t` in LPS mm, to a RAS matrix."""
    parameters, center = np.array(transform.parameters, float), np.array(transform.fixed_parameters, float)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:] + center - lps[:3, :3] @ center
    return LPS_FROM_RAS @ lps @ LPS_FROM_RAS


def write_ants_matrix(matrix: Affine, path: Path) -> None:
    """Write a RAS matrix as a `.mat` file for antsApplyTransforms."""
    ants.write_transform(to_ants_transform(matrix), str(path))


def write_ants_field(shift_mm: np.ndarray, affine: Affine, path: Path) -> None:
    """Write a displacement (3, X, Y, Z), RAS mm, as a vector image for antsApplyTransforms."""
    lps = np.moveaxis(shift_mm * np.diag(LPS_FROM_RAS)[:3, None, None, None], 0, -1)
    ants.image_write(_ants_image(np.ascontiguousarray(lps, np.float32), affine, has_components=True), str(path))


def read_ants_matrix(path: Path) -> Affine:
    """Read the RAS matrix of a `.mat` file."""
    return from_ants_transform(ants.read_transform(str(path)))


def read_ants_field(path: Path) -> tuple[np.ndarray, Affine]:
    """Read the displacement (3, X, Y, Z) of a vector image, RAS mm, and the affine of its grid."""
    image = ants.image_read(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.direction) * np.array(image.spacing)
    lps[:3, 3] = image.origin
    signs = np.diag(LPS_FROM_RAS)[:3, None, None, None].astype(np.float32)
    return np.moveaxis(image.numpy(), -1, 0) * signs, LPS_FROM_RAS @ lps


def _write_start(matrix: Affine, folder: str) -> str:
    path = Path(folder) / "start.mat"
    write_ants_matrix(matrix, path)
    return str(path)


def _ants_image(array: np.ndarray, affine: Affine, *, has_components: bool = False) -> Any:
    lps = LPS_FROM_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return ants.from_numpy(
        array,
        origin=tuple(lps[:3, 3]),
        spacing=tuple(spacing),
        direction=lps[:3, :3] / spacing,
        has_components=has_components,
    )


@contextmanager
def _deterministic() -> Iterator[None]:
    """Run ANTs with a fixed seed, and restore the state of NumPy's and Python's random generators."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    ants.config.set_ants_deterministic(on=True, seed_value=SEED)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
