"""Train a small model in as many processes as `DIFFUFUSE_PROCESSES` says: the program of each of them.

`python shared_training.py FOLDER CHANGES`; CHANGES is JSON: `model`; `settings` of it; `training`, changes of its
training; `apart`, whether each process keeps its gradients to itself; `kill`, [process, step] that kills itself there,
once; `checkpoint_every_s`. FOLDER gets what `write_run` writes, a log, and of each process its weights after the last
step, and the number of its samples at once.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "unit"))
import test_regimens as fusing
import test_train_run as segmenting

from diffufuse.logs import job_log
from diffufuse.predict.inference import predict_case
from diffufuse.store.index import index_slices
from diffufuse.train import checkpoints, player
from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.run import train_run, write_run

FUSERS = {
    "matr": {"width": 8, "branches": 2, "layers": 2, "heads": 2, "window": 4},
    "cddfuse": {"width": 4, "blocks": 1, "heads": 2, "nodes": 1},
}
CENTERS = {"A": 12, "B": 20, "C": 28, "D": 16}


def block_of(changes):
    """The block of the model."""
    blocks = {"unet2d": segmenting.BLOCK, "diffufusemed": segmenting.DIFFUFUSE, "fuse4seg": fusing.BLOCK}
    blocks |= {name: fusing.FUSER | {"architecture": name, "settings": settings} for name, settings in FUSERS.items()}
    base = blocks[changes["model"]]
    changed = {"settings": changes.get("settings", {}), "training": changes.get("training", {})}
    return base | {name: base[name] | change for name, change in changed.items()}


def study_of(own, changes):
    """Plan, cases and index of slices."""
    if changes["model"] in ("fuse4seg", *FUSERS):
        cases = {name: fusing.case_of(own, name) for name in "ABCDEFV"}
        plan = fusing.plan_with(block_of(changes))
        regions = {entry["name"]: entry["labels"] for entry in plan["regions"]}
    else:
        cases = {name: segmenting.bright_ball(own, name, center) for name, center in CENTERS.items()}
        plan, regions = segmenting.plan_with(block_of(changes)), {"mass": [1]}
    stored = ((name, case.slices) for name, case in cases.items())
    return plan, cases, index_slices(stored, dataset=plan["dataset"], regions=regions)


def watched(own, rank, changes):
    """Note what this process sees and holds, and kill it where it is to be killed."""
    step_of, terms_of = Supervised.step, Supervised.terms

    def step_and_note(regimen, step, **others):
        killed = own.parent / "killed"
        if [rank, step] == changes.get("kill") and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        curves = step_of(regimen, step, **others)
        if step == regimen.steps:
            torch.save(regimen.network.state_dict(), own / "weights.pt")
        return curves

    def count_and_go_on(regimen, step, batch, **others):
        (own / "samples").write_text(str(len(batch.images)))
        return terms_of(regimen, step, batch, **others)

    Supervised.step, Supervised.terms = step_and_note, count_and_go_on
    checkpoints.CHECKPOINT_EVERY_S = changes.get("checkpoint_every_s", 1e9)
    if changes.get("apart"):
        player.mean_gradients = lambda weights: None


if __name__ == "__main__":
    folder, changes, rank = Path(sys.argv[1]), json.loads(sys.argv[2]), int(os.environ.get("LOCAL_RANK", "0"))
    own = folder / f"process-{rank}"
    own.mkdir(parents=True, exist_ok=True)
    with job_log(folder / "job.log"):
        watched(own, rank, changes)
        settings = {"checkpoints": folder / "checkpoints", "started_unix_s": time.time()}
        settings |= {"predict": predict_case, "follow": lambda step, values: None}
        run = train_run(*study_of(own, changes), **settings)
        files = {name: folder / f"{name}.json" for name in ("plan", "record")}
        write_run(run, weights=folder / "weights", history=folder / "history.parquet", **files)
