"""What Snakemake itself costs on studies of 51, 1,250 (BraTS) and 10,000 cases: four sequences, five folds, six models.

Times `snakemake -n` before anything is made, and a rerun of the middle one when all is made: empty files stand where
results would, since no job runs, so this is the cost of the engine alone. It works in a temporary copy of the workflow;
--keep FOLDER makes it there instead and leaves it.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from compare import Row, write

from diffufuse.study.cohorts import draft_cohort, write_cohort

ROOT = Path(__file__).parents[1]
SIZES, FINISHED = (51, 10_000, 1250), 1250
FOLDS, MODELS = 5, 6
STUDY = {
    "name": "scale",
    "datasets": ["brats"],
    "conditions": ["clean", "gauss-0.3"],
    "models": [f"model{number}" for number in range(MODELS)],
    "folds": list(range(FOLDS)),
    "seeds": [0],
}
# Most processor seconds of a dry run, by cases, and of a rerun; and most memory.
LIMITS_S, RERUN_LIMIT_S, LIMIT_GB = {51: 60, 1250: 60, 10_000: 120}, 30, 2
PROGRAM = "import sys; from snakemake.cli import main; main(sys.argv[1:])"
# Setting up, Snakemake would wait 0.1 s at each job that it touches: five minutes here.
TOUCHING = f"from snakemake.executors.touch import Executor; Executor.SLEEPING_TIME = 0; {PROGRAM}"
NOTES = "{wall:.1f} s on the clock; where SLURM is installed and silent, its plug-in waits up to 10 s at each start"


@dataclass(frozen=True)
class Run:
    """One call of Snakemake: what it printed, wall and processor seconds, peak resident memory in GB."""

    printed: str
    wall_s: float
    processor_s: float
    peak_gb: float


def build(folder: Path, cases: int) -> None:
    """Copy the workflow and give it the study: a cohort sheet, copies of a model under other names, a config file."""
    for name in ("workflow", "config", "profiles", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    models = yaml.safe_load((folder / "config/models.yaml").read_text())["models"]
    copies = dict.fromkeys(STUDY["models"], next(iter(models.values())))
    (folder / "config/models.yaml").write_text(yaml.safe_dump({"models": {**models, **copies}}))
    (folder / "config/scale.yaml").write_text(yaml.safe_dump({"study": STUDY}))
    names = [f"BraTS-GLI-{number:05d}-000" for number in range(cases)]
    write_cohort(draft_cohort(names, study_seed=0, folds=FOLDS), folder / "config/cohorts/brats.tsv")


def snakemake(folder: Path, *arguments: str, program: str = PROGRAM) -> Run:
    """Run Snakemake on the study."""
    command = [sys.executable, "-c", program, "--configfile", "config/scale.yaml", "--cores", "1", *arguments]
    printed, start = folder / "printed.txt", time.perf_counter()
    with printed.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {printed.read_text()[-2000:]}")
    return Run(printed.read_text(), wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


def make_all(folder: Path) -> int:
    """Put an empty file or folder at each output, and have Snakemake take all for its own; the number of outputs.

    An output without an extension is a folder, as everywhere in the house.
    """
    rows = [line.split("\t") for line in snakemake(folder, "--summary").printed.splitlines() if line.count("\t") >= 5]
    outputs = [folder / row[0] for row in rows[1:]]
    for output in outputs:
        (output.parent if output.suffix else output).mkdir(parents=True, exist_ok=True)
        if output.suffix:
            output.touch()
    snakemake(folder, "--touch", "--quiet", "all", "--cores", "1000", "--scheduler", "greedy", program=TOUCHING)
    return len(outputs)


def jobs_of(printed: str) -> dict[str, int]:
    """Rule to number of jobs, from the table that Snakemake prints."""
    table = printed.split("Job stats:")[-1].split("\n\n")[0]
    return {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def rows_of(name: str, what: str, runs: list[Run], limit_s: int, *, agrees: bool, how_agrees: str) -> list[Row]:
    """Processor time and memory of the repeats of one call."""
    busy = [run.processor_s for run in runs]
    common: dict[str, Any] = {"agrees": agrees, "how_agrees": how_agrees, "repeats": len(runs)}
    return [
        Row(
            name,
            what,
            min(busy),
            "s",
            goal=f"ours <= {limit_s}",
            ours_median=statistics.median(busy),
            notes=NOTES.format(wall=min(run.wall_s for run in runs)),
            **common,
        ),
        Row(f"{name}, memory", what, max(run.peak_gb for run in runs), "GB", goal=f"ours <= {LIMIT_GB}", **common),
    ]


def dry_run(folder: Path, cases: int, what: str, repeats: int) -> list[Row]:
    """Measure `snakemake -n` on a study of which nothing is made."""
    build(folder, cases)
    runs = [snakemake(folder, "--dry-run") for _ in range(repeats)]
    jobs = jobs_of(runs[-1].printed)
    whole = jobs["ingest_case"] == jobs["prepare_case"] == cases and jobs["train_model"] == FOLDS * MODELS
    description = ", ".join(f"{count} {rule}" for rule, count in Counter(jobs).most_common(6))
    name = f"dry run of {cases:,} cases"
    return rows_of(
        name, f"`snakemake -n`, nothing made yet: {what}", runs, LIMITS_S[cases], agrees=whole, how_agrees=description
    )


def rerun(folder: Path, what: str, repeats: int) -> list[Row]:
    """Make everything, then measure a run that has nothing to do."""
    outputs = make_all(folder)
    runs = [snakemake(folder) for _ in range(repeats)]
    up_to_date = "Nothing to be done" in runs[-1].printed
    description = f"says {'' if up_to_date else 'NOT '}that nothing is to be done; {outputs} outputs stand"
    what = f"`snakemake`, all made: {what}"
    return rows_of("no-op rerun", what, runs, RERUN_LIMIT_S, agrees=up_to_date, how_agrees=description)


def main(folder: Path, repeats: int) -> None:
    """Measure each size, and the rerun of one."""
    rows = []
    for cases in SIZES:
        place = folder / str(cases)
        place.mkdir()
        grid = f"{FOLDS} folds x {MODELS} models x {len(STUDY['conditions'])} conditions"
        what = f"{cases} cases x 4 modalities x {grid}, processor time"
        rows += dry_run(place, cases, what, repeats)
        rows += rerun(place, what, repeats) if cases == FINISHED else []
    write("workflow", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="work in this folder, which must not exist, and leave it")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
        main(options.keep, options.repeats)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary), options.repeats)
