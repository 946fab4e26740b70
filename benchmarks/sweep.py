"""One patient under every condition and every subset of modalities: ours in one sweep, and naively one by one.

Naively, a script reads the case, applies the condition, normalizes, loads the model and predicts: in one process for
all conditions, or, as a job of a workflow does, in a fresh process for each. Ours reads, normalizes and loads once,
encodes a modality once for all conditions that leave it as it is, and calculates nothing of absent modalities.
Conditions are `clean` and every corruption of config/conditions.yaml, times every subset of modalities to which it
applies; their noise is the same in every subset. Trained networks and real patients where the study `sts_ibsi_all` has
been run, else a network that never learned and a phantom, which need `snakemake -- prepare`.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from compare import Row, write
from shared_sweep import sweep

from diffufuse.conditions.apply import apply_condition, corrupts
from diffufuse.files.records import read_record, write_record
from diffufuse.plan.plans import load_model, network_of, plan_modalities, write_weights
from diffufuse.predict.inference import predict_case
from diffufuse.store.case import PreparedCase, read_prepared

ROOT = Path(__file__).parents[1]
PREPARED, TRAINED = ROOT / "results/prepare", ROOT / "results/train/sts_ibsi"
FEW, FRESH, ENOUGH = ("clean", "gauss-0.3"), 5, 1e-5
WITHHOLDING = {"absent", "present"}

Condition = tuple[str, dict[str, Any]]
Answer = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Patient:
    """A prepared case and the folder of a run: its `plan.json` and `weights/`."""

    run: Path
    dataset: str
    case: str

    def read(self) -> PreparedCase:
        """From its files."""
        return read_prepared(PREPARED / self.dataset / self.case / f"{self.case}.json")

    def plan(self) -> dict[str, Any]:
        """Of the run."""
        return read_record(self.run / "plan.json")

    def drawn(self, case: PreparedCase) -> dict[str, Any]:
        """What the randomness of a condition belongs to."""
        return {
            "spacing_mm": case.spacing_mm,
            "study_seed": self.plan()["study_seed"],
            "names": (self.dataset, self.case),
        }


def conditions_of(plan: Mapping[str, Any], only: Sequence[str] = ()) -> list[Condition]:
    """Every corruption, or only some, with every subset of modalities to which it applies."""
    kinds = {name: block["kind"] for name, block in plan_modalities(plan).items()}
    catalogue = yaml.safe_load((ROOT / "config/conditions.yaml").read_text())["conditions"]
    subsets = [list(part) for size in range(len(kinds), 0, -1) for part in combinations(kinds, size)]
    return [
        (name, {**block, "present": subset})
        for name, block in catalogue.items()
        if not WITHHOLDING & block.keys() and (not only or name in only)
        for subset in subsets
        if not block or any(corrupts({**block, "present": subset}, *modality) for modality in kinds.items())
    ]


def naive(patient: Patient, name: str, condition: Mapping[str, Any]) -> Answer:
    """All that one condition needs, from files to probabilities."""
    plan, case = patient.plan(), patient.read()
    condition_settings = patient.drawn(case) | {
        "names": (patient.dataset, patient.case, name),
        "modalities": plan_modalities(plan),
    }
    network = load_model(plan, patient.run / "weights")
    after_normalization_function = partial(
        apply_condition, condition=condition, after="normalization", **condition_settings
    )
    return predict_case(
        network,
        apply_condition(case.scan, condition, **condition_settings),
        plan,
        after_normalization=after_normalization_function if condition else None,
    )


def ours(patient: Patient, conditions: Sequence[Condition]) -> Iterator[tuple[str, Answer]]:
    """The same for all conditions."""
    plan, case = patient.plan(), patient.read()
    network = load_model(plan, patient.run / "weights")
    return sweep(network, case.scan, plan, conditions, **patient.drawn(case))


def fresh(patient: Patient, condition: Condition) -> tuple[float, Answer]:
    """Seconds of the naive way in a process of its own, and its probabilities."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = json.dumps([[str(patient.run), patient.dataset, patient.case], condition, f"{folder}/said.npz"])
        began = time.perf_counter()
        subprocess.run([sys.executable, __file__, arguments], check=True)
        took = time.perf_counter() - began
        with np.load(f"{folder}/said.npz") as answers:
            return took, dict(answers)


def difference(one: Answer, other: Answer) -> float:
    """The largest of a probability."""
    return max(float(np.abs(one[region] - other[region]).max()) for region in other)


