"""Live curves of a training in MLflow, sent by a thread of their own; no result depends on them."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, TypeAlias

from mlflow.entities import Metric

from diffufuse.errors import BadInput
from diffufuse.track.client import ensure_experiment, find_or_create, forget, opened_store, points, require_address

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

    Args:
        store: folder of the MLflow store.
        plan: of the run; its `path` is the run's identity.
        started_unix_s: when the training began.

    Raises:
        BadInput: the address of the store holds a user or a password.
    """
    require_address(store)
    waiting: Waiting = Queue(MOST_WAITING)
    Thread(target=_send, args=(waiting, store, plan), daemon=True).start()

    def follow(step: int, values: dict[str, float]) -> None:
        with suppress(Full):
            waiting.put_nowait(points(step, values, started_unix_s))

    return follow


def _send(waiting: Waiting, store: str | os.PathLike[str], plan: Mapping[str, Any]) -> None:
    experiment, path = plan["dataset"], plan["path"]
    try:
        with opened_store(store) as client:
            ensure_experiment(client, store, experiment)
            forget(client, experiment, path)
            run = find_or_create(client, experiment, path)
            while True:
                client.log_batch(run.info.run_id, metrics=_next_batch(waiting))
    except BadInput as error:
        log.warning("The curves are not shown live any more. %s", error)


def _next_batch(waiting: Waiting) -> list[Metric]:
    """Wait for points, and take what waits with them, as far as one call carries it."""
    batch = waiting.get()
    with suppress(Empty):
        while len(batch) < MOST_IN_A_CALL:
            batch += waiting.get_nowait()
    return batch
