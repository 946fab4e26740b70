"""A training's curves in MLflow: they come while it runs, cost its steps nothing, and no silent server stops it."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tracked import PLAN, client_of, curve_of, eventually, runs_in, shown, training_in

from diffufuse.errors import BadInput
from diffufuse.track.live import MOST_WAITING, follow_live

ROOT, BIN = Path(__file__).parents[2], Path(sys.executable).parent
# A step of a busy machine may wait for its turn; one that waits for a server waits for seconds.
LONGEST_STEP_S = 4.0


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A real MLflow server on a store."""

    port: int
    process: subprocess.Popen

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that shows a study, and was moved."""
    folder = tmp_path_factory.mktemp("moved")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shown(folder / "before", folder)
    return (folder / "before").rename(folder / "after")


@pytest.fixture(scope="module")
def server(store):
    port, log = free_port(), (store / "log").open("w")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [
        "make",
        "-s",
        "-o",
        ".venv/ready",
        "-f",
        str(ROOT / "Makefile"),
        "server",
        f"BIN={BIN}",
        f"TRACK={store}",
    ]
    process = subprocess.Popen(
        command,
        cwd=store,
        start_new_session=True,
        env=environment | {"MLFLOW_PORT": str(port)},
        stdout=log,
        stderr=log,
    )
    server = Server(port, process)
    try:
        eventually(lambda: answers(port), seconds=240)
        yield server
    finally:
        server.kill()


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


def test_artifacts_are_found_by_a_server_where_the_store_was_moved(server, tmp_path):
    client = MlflowClient(server.address)
    run = runs_in(client, "s")["study/s"]
    assert [item.path for item in client.list_artifacts(run.info.run_id, "pictures/overlays/d")] == [
        "pictures/overlays/d/A.png"
    ]
    page = client.download_artifacts(run.info.run_id, "results.md", str(tmp_path))
    assert Path(page).read_text() == "results.md"


def test_a_server_keeps_what_is_shown_through_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    ids = shown(tmp_path / "unused", tmp_path, study={"name": "sent"})
    client = MlflowClient(server.address)
    assert {path: run.info.run_id for path, run in runs_in(client, "sent").items()} == ids
    assert [item.path for item in client.list_artifacts(ids["study/sent"])] == ["pictures", "results.md"]
    assert not (tmp_path / "unused").exists()


def test_a_server_that_dies_midway_costs_no_step_and_the_files_complete_the_run(
    server, store, tmp_path, monkeypatch, caplog
):
    history = pd.DataFrame({"step": range(1, 41), "quantity": "loss", "unit": "1"})
    history["value"] = 1 / history["step"]
    study, client = {"study": {"name": "killed"}}, MlflowClient(server.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "killed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    with caplog.at_level(logging.WARNING):
        follow = follow_live(store, PLAN, started_unix_s=1.0)
        before = longest_step(follow, range(1, 21))
        eventually(lambda: len(curve_of(client, "loss", experiment="killed")) == 20)
        server.kill()
        after = longest_step(follow, range(21, 31))
        eventually(lambda: told(caplog), seconds=60)
        later = longest_step(follow, range(31, 41))
    assert max(before, after, later) < LONGEST_STEP_S
    [sentence] = told(caplog)
    assert "`snakemake track`" in sentence
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    live = runs_in(client_of(store), "killed")[PLAN["path"]].info.run_id
    ids = shown(store, tmp_path, trainings=[training_in(tmp_path, history=history)], **study)
    assert ids[PLAN["path"]] == live
    assert curve_of(client_of(store), "loss", experiment="killed") == history["value"].tolist()


def test_a_server_that_accepts_and_never_answers_costs_no_step_and_is_told_once(tmp_path, monkeypatch, caplog):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute, caplog.at_level(logging.WARNING):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        follow = follow_live(tmp_path, PLAN, started_unix_s=1.0)
        assert longest_step(follow, range(1, MOST_WAITING + 100)) < LONGEST_STEP_S
        eventually(lambda: told(caplog), seconds=60)
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
            shown(tmp_path / "track", tmp_path)
        assert time.monotonic() - begun < 30
