"""Checkpoints: the complete state of a training, in files with a checksum.

A file is a SHA-256 followed by the output of `torch.save`; it is written atomically, and the two newest are kept.
"""

import hashlib
import io
import logging
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from diffufuse.files.atomic import atomic_path
from diffufuse.logs import PROGRESS

CHECKPOINT_EVERY_S = 120.0
KEPT = 2
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
log = logging.getLogger(__name__)


class Stateful(Protocol):
    """An object whose state is saved in checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers, strings, and lists and dictionaries of them."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Restore a state from `state_dict`."""


class Interrupted(SystemExit):
    """A training stopped on request after saving its state; the exit status is that of SIGTERM."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@dataclass
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: of the checkpoints, with no other files.
        identity: of this training; a checkpoint with another identity is not used.
        parts: name → object to save and restore.
        title: name of this training in messages.
        saved_s: time of the last checkpoint, on the monotonic clock.
    """

    folder: Path
    identity: str
    parts: Mapping[str, Stateful]
    title: str
    saved_s: float = field(default_factory=time.monotonic)

    def restore(self) -> int:
        """Restore the parts from the newest valid checkpoint; damaged ones and those of another identity are removed.

        Returns:
            The step of the checkpoint; 0 if there is none, and the parts are unchanged.
        """
        for partial in self.folder.glob(".*.partial.*"):
            partial.unlink(missing_ok=True)
        for path in reversed(self._saved()):
            state = self._read(path)
            if state is None:
                path.unlink(missing_ok=True)
                continue
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            PROGRESS.info("%s: goes on after step %d, where it was interrupted", self.title, state["step"])
            return int(state["step"])
        return 0

    def keep(self, step: int, received: set[int]) -> None:
        """Save after a step if it is due or requested by a signal.

        Args:
            step: the last completed step.
            received: from `received_signals`.

        Raises:
            Interrupted: a SIGTERM was received; the state is saved.
        """
        if not received and time.monotonic() - self.saved_s < CHECKPOINT_EVERY_S:
            return
        received.discard(signal.SIGUSR1)
        self.save(step)
        if signal.SIGTERM in received:
            PROGRESS.info("%s: stopped on request after step %d; start it again to go on from there", self.title, step)
            raise Interrupted

    def save(self, step: int) -> None:
        """Save the parts; if writing fails, for example on a full disk, the training continues."""
        content = io.BytesIO()
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"identity": self.identity, "step": step, "parts": parts}, content)
        try:
            with atomic_path(self.folder / f"step-{step:09d}.ckpt") as partial, partial.open("wb") as file:
                file.write(hashlib.sha256(content.getbuffer()).digest())
                file.write(content.getbuffer())
        except OSError as error:
            log.warning("The checkpoint of step %d could not be written: %s", step, error)
        for old in self._saved()[:-KEPT]:
            old.unlink()
        self.saved_s = time.monotonic()

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.ckpt"))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # another process of the training has just removed it
            return None
        digest, body = content[:32], content[32:]
        if hashlib.sha256(body).digest() != digest:
            log.warning("%s is damaged; the training goes on from the checkpoint before it.", path)
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            log.warning("%s cannot be read: %s", path, error)
            return None
        if state["identity"] != self.identity:
            log.info("%s belongs to a training with another plan, code or data; it is not used.", path)
            return None
        return state


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a finished training."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def received_signals() -> Iterator[set[int]]:
    """Collect signals that request a checkpoint: SIGTERM to stop after it, SIGUSR1 to continue.

    Only the main thread receives them; in other threads the set stays empty.
    """
    received: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        received.add(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
