"""Two processes that share a training, each with half of the batch, against one; by gloo, on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).parents[1] / "shared_training.py"
UNET = {"model": "unet2d", "training": {"steps": 30, "learning_rate": 1e-3}}
# Dropout is drawn anew in every process, so with it the curves agree as those of two seeds do.
METHOD = {"model": "diffufusemed", "settings": {"dropout": 0.0}, "training": {"steps": 20, "learning_rate": 1e-3}}
OF_THE_MACHINE = ("throughput", "waiting", "memory")


def train(folder, processes, **changes):
    environment = os.environ | {"DIFFUFUSE_PROCESSES": str(processes), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if name != "DIFFUFUSE_WORKFLOW"}
    command = [sys.executable, PROGRAM, folder, json.dumps(changes)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def trained(folder, processes, **changes):
    done = train(folder, processes, **changes)
    assert done.returncode == 0, done.stderr + (folder / "job.log").read_text()
    return folder


def curves(folder):
    """Quantity → values."""
    rows = pd.read_parquet(folder / "history.parquet")
    return {name: part["value"].to_numpy() for name, part in rows.groupby("quantity") if name not in OF_THE_MACHINE}


def record(folder):
    return json.loads((folder / "record.json").read_text())


def weights(folder, process=0):
    state = torch.load(folder / f"process-{process}" / "weights.pt")
    return torch.cat([part.flatten().double() for part in state.values()])


def largest_difference(first, second, quantity="loss"):
    return np.abs(first[quantity] - second[quantity]).max()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("shared"), 2, **UNET)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), 1, **UNET)


def test_two_processes_have_the_curve_of_one(shared, alone):
    assert largest_difference(curves(shared), curves(alone)) < 1e-3
    assert [record(folder)["processes"] for folder in (shared, alone)] == [2, 1]


def test_each_of_them_learns_from_half_of_the_samples_and_has_the_same_weights(shared, alone):
    assert [(shared / f"process-{rank}" / "samples").read_text() for rank in (0, 1)] == ["3", "3"]
    assert (alone / "process-0" / "samples").read_text() == "6"
    assert torch.equal(weights(shared, 0), weights(shared, 1))


def test_the_first_alone_writes(shared):
    assert len(list(shared.glob("process-1/*"))) == len(list(shared.glob("process-0/*")))
    assert (shared / "job.log").read_text().count("parameters") == 1
    assert not (shared / "checkpoints").exists()


def test_without_the_gradients_of_the_other_the_curve_is_another(alone, tmp_path):
    apart = trained(tmp_path, 2, apart=True, **UNET)
    assert largest_difference(curves(apart), curves(alone)) > 1e-2
    assert not torch.equal(weights(apart, 0), weights(apart, 1))


def test_the_method_has_the_curve_of_one_with_all_its_terms(tmp_path):
    one, two = (curves(trained(tmp_path / str(number), number, **METHOD)) for number in (1, 2))
    assert {"loss_noise", "loss_restoration", "loss_alignment", "loss_reliability", "reliability_auc"} <= two.keys()
    assert one.keys() == two.keys()
    assert largest_difference(one, two) < 1e-3
    for name in one.keys() - {"gradient_norm"}:
        np.testing.assert_allclose(one[name], two[name], rtol=0.01, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("regimen", ["bilevel", "joint"])
def test_a_game_and_its_control_have_the_curve_of_one(tmp_path, regimen):
    changes = {"model": "fuse4seg", "training": {"regimen": regimen, "learning_rate": 1e-3}}
    one, two = (curves(trained(tmp_path / str(number), number, **changes)) for number in (1, 2))
    assert one.keys() == two.keys()
    assert {"loss_task", "loss_gradient"} <= {name.removeprefix("leader_") for name in two}
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=0.01, atol=1e-3, err_msg=name)
    assert largest_difference(one, two) < 1e-3


FUSERS = {
    "matr": {"regimen": "label_free", "fusion_loss": {"similarity": 2.0, "information_of_structure": 1.0}},
    "cddfuse": {"regimen": "two_stage", "first_stage_steps": 4}
    | {"restoration_loss": {"squared": 2.0, "similarity": 10.0}, "fusion_loss": {"maximum": 1.0, "gradient": 10.0}},
}


@pytest.mark.parametrize("model", FUSERS)
def test_fusers_have_the_curve_and_the_moments_of_one(tmp_path, model):
    """MATR normalizes by the batch, which is shared."""
    changes = {"model": model, "training": FUSERS[model] | {"learning_rate": 1e-3}}
    one, two = (trained(tmp_path / str(number), number, **changes) for number in (1, 2))
    assert curves(one).keys() == curves(two).keys()
    for name in curves(one):
        np.testing.assert_allclose(curves(one)[name], curves(two)[name], rtol=0.01, atol=1e-3, err_msg=name)
    assert torch.equal(weights(two, 0), weights(two, 1))
    assert (weights(two) - weights(one)).abs().max() < 0.01


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("with_dropout"), 2, **METHOD | {"settings": {}})


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_is_killed_all_end_and_go_on_to_the_same_weights(with_dropout, tmp_path, killed):
    changes = METHOD | {"settings": {}, "checkpoint_every_s": 0, "kill": [killed, 12]}
    assert train(tmp_path, 2, **changes).returncode != 0
    assert not (tmp_path / "record.json").exists()
    trained(tmp_path, 2, **changes)
    assert record(tmp_path)["resumed_at_steps"] == [11]
    for rank in (0, 1):
        assert torch.equal(weights(tmp_path, rank), weights(with_dropout, rank))


def test_a_batch_that_has_no_halves_is_refused(tmp_path):
    done = train(tmp_path, 2, model="unet2d", training={"steps": 1, "batch": 3})
    assert done.returncode == 1
    assert "expected a `batch` that 2 processes share equally, got 3" in done.stderr
