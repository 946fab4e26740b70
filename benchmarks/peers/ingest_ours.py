"""Reads image series and their structure sets with diffufuse; protocol in ../ingest.py."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from diffufuse.dicom.series import find_series, read_series
from diffufuse.dicom.structures import read_masks
from diffufuse.dicom.suv import to_suv


def read(job: dict) -> tuple:
    """Image (PET as SUV) and masks of one job, in memory."""
    (series,), (drawn,) = find_series(job["image"]), find_series(Path(job["structures"]).parent)
    image = to_suv(series) if series.modality == "PT" else read_series(series)
    patterns = {roi: f"^{roi}$" for roi in job["rois"]}
    return image, read_masks(drawn, patterns, image, frame_of_reference=series.frame_of_reference).masks


jobs, out, repeats = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3])
work_s = []
for _ in range(repeats):
    start = time.perf_counter()
    results = [read(job) for job in jobs]
    work_s.append(time.perf_counter() - start)
for job, (image, masks) in zip(jobs, results, strict=True):
    for roi, mask in masks.items():
        np.savez(out / f"{job['name']}_{roi}.npz", mask=mask, affine=image.affine)
print(json.dumps({"work_s": work_s}))
