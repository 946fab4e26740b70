"""Reads image series and their structure sets with dcmrtstruct2nii's own parts, without its writing of files.

Protocol in ../ingest.py.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK
from dcmrtstruct2nii.adapters.convert.rtstructcontour2mask import DcmPatientCoords2Mask
from dcmrtstruct2nii.adapters.input.contours.rtstructinputadapter import RtStructInputAdapter
from dcmrtstruct2nii.adapters.input.image.dcminputadapter import DcmInputAdapter


def read(job: dict) -> tuple:
    """Image and masks of one job, in memory."""
    image = DcmInputAdapter().ingest(job["image"])
    regions = {region["name"]: region["sequence"] for region in RtStructInputAdapter().ingest(job["structures"])}
    convert = DcmPatientCoords2Mask().convert
    return image, {roi: SimpleITK.GetArrayFromImage(convert(regions[roi], image, 0, 1)) for roi in job["rois"]}


def affine_of(image: SimpleITK.Image) -> np.ndarray:
    """(4, 4), index (x, y, z) to RAS coordinate, mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


jobs, out, repeats = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3])
work_s = []
for _ in range(repeats):
    start = time.perf_counter()
    results = [read(job) for job in jobs]
    work_s.append(time.perf_counter() - start)
for job, (image, masks) in zip(jobs, results):  # noqa: B905
    for roi, mask in masks.items():
        np.savez(out / f"{job['name']}_{roi}.npz", mask=mask.T > 0, affine=affine_of(image))
print(json.dumps({"work_s": work_s}))
