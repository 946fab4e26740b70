"""What a study costs as its cohort grows, stage by stage: the table of docs/cluster.md.

Processor time and bytes are those of a finished study of this folder, or of --study FOLDER, and the jobs are those that
Snakemake plans for it; all is then multiplied by the number of cases. Ingest and preparation keep no timings of their
own, so one case is brought through both here, in a temporary copy. Run it after `snakemake`, on an idle machine.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diffufuse.study.cohorts import read_cohort

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster.md"
START, END = "<!-- made by benchmarks/growth.py -->", "<!-- end -->"
SIZES, CASES_PER_JOB = (51, 1250, 10_000), 25
# Stage to the rules whose jobs it has; a case is ingested and prepared in one submission, counted with its preparation.
RULES = {
    "ingest": ("ingest_case",),
    "prepare": ("prepare_case", "list_cases", "index_slices", "fit_normalization"),
    "train": ("train_model",),
    "predict": ("predict_cases", "scale_predictions"),
    "evaluate": ("evaluate_predictions", "fit_calibration"),
    "measure costs": ("measure_efficiency",),
}
OF_A_CASE = ("ingest_case", "prepare_case")
HEADER = (
    "stage",
    "grows with",
    "measured",
    *(f"{cases:,} cases: jobs · submissions · CPU h · GB" for cases in SIZES),
)


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    Attributes:
        name: of the stage.
        jobs: jobs besides the one for each case of ingest and of preparation.
        submissions: of these jobs.
        seconds_per_case: processor time for each case, over all jobs of the stage.
        seconds: processor time besides.
        mb_per_case: on disk for each case.
        mb: on disk besides.
    """

    name: str
    jobs: int
    submissions: int
    seconds_per_case: float = 0.0
    seconds: float = 0.0
    mb_per_case: float = 0.0
    mb: float = 0.0

    def cells(self) -> list[str]:
        """The stage's line in the table."""
        grows = self.seconds_per_case > 0
        cost = f"{self.seconds_per_case:.1f} s, {self.mb_per_case:.1f} MB a case" if grows else "-"
        cost = cost if grows else f"{self.seconds / 3600:.2f} h, {self.mb:.1f} MB a study"
        return [self.name, "cases" if grows else "models and folds", cost, *(self._at(cases) for cases in SIZES)]

    def _at(self, cases: int) -> str:
        jobs = self.jobs + cases * any(rule in OF_A_CASE for rule in RULES[self.name])
        single, joined = (
            self.submissions + math.ceil(cases / several) * (self.name == "prepare") for several in (1, CASES_PER_JOB)
        )
        submissions = (
            "with prepare"
            if self.name == "ingest"
            else f"{single:,} ({joined:,})"
            if single != joined
            else f"{single:,}"
        )
        hours = (self.seconds + self.seconds_per_case * cases) / 3600
        return f"{jobs:,} · {submissions} · {hours:.3g} · {(self.mb + self.mb_per_case * cases) / 1000:.3g}"


def processor_s(folder: Path, target: str, *options: str) -> float:
    """Processor seconds of a call of Snakemake and of its jobs."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [Path(sys.executable).with_name("snakemake"), "--cores", "1", "--quiet", "all", *options, "--", target]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{target}: {process.stderr.read().decode()[-2000:] if process.stderr else ''}")
    return usage.ru_utime + usage.ru_stime


def seconds_of_a_case(study: Path, dataset: str, case: str) -> tuple[float, float]:
    """Processor seconds of ingest and of preparation of one case, Snakemake's own taken off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("Snakefile", "config", "workflow", "src"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        shutil.copytree(study / "data/raw", folder / "data/raw")
        targets = [
            f"results/{stage.format(case)}.json"
            for stage in (f"ingest/{dataset}/{{0}}", f"prepare/{dataset}/{{0}}/{{0}}")
        ]
        processor_s(folder, f"data/raw/{dataset}.manifest.tsv", "--touch")
        spent = [processor_s(folder, target) for target in targets]
        idle = processor_s(folder, targets[-1])
    return spent[0] - idle, spent[1] - idle


def megabytes(paths: Iterable[Path]) -> float:
    """Size of files, and of all files in folders."""
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def timings(study: Path, pattern: str) -> list[float]:
    """Processor seconds of the jobs whose timings match, as Snakemake kept them."""
    return [
        float(pd.read_csv(path, sep="\t")["cpu_time"].sum()) for path in (study / "results/benchmarks").glob(pattern)
    ]


def planned() -> tuple[Counter[str], Counter[str]]:
    """Stage to its jobs and to its submissions besides those of cases, as the plug-in of SLURM would submit a study."""
    recorder, jobs, submissions = ROOT / "tests" / "slurm_submissions.py", Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        for part in ("Snakefile", "config", "workflow", "src", "profiles", "slurm"):
            (Path(name) / part).symlink_to(ROOT / part)
        subprocess.run([sys.executable, recorder, "calls.jsonl"], cwd=name, check=True, capture_output=True)
        calls = [json.loads(line)["rules"] for line in (Path(name) / "calls.jsonl").read_text().splitlines()]
    for rules in calls:
        stages = [stage for stage, own in RULES.items() for rule in rules if rule in own and rule not in OF_A_CASE]
        jobs.update(stages)
        submissions.update(set(stages))
    return jobs, submissions


def stages_of(study: Path, dataset: str) -> list[Stage]:
    """The stages of a finished study on one dataset."""
    results, names = study / "results", read_cohort(study / f"config/cohorts/{dataset}.tsv").names
    (jobs, submissions), cases = planned(), len(names)
    ingest_s, prepare_s = seconds_of_a_case(study, dataset, names[0])
    spent = {
        stage: sum(timings(study, pattern))
        for stage, pattern in {
            "train": f"train/{dataset}/**/*.tsv",
            "predict": f"predict/{dataset}/**/*.tsv",
            "evaluate": f"evaluate/{dataset}/test/*/{dataset}/**/*.tsv",
            "measure costs": f"evaluate/{dataset}/efficiency/**/*.tsv",
        }.items()
    }
    size = {
        stage: megabytes([results / stage / dataset]) for stage in ("ingest", "prepare", "train", "predict", "evaluate")
    }
    per_case = {
        "ingest": ingest_s,
        "prepare": prepare_s,
        "predict": spent["predict"] / cases,
        "evaluate": spent["evaluate"] / cases,
    }
    return [
        Stage(
            stage,
            jobs[stage],
            submissions[stage],
            seconds_per_case=per_case.get(stage, 0.0),
            seconds=0.0 if stage in per_case else spent[stage],
            mb_per_case=size[stage] / cases if stage in per_case else 0.0,
            mb=0.0 if stage in per_case else size.get(stage, 0.0),
        )
        for stage in RULES
    ]


def main(study: Path, dataset: str) -> None:
    """Measure, multiply, and put the table into the page."""
    rows = [list(HEADER), ["---"] * len(HEADER), *(stage.cells() for stage in stages_of(study, dataset))]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    before, rest = PAGE.read_text().split(START)
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}")
    print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=ROOT, help="the folder of a finished study")
    parser.add_argument("--dataset", default="phantom")
    options = parser.parse_args()
    main(options.study, options.dataset)