def rows(patient: Patient, conditions: Sequence[Condition]) -> list[Row]:
    """Ours against both naive ways; in turns, so that other load on the machine hits both alike."""
    once = naive(patient, *conditions[0])  # what is loaded late is loaded now
    seconds, differences, answers = np.zeros((len(conditions), 2)), [], []
    began = time.perf_counter()
    swept = ours(patient, conditions)
    for number, condition in enumerate(conditions):
        _, mine = next(swept)
        then = time.perf_counter()
        other = naive(patient, *condition)
        seconds[number] = then - began, time.perf_counter() - then
        differences.append(difference(mine, other))
        answers.append(mine)
        began = time.perf_counter()
    sampled = np.linspace(0, len(conditions) - 1, FRESH).astype(int)
    fresh_runs = [fresh(patient, conditions[number]) for number in sampled]
    differences += [
        difference(answers[number], answer) for number, (_, answer) in zip(sampled, fresh_runs, strict=True)
    ]
    mine_s, naive_s = seconds.sum(axis=0).tolist()
    start_s = max(float(np.mean([took for took, _ in fresh_runs]) - seconds[sampled, 1].mean()), 0.0)
    plan, shape = patient.plan(), "x".join(map(str, next(iter(once.values())).shape))
    subject = f"{plan['model']} on {patient.case} of {patient.dataset}, {shape} voxels"
    corruptions = len({name for name, _ in conditions})
    rest: dict[str, Any] = {
        "what": f"{subject}: {len(conditions)} predictions, {corruptions} conditions times the subsets of "
        f"{len(plan['modalities'])} modalities that they apply to",
        "unit": "s",
        "agrees": max(differences) <= ENOUGH,
        "how_agrees": f"the largest difference of a probability is {max(differences):.1g}; "
        f"to the bit in {np.mean(np.array(differences) == 0):.0%} of the predictions",
        "repeats": 1,
    }
    title = f"{plan['model']}, {patient.case}, {len(conditions)} predictions"
    return [
        Row(
            f"{title}, against a process for each",
            ours=mine_s + start_s,
            theirs=naive_s + len(conditions) * start_s,
            peer=f"a naive script for each; its start of {start_s:.1f} s is the mean of {FRESH} conditions",
            goal="ratio >= 3",
            notes="ours starts once, which is counted; the naive time is that of one process and a start for each",
            **rest,
        ),
        Row(
            f"{title}, against one process",
            ours=mine_s,
            theirs=naive_s,
            peer="a naive loop",
            notes=f"a prediction with all modalities takes ours {seconds[_full(conditions), 0].mean():.2f} s, the loop "
            f"{seconds[_full(conditions), 1].mean():.2f} s; all others {seconds[~_full(conditions), 0].mean():.2f} and "
            f"{seconds[~_full(conditions), 1].mean():.2f} s",
            **rest,
        ),
    ]


def _full(conditions: Sequence[Condition]) -> np.ndarray:
    most = max(len(block["present"]) for _, block in conditions)
    return np.array([len(block["present"]) == most for _, block in conditions])


def untrained(folder: Path) -> Patient:
    """A network that never learned, and the first phantom that it is validated on."""
    from models import plan_of, prepared

    plan = plan_of("diffufusemed_small", "phantom", prepared("phantom"))
    write_record(plan, folder / "plan.json")
    (folder / "weights").mkdir()
    write_weights(network_of(plan), folder / "weights")
    return Patient(folder, "phantom", plan["validation_cases"][0])


def main() -> None:
    """Run all."""
    torch.set_num_threads(1)
    run = TRAINED / "diffufusemed_small/fold-0_seed-0"
    results: list[Row] = []
    if (run / "weights").exists() and (PREPARED / "sts_ibsi").is_dir():
        plan = read_record(run / "plan.json")
        first, *_, last = plan["validation_cases"]
        results += rows(Patient(run, "sts_ibsi", first), conditions_of(plan))
        results += rows(Patient(run, "sts_ibsi", last), conditions_of(plan, FEW))
        backbone = TRAINED / "multi_encoder_small/fold-0_seed-0"
        if (backbone / "weights").exists():
            results += rows(Patient(backbone, "sts_ibsi", last), conditions_of(plan, FEW))
    elif (PREPARED / "phantom/patches.parquet").exists():
        print("No trained diffufusemed_small of sts_ibsi in results/: an untrained one looks at a phantom instead.")
        with tempfile.TemporaryDirectory() as folder:
            patient = untrained(Path(folder))
            results += rows(patient, conditions_of(patient.plan(), FEW))
    if not results:
        print("Skipped: nothing is prepared; run `snakemake -- prepare` first.")
        return
    write("sweep", results, packages=["torch"])


def one(arguments: str) -> None:
    """The naive way for one condition, as a script of its own; its answer goes into a file."""
    patient, condition, path = json.loads(arguments)
    torch.set_num_threads(1)
    np.savez(path, **naive(Patient(Path(patient[0]), *patient[1:]), *condition))


if __name__ == "__main__":
    one(sys.argv[1]) if len(sys.argv) > 1 else main()
