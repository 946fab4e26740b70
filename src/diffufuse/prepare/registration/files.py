"""Read and write transforms, as JSON and for antsApplyTransforms."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import read_record, write_record
from diffufuse.prepare.registration.ants_bridge import (
    read_ants_field,
    read_ants_matrix,
    write_ants_field,
    write_ants_matrix,
)
from diffufuse.space.transforms import Transform, Warp

MATRIX_TOLERANCE_MM = 1e-3


def write_transforms(transforms: Mapping[str, Transform], folder: str | os.PathLike[str], *, case: str) -> None:
    """Write the transforms of a case with their inverses, atomically.

    Per modality: `{case}_{modality}.json` with `forward` and `inverse`, (4, 4) matrices that map RAS mm of the
    reference to RAS mm of the moving image and back, and the names of the warps; `{case}_{modality}.mat`, the forward
    matrix for ANTs (LPS mm, same direction); for a deformable transform,
    `{case}_{modality}_warp.nii.gz` and `{case}_{modality}_inverse_warp.nii.gz`. ANTs applies them with
    `-t warp -t mat` onto the reference, and with `-t [mat,1] -t inverse_warp` onto the moving image.

    Args:
        transforms: modality to its transform: a matrix, or a warp followed by a matrix.
        folder: output folder, replaced if it exists.
        case: name of the case.
    """
    with atomic_folder(folder) as partial:
        for modality, transform in transforms.items():
            stem = f"{case}_{modality}"
            names: dict[str, str | None] = {"warp": None, "inverse_warp": None}
            for warp in transform.warps:
                names = {"warp": f"{stem}_warp.nii.gz", "inverse_warp": f"{stem}_inverse_warp.nii.gz"}
                write_ants_field(warp.forward, warp.affine, partial / f"{stem}_warp.nii.gz")
                write_ants_field(warp.backward, warp.affine, partial / f"{stem}_inverse_warp.nii.gz")
            write_ants_matrix(transform.matrix, partial / f"{stem}.mat")
            matrices = {"forward": transform.matrix.tolist(), "inverse": np.linalg.inv(transform.matrix).tolist()}
            write_record(
                {**matrices, **names, "maps": "RAS mm of the reference to RAS mm of the moving image"},
                partial / f"{stem}.json",
            )


def read_transform(folder: str | os.PathLike[str], *, case: str, modality: str) -> Transform:
    """Read a transform written by `write_transforms`.

    Raises:
        BadInput: a file is missing, or the two that hold the matrix differ.
    """
    path = Path(folder) / f"{case}_{modality}.json"
    try:
        record = read_record(path)
        matrix, in_ants = np.array(record["forward"], float), read_ants_matrix(path.with_suffix(".mat"))
        if not np.abs(matrix - in_ants).max() <= MATRIX_TOLERANCE_MM:
            raise BadInput(f"{path}: expected the matrix that the .mat beside it holds, got another; prepare it again.")
        if record["warp"] is None:
            return Transform((matrix,))
        forward, affine = read_ants_field(path.with_name(record["warp"]))
        backward, _ = read_ants_field(path.with_name(record["inverse_warp"]))
    except BadInput:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: expected a whole transform, but reading it failed; prepare the case again.") from error
    return Transform((Warp(forward, backward, affine), matrix))
