"""A cohort of 1,000 synthetic cases against one of 100: time per case must not grow, nor peak memory.

Every stage runs in fresh processes, after a few cases went through as a warm-up; each reports its processor time, which
other load disturbs least, and its peak resident memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from compare import Row, shown, write

from diffufuse.evaluate.schemas import METRICS
from diffufuse.fetch.manifest import contents_of, missing_after, read_manifest, write_manifest
from diffufuse.files.records import write_record
from diffufuse.files.tables import read_table, read_tables, write_table
from diffufuse.ingest.case import ingest_case
from diffufuse.ingest.formats import FORMATS
from diffufuse.report.patients import summarize
from diffufuse.report.schemas import SUMMARY
from diffufuse.space.volumes import Volume, write_volume
from diffufuse.store.case import read_all_prepared, read_prepared
from diffufuse.store.index import PATCHES, index_slices
from diffufuse.store.slices import write_slices
from diffufuse.study.cohorts import count_excluded, draft_cohort, read_cohort, read_patients, write_cohort

SMALL, LARGE, WARM_UP, REPEATS = 100, 1000, 5, 3
SHAPE = (32, 32, 12)
RAW_FOLDERS = {WARM_UP: "warm", SMALL: "small", LARGE: "large"}
BLOCK = {
    "format": "nifti",
    "reference": "t1c",
    "modalities": {"t1c": {"kind": "mr", "file": ["{case}/{case}-t1c.nii.gz"]}},
    "annotation": {"file": ["{case}/{case}-seg.nii.gz"], "values": {1: "ncr", 2: "edema", 3: "et"}},
    "labels": {"ncr": 1, "edema": 2, "et": 3},
}
REGIONS = {"wt": [1, 2, 3], "tc": [1, 3], "et": [3]}


def name_of(n: int) -> str:
    """Name of the n-th case, as BraTS 2023 has it."""
    return f"BraTS-GLI-{n:05d}-000"


def raw_of(folder: Path) -> Path:
    """The raw folder of a cohort, whose manifest lies beside it."""
    return folder / "raw" / "cohort"


def manifest_of(folder: Path) -> Path:
    """The manifest of a cohort."""
    return folder / "raw" / "cohort.manifest.tsv"


def make_raw(folder: Path, cases: int) -> None:
    """Small NIfTI cases, an image and labels each, and their manifest."""
    draw = np.random.default_rng(0)
    images = [draw.normal(300, 60, SHAPE).astype(np.float32) for _ in range(8)]
    labels = [draw.integers(0, 4, SHAPE).astype(np.uint8) for _ in range(8)]
    for n in range(cases):
        place = raw_of(folder) / name_of(n)
        write_volume(Volume(images[n % 8], np.eye(4)), place / f"{name_of(n)}-t1c.nii.gz")
        write_volume(Volume(labels[n % 8], np.eye(4)), place / f"{name_of(n)}-seg.nii.gz")
    contents = contents_of(raw_of(folder))
    write_manifest(manifest_of(folder), contents, address="here")


def record_of(folder: Path, n: int) -> Path:
    """The record of the n-th prepared case, beside its slice store."""
    return folder / "prepared" / f"{name_of(n)}.json"


def make_prepared(folder: Path, cases: int) -> None:
    """Stored cases with their records."""
    draw = np.random.default_rng(0)
    whole = np.ones(SHAPE, bool)
    images = [draw.normal(300, 60, SHAPE).astype(np.float32) for _ in range(8)]
    labels = draw.integers(0, 4, SHAPE).astype(np.uint8)
    (folder / "prepared").mkdir(parents=True)
    for n in range(cases):
        path = folder / "prepared" / f"{name_of(n)}_slices.b2nd"
        digest = write_slices(path, images={"t1c": images[n % 8]}, presence={"t1c": whole}, body=whole, labels=labels)
        record = {"case": name_of(n), "slices_sha256": digest, "affine": np.eye(4).tolist(), "statistics": {}}
        write_record(record, record_of(folder, n))


def make_metrics(folder: Path, cases: int) -> None:
    """Tables of metrics, as a fold of a model writes them: 2 conditions, 3 regions, 3 metrics, all cases."""
    draw = np.random.default_rng(0)
    (folder / "metrics").mkdir(parents=True)
    for fold in range(5):
        names = [name_of(n) for n in range(fold, cases, 5)]
        for condition in ("clean", "noise"):
            rows = [
                (case, region, metric) for case in names for region in REGIONS for metric in ("dice", "nsd", "hd95_mm")
            ]
            frame = pd.DataFrame(rows, columns=["case", "region", "metric"])
            same = {"dataset": "d", "condition": condition, "trained_on": "d", "model": "m", "fold": fold, "seed": 0}
            table = frame.assign(**same, unit="1", value=draw.random(len(frame)))
            write_table(table, folder / "metrics" / f"{condition}-{fold}.parquet", METRICS)
    write_cohort(draft_cohort([name_of(n) for n in range(cases)], study_seed=0), folder / "cohort.tsv")


def find(folder: Path, cases: int) -> None:
    """Find the cases in the raw folder, propose a cohort sheet, write it, read it and ask for every fold."""
    names = FORMATS["nifti"].list_cases(raw_of(folder), BLOCK).names
    write_cohort(draft_cohort(names, study_seed=0), folder / "found.tsv")
    cohort = read_cohort(folder / "found.tsv")
    assert len([name for fold in cohort.folds for name in cohort.test(fold)]) == cases


def verify(folder: Path, cases: int) -> None:
    """Hash all raw files and compare them with the manifest."""
    expected, _ = read_manifest(manifest_of(folder))
    assert not missing_after(raw_of(folder), contents_of(raw_of(folder)), expected)


def ingest(folder: Path, cases: int) -> None:
    """Ingest every case: open it, compare its files with the manifest, read, check and write it."""
    for n in range(cases):
        case, ingested = name_of(n), folder / "ingested"
        written = {"folder": ingested / case, "record": ingested / f"{case}.json"}
        ingest_case(FORMATS["nifti"], manifest_of(folder), case, block=BLOCK, **written)


def index(folder: Path, cases: int) -> None:
    """Open every prepared case, count its regions slice by slice, and write the table."""
    opened = (read_prepared(record_of(folder, n)) for n in range(cases))
    table = index_slices(((case.name, case.slices) for case in opened), dataset="d", regions=REGIONS)
    write_table(table, folder / "patches.parquet", PATCHES)
    assert len(table) == cases * SHAPE[2] * len(REGIONS)


def open_all(folder: Path, cases: int) -> None:
    """Open and verify all prepared cases at once, as a training does, and read the table of their slices."""
    assert len(read_all_prepared(record_of(folder, n) for n in range(cases))) == cases
    read_table(folder / "patches.parquet", PATCHES)


def collect(folder: Path, cases: int) -> None:
    """Join the tables of metrics and summarize them over patients, with intervals."""
    metrics = read_tables(sorted((folder / "metrics").glob("*.parquet")), METRICS)
    write_table(metrics, folder / "metrics.parquet", METRICS)
    sheets = {"d": folder / "cohort.tsv"}
    summary = summarize(metrics, read_patients(sheets.values()), excluded=count_excluded(sheets.values()), study_seed=0)
    write_table(summary, folder / "summary.parquet", SUMMARY)


# Stage to what makes its input and what is timed.
STAGES: dict[str, tuple[Callable[[Path, int], None], Callable[[Path, int], None]]] = {
    "find": (make_raw, find),
    "verify": (make_raw, verify),
    "ingest": (make_raw, ingest),
    "index": (make_prepared, index),
    "open_all": (make_prepared, open_all),
    "collect": (make_metrics, collect),
}


def work(stage: str, cases: int, folder: Path) -> dict[str, float]:
    """Run a stage in this process, after a small cohort went through: seconds and peak memory."""
    run = STAGES[stage][1]
    run(folder / RAW_FOLDERS[WARM_UP], WARM_UP)
    began = time.process_time()
    run(folder / RAW_FOLDERS[cases], cases)
    seconds = time.process_time() - began
    return {"s": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_fresh_processes(stage: str, cases: int, folder: Path) -> dict[str, float]:
    """Run a stage several times, each in a process of its own: fastest and median seconds, highest peak."""
    command = [sys.executable, __file__, "--stage", stage, "--cases", str(cases), "--folder", str(folder)]
    measurements = []
    for _ in range(REPEATS):
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{stage} of {cases} cases failed: {ended.stderr[-2000:]}")
        measurements.append(json.loads(ended.stdout.splitlines()[-1]))
    seconds = [measurement["s"] for measurement in measurements]
    peak_mb = max(measurement["peak_mb"] for measurement in measurements)
    return {"s": min(seconds), "median_s": float(np.median(seconds)), "peak_mb": peak_mb}


def rows_of(stage: str, folder: Path) -> list[Row]:
    """Time per case and peak memory of a stage at 1,000 and at 100 cases."""
    small, large = (in_fresh_processes(stage, cases, folder) for cases in (SMALL, LARGE))
    what = (STAGES[stage][1].__doc__ or "").strip().rstrip(".")
    ms_per_case = [made["s"] * 1000 / cases for made, cases in ((small, SMALL), (large, LARGE))]
    medians = [made["median_s"] * 1000 / cases for made, cases in ((small, SMALL), (large, LARGE))]
    peer = f"itself at {SMALL} cases"
    return [
        Row(
            f"{stage}: time per case",
            what,
            ms_per_case[1],
            "ms",
            ms_per_case[0],
            peer,
            "ratio <= 1.1",
            repeats=REPEATS,
            ratio=ms_per_case[1] / ms_per_case[0],
            ours_median=medians[1],
            theirs_median=medians[0],
            notes=f"processor time; {shown(large['s'], 's')} for {LARGE} cases",
        ),
        Row(
            f"{stage}: peak memory",
            what,
            large["peak_mb"],
            "MB",
            small["peak_mb"],
            peer,
            "ratio <= 1.1",
            repeats=REPEATS,
            ratio=large["peak_mb"] / small["peak_mb"],
            notes="of the whole process, libraries included",
        ),
    ]


def main() -> None:
    """Run one stage, or all against each other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(work(options.stage, options.cases, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        for cases, folder in RAW_FOLDERS.items():
            for make in dict.fromkeys(make for make, _ in STAGES.values()):
                make(Path(name) / folder, cases)
        write("cohort", [row for stage in STAGES for row in rows_of(stage, Path(name))])


if __name__ == "__main__":
    main()
