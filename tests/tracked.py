"""A training of two steps, as files show it, and what MLflow shows of it."""

import time

import pandas as pd

PLAN = {"path": "train/d/m/fold-0_seed-0", "dataset": "d", "block": {"training": {"steps": 20}}}
RUN = {"commit": "abc", "versions": {"diffufuse": "0"}, "device": "cpu", "duration_s": 3.0, "started_unix_s": 1.0}
HISTORY = pd.DataFrame({"step": [10, 20], "quantity": "loss", "value": [0.5, 0.25], "unit": "1"})
METRICS = pd.DataFrame({"condition": "clean", "region": "mass", "metric": "dice", "value": [0.6, 0.8]})


def eventually(found, *, seconds=30):
    """Wait until something is found."""
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.05)


def runs_in(client, experiment="d"):
    """The runs of an experiment; none before there is one."""
    existing = client.get_experiment_by_name(experiment)
    return client.search_runs([existing.experiment_id]) if existing else []


def curve_of(client, quantity):
    """The values of a quantity in the only run, in the order of their steps."""
    [run] = runs_in(client) or [None]
    points = client.get_metric_history(run.info.run_id, quantity) if run else []
    return [point.value for point in sorted(points, key=lambda point: point.step)]
