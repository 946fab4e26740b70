"""A training's curves in MLflow: they come while it runs, cost its steps nothing, and no silent server stops it."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from urllib.request import urlopen

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tracked import HISTORY, METRICS, PLAN, RUN, curve_of, eventually

from diffufuse.errors import BadInput
from diffufuse.track.live import MOST_WAITING, follow_live
from diffufuse.track.runs import replay

# A step of a busy machine may wait for its turn; one that waits for a server waits for seconds.
LONGEST_STEP_S = 1.0


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(folder, port):
    """A real MLflow server; yields what kills it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, start_new_session=True, env=environment, stdout=log, stderr=log)

    def kill():
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    try:
        eventually(lambda: answers(port), seconds=240)
        yield kill
    finally:
        kill()


def answers(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
    except OSError:
        return False


def longest_step(follow, steps):
    """The longest time that a call took, in seconds."""
    longest = 0.0
    for step in steps:
        begun = time.perf_counter()
        follow(step, {"loss": 1 / step})
        longest = max(longest, time.perf_counter() - begun)
    return longest


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "diffufuse.track.live"]


def test_a_server_that_dies_midway_costs_no_step_and_the_files_complete_the_run(tmp_path, monkeypatch, caplog):
    port = free_port()
    history = pd.DataFrame({"step": range(1, 41), "quantity": "loss", "unit": "1"})
    history["value"] = 1 / history["step"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING), served(tmp_path, port) as kill:
        follow = follow_live(tmp_path, PLAN, started_unix_s=1.0)
        before = longest_step(follow, range(1, 21))
        eventually(lambda: len(curve_of(MlflowClient(), "loss")) == 20)
        kill()
        after = longest_step(follow, range(21, 31))
        eventually(lambda: told(caplog), seconds=15)
        later = longest_step(follow, range(31, 41))
    assert max(before, after, later) < LONGEST_STEP_S
    [sentence] = told(caplog)
    assert "`snakemake track`" in sentence
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert len(curve_of(MlflowClient(), "loss")) == 20
    replay(tmp_path, PLAN, RUN, history=history, metrics=METRICS, tags={}, artifacts={})
    assert curve_of(MlflowClient(), "loss") == history["value"].tolist()


def test_a_server_that_accepts_and_never_answers_costs_no_step_and_is_told_once(tmp_path, monkeypatch, caplog):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute, caplog.at_level(logging.WARNING):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        follow = follow_live(tmp_path, PLAN, started_unix_s=1.0)
        assert longest_step(follow, range(1, MOST_WAITING + 100)) < LONGEST_STEP_S
        eventually(lambda: told(caplog), seconds=10)
        assert longest_step(follow, range(1, 100)) < LONGEST_STEP_S
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("accepts", [True, False])
def test_runs_that_cannot_be_shown_are_told_in_a_sentence_that_names_the_way_to_go_on(tmp_path, monkeypatch, accepts):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not accepts:
            server.close()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        begun = time.monotonic()
        with pytest.raises(BadInput, match=rf"{address}: .*`snakemake track`"):
            replay(tmp_path, PLAN, RUN, history=HISTORY, metrics=METRICS, tags={}, artifacts={})
        assert time.monotonic() - begun < 10
