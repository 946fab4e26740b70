"""What survives an interruption, and what is not taken up again."""

import errno
import hashlib
import logging
import os
import pickle
import signal
import time
from pathlib import Path

import pytest
import torch

from diffufuse.train import checkpoints as module
from diffufuse.train.checkpoints import Checkpoints, Interrupted, received_signals, remove_checkpoints


class Part:
    """Something that changes: a number and a tensor."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value, "tensor": torch.full((3,), float(self.value))}

    def load_state_dict(self, state):
        assert state["tensor"].eq(state["value"]).all()
        self.value = state["value"]


def saved(folder, *steps, identity="mine"):
    part = Part()
    checkpoints = Checkpoints(folder, identity, {"part": part}, "Train")
    for step in steps:
        part.value = 10 * step
        checkpoints.save(step)
    return checkpoints


def restored(folder, identity="mine"):
    part = Part(-1)
    return Checkpoints(folder, identity, {"part": part}, "Train").restore(), part.value


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_checkpoint_is_taken_up(tmp_path):
    saved(tmp_path, 3, 7)
    assert restored(tmp_path) == (7, 70)


def test_without_checkpoints_the_parts_are_as_they_were(tmp_path):
    assert restored(tmp_path / "none") == (0, -1)


def test_the_two_newest_are_kept(tmp_path):
    saved(tmp_path, 3, 7, 12, 100)
    assert names(tmp_path) == ["step-000000012.ckpt", "step-000000100.ckpt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it_with_a_warning(tmp_path, damage, caplog):
    saved(tmp_path, 3, 7)
    newest = tmp_path / "step-000000007.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-9], "flipped": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING, "diffufuse"):
        assert restored(tmp_path) == (3, 30)
    assert "step-000000007.ckpt is damaged" in caplog.text
    assert names(tmp_path) == ["step-000000003.ckpt"]


def test_a_checkpoint_of_another_training_is_ignored_and_removed(tmp_path):
    saved(tmp_path, 3, 7, identity="other")
    assert restored(tmp_path) == (0, -1)
    assert names(tmp_path) == []


class Harmful:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path):
    folder = tmp_path / "checkpoints"
    saved(folder, 3)
    body = pickle.dumps({"identity": "mine", "step": 9, "parts": Harmful(tmp_path / "harm")})
    (folder / "step-000000009.ckpt").write_bytes(hashlib.sha256(body).digest() + body)
    assert restored(folder) == (3, 30)
    assert not (tmp_path / "harm").exists()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    saved(tmp_path, 3)
    (tmp_path / ".123.partial.step-000000009.ckpt").write_bytes(b"half")
    assert restored(tmp_path) == (3, 30)
    assert names(tmp_path) == ["step-000000003.ckpt"]


def test_a_full_disk_costs_the_checkpoint_but_not_the_training(tmp_path, monkeypatch, caplog):
    checkpoints = saved(tmp_path, 3)

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "diffufuse"):
        patch.setattr(os, "replace", full)
        checkpoints.save(7)
    assert "No space left on device" in caplog.text
    assert restored(tmp_path) == (3, 30)


def test_a_checkpoint_is_kept_when_it_is_time_and_not_before(tmp_path):
    checkpoints = saved(tmp_path)
    checkpoints.keep(1, set())
    assert restored(tmp_path) == (0, -1)
    checkpoints.saved_s = time.monotonic() - module.CHECKPOINT_EVERY_S
    checkpoints.keep(2, set())
    checkpoints.keep(3, set())
    assert restored(tmp_path)[0] == 2


def test_signals_are_heard_and_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with received_signals() as heard:
        os.kill(os.getpid(), signal.SIGUSR1)
        saved(tmp_path).keep(4, heard)
        assert heard == set()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            saved(tmp_path).keep(5, heard)
    assert signal.getsignal(signal.SIGTERM) == before
    assert restored(tmp_path)[0] == 5


def test_a_finished_training_leaves_no_checkpoints(tmp_path):
    saved(tmp_path / "checkpoints", 3)
    remove_checkpoints(tmp_path / "checkpoints")
    remove_checkpoints(tmp_path / "checkpoints")
    assert names(tmp_path) == []
