"""Live curves of a training in MLflow, sent by a thread of their own; no result depends on them."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, TypeAlias

import psutil
from mlflow.entities import Metric

from diffufuse.errors import BadInput
from diffufuse.processes import is_first
from diffufuse.track.address import require_address
from diffufuse.track.runs import begin, training_name, training_tags
from diffufuse.track.store import opened_store, points

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
MOST_IN_A_CALL = 500
Waiting: TypeAlias = "Queue[list[Metric]]"


def follow_live(
    store: str | os.PathLike[str], plan: Mapping[str, Any], *, started_unix_s: float
) -> Callable[[int, dict[str, float]], None]:
    """Return a callback that shows a training's curves live, and never waits.

    A thread sends what the callback is given. If MLflow fails, or is silent for `SECONDS_TO_ANSWER`, the thread warns
    once and ends. What was not sent is not lost: `replay` completes the run from its files.

    Where several processes share a training, the first one sends.

    Args:
        store: folder of the MLflow store.
        plan: of the run; its `path` is the run's identity.
        started_unix_s: when the training began.

    Raises:
        BadInput: the address of the store holds a user or a password.
    """
    require_address(store)
    if not is_first():
        return lambda step, values: None
    waiting: Waiting = Queue(MOST_WAITING)
    Thread(target=_send, args=(waiting, store, plan, started_unix_s), daemon=True).start()

    def follow(step: int, values: dict[str, float]) -> None:
        defined = points(step, values, started_unix_s)
        with suppress(Full):
            if defined:
                waiting.put_nowait(defined)

    return follow


def _send(waiting: Waiting, folder: str | os.PathLike[str], plan: Mapping[str, Any], started_unix_s: float) -> None:
    process = psutil.Process()
    try:
        with opened_store(folder) as store:
            experiment = store.experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", plan["dataset"]))
            run = begin(store, experiment, plan["path"], training_name(plan), training_tags(plan), started_unix_s)
            while True:
                batch = _next_batch(waiting)
                store.client.log_batch(run.info.run_id, metrics=batch + _machine(process, batch[-1]))
    except BadInput as error:
        log.warning("The curves are not shown live any more. %s", error)


def _machine(process: psutil.Process, last: Metric) -> list[Metric]:
    """What the training takes of the machine, at the time of its last point."""
    taken = {"cpu_percentage": process.cpu_percent(), "memory_megabytes": process.memory_info().rss / 1e6}
    return [Metric(f"system/process_{name}", value, last.timestamp, last.step) for name, value in taken.items()]


def _next_batch(waiting: Waiting) -> list[Metric]:
    """Wait for points, and take what waits with them, as far as one call carries it."""
    batch = waiting.get()
    with suppress(Empty):
        while len(batch) < MOST_IN_A_CALL:
            batch += waiting.get_nowait()
    return batch
