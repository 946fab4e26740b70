"""Reads image series and their structure sets with rt-utils; protocol in ../ingest.py."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from rt_utils import RTStructBuilder


def read(job: dict) -> tuple:
    """Slices with their pixels and masks of one job, in memory; the error's name where it refuses."""
    try:
        opened = RTStructBuilder.create_from(dicom_series_path=job["image"], rt_struct_path=job["structures"])
        return opened.series_data, {roi: opened.get_roi_mask_by_name(roi) for roi in job["rois"]}
    except Exception as error:  # noqa: BLE001
        return type(error).__name__, {}


def affine_of(slices: list) -> np.ndarray:
    """(4, 4), index (row, column, slice) to RAS coordinate, mm."""
    first, last = (np.array(item.ImagePositionPatient, float) for item in (slices[0], slices[-1]))
    along_row, along_column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = (float(mm) for mm in slices[0].PixelSpacing)
    affine = np.eye(4)
    step = (last - first) / (len(slices) - 1)
    affine[:3] = np.array([along_column * row_mm, along_row * column_mm, step, first]).T
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


jobs, out, repeats = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3])
work_s = []
for _ in range(repeats):
    start = time.perf_counter()
    results = [read(job) for job in jobs]
    work_s.append(time.perf_counter() - start)
refused = {job["name"]: error for job, (error, _) in zip(jobs, results) if isinstance(error, str)}  # noqa: B905
for job, (slices, masks) in zip(jobs, results):  # noqa: B905
    for roi, mask in masks.items():
        np.savez(out / f"{job['name']}_{roi}.npz", mask=mask, affine=affine_of(slices))
print(json.dumps({"work_s": work_s, "refused": refused}))
