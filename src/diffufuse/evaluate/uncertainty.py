"""Uncertainty maps: the voxelwise entropy of a prediction."""

import os
from pathlib import Path

import numpy as np

from diffufuse.metrics.calibration import entropy_bits
from diffufuse.space.volumes import read_result, write_volume


def write_uncertainty(
    predictions: str | os.PathLike[str], path: str | os.PathLike[str], *, case: str, region: str
) -> None:
    """Write the voxelwise predictive entropy of a case as NIfTI, 0..1 bit.

    Args:
        predictions: folder of its prediction.
        path: where to write, `.nii.gz`.
        case: name of the case.
        region: name of the region.
    """
    probability = read_result(Path(predictions) / f"{case}_{region}_probability.nii.gz", remove=predictions)
    write_volume(probability.with_array(entropy_bits(probability.array).astype(np.float32)), path)
