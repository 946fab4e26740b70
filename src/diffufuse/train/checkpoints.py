"""What survives an interruption: the whole state of a training, kept in files that prove themselves.

A file is a SHA-256 followed by what `torch.save` wrote; it appears whole or not at all, and the two newest are kept.
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
    """A part of a training that changes while it runs."""

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on: tensors, numbers, texts, and lists and dictionaries of them."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from what `state_dict` gave."""


class Interrupted(SystemExit):
    """A training that was asked to stop has kept its state; the exit status is that of a program ended by SIGTERM."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@dataclass
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: holds them and nothing else.
        identity: tells this training from any other; what was saved under another one is of no use.
        parts: name to what is saved and put back.
        title: what the messages call this training.
        saved_s: when the last one was saved, on the monotonic clock.
    """

    folder: Path
    identity: str
    parts: Mapping[str, Stateful]
    title: str
    saved_s: float = field(default_factory=time.monotonic)

    def restore(self) -> int:
        """Put the parts back as the newest sound checkpoint has them; what is damaged or foreign is removed.

        Returns:
            The step after which it was saved; 0 if there is none, and then the parts are as they were.
        """
        for rest in self.folder.glob(".*.partial.*"):
            rest.unlink()
        for path in reversed(self._saved()):
            state = self._read(path)
            if state is None:
                path.unlink()
                continue
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            PROGRESS.info("%s: goes on after step %d, where it was interrupted", self.title, state["step"])
            return int(state["step"])
        return 0

    def keep(self, step: int, heard: set[int]) -> None:
        """Save after a step if it is time or if a signal asks for it.

        Args:
            step: the last step that is done.
            heard: from `heard_signals`.

        Raises:
            Interrupted: a SIGTERM was heard; the state is saved.
        """
        if not heard and time.monotonic() - self.saved_s < CHECKPOINT_EVERY_S:
            return
        heard.discard(signal.SIGUSR1)
        self.save(step)
        if signal.SIGTERM in heard:
            PROGRESS.info("%s: stopped on request after step %d; start it again to go on from there", self.title, step)
            raise Interrupted

    def save(self, step: int) -> None:
        """Save the parts; a full disk costs the checkpoint, not the training."""
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
        content = path.read_bytes()
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
    """Remove all checkpoints of a training whose results are written."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def heard_signals() -> Iterator[set[int]]:
    """The signals that ask for a checkpoint, as they arrive: SIGTERM to stop after it, SIGUSR1 to go on.

    Only the main thread hears them; elsewhere the set stays empty.
    """
    heard: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        heard.add(number)

    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
