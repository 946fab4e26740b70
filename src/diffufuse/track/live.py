"""Live curves of a training in MLflow; no result depends on them."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.exceptions import MlflowException

from diffufuse.track.client import ensure_experiment, find_or_create, forget, open_store, points

log = logging.getLogger(__name__)


def follow_live(
    store: str | os.PathLike[str], plan: Mapping[str, Any], *, started_unix_s: float
) -> Callable[[int, dict[str, float]], None]:
    """Return a callback that logs a training's curves live; if MLflow fails, it warns once and then does nothing.

    Args:
        store: folder of the MLflow store.
        plan: of the run; its `path` is the run's identity.
        started_unix_s: when the training began.
    """
    experiment, path = plan["dataset"], plan["path"]
    try:
        client = open_store(store)
        ensure_experiment(client, store, experiment)
        forget(client, experiment, path)
        run = find_or_create(client, experiment, path)
    except (MlflowException, OSError) as error:
        log.warning("MLflow cannot be reached, so the curves are not shown live: %s", error)
        return lambda step, values: None
    reachable = [True]

    def follow(step: int, values: dict[str, float]) -> None:
        if not reachable[0]:
            return
        try:
            client.log_batch(run.info.run_id, metrics=points(step, values, started_unix_s))
        except (MlflowException, OSError) as error:
            reachable[0] = False
            log.warning("MLflow stopped answering, so the curves are no longer shown live: %s", error)

    return follow
