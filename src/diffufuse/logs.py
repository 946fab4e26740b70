"""What a job says: everything into its log file, progress and faults of the input also onto the screen."""

import logging
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil

from diffufuse.errors import BadInput

PROGRESS = logging.getLogger("diffufuse.progress")
SECONDS_BETWEEN_LINES = 8.0
# A training answers SIGTERM by saving its state after the running step.
SECONDS_TO_SAVE = 20.0
UMASK = "DIFFUFUSE_UMASK"
OWNER_ALONE = 0o077


@contextmanager
def job_log(path: str | os.PathLike[str]) -> Iterator[None]:
    """Send log records, stdout and stderr of a job into its log file.

    A `BadInput` ends the job with its one sentence and no traceback. The job ends, too, when the workflow that
    started it is gone, so that nothing is left behind to write into a later run's results: it gets a SIGTERM, and
    what it does not answer within `SECONDS_TO_SAVE` is lost.

    What the job writes is for the eyes of its owner alone, as data and results are of patients: its umask is 077, or
    what `DIFFUFUSE_UMASK` says in octal, such as 027 for a group that shares.

    Args:
        path: the log file; its folder is made.
    """
    os.umask(OWNER_ALONE)
    with suppress(BadInput):  # told below, in the log
        set_umask()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
    _end_with_the_workflow()
    with _output_into(path) as screen:
        _configure_logging(screen)
        try:
            set_umask()
            yield
        except BadInput as error:
            logging.getLogger(__name__).error("%s", error)
            screen_line(screen, f"\nStopped: {error}\n")
            raise SystemExit(1) from None
        except Exception:
            logging.getLogger(__name__).exception("The job failed in a way that nobody foresaw.")
            raise SystemExit(1) from None


def set_umask() -> None:
    """Keep what this process writes to its owner, or to those that `DIFFUFUSE_UMASK` allows.

    Raises:
        BadInput: the variable is no umask.
    """
    asked = os.environ.get(UMASK, f"{OWNER_ALONE:o}")
    if not re.fullmatch("0{0,2}[0-7]{1,2}", asked):
        raise BadInput(
            f"{UMASK}: expected an octal number from 000 to 077, such as 027 for a group that shares, got {asked!r}; "
            "correct it, or unset it to keep all files to yourself."
        )
    os.umask(int(asked, 8))


class Progress:
    """Says how far a long piece of work is, at most every few seconds; a total of 0 is an unknown one."""

    def __init__(self, what: str, total: int, *, unit: Literal["", "bytes"] = "", begun_at: int = 0) -> None:
        self.what, self.total, self.unit, self.begun_at = what, total, unit, begun_at
        self.started = self.told = time.monotonic()

    def step(self, done: int, detail: str = "") -> None:
        """Tell that `done` of the total are done, if the last line is long enough ago."""
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES and done != self.total:
            return
        self.told = now
        per_s = (done - self.begun_at) / max(now - self.started, 1e-9)
        shown = bytes_text if self.unit == "bytes" else str
        rate = f", {bytes_text(int(per_s))}/s" if self.unit == "bytes" else ""
        left = f", {(self.total - done) / per_s:.0f} s left" if self.total and per_s > 0 else ""
        total = f" of {shown(self.total)}{detail and f', {detail}'}" if self.total else ""
        PROGRESS.info("%s: %s%s%s%s", self.what, shown(done), total, rate, left)


def bytes_text(count: int) -> str:
    """A number of bytes as a person reads it, in powers of 1000: 9.87 GB."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.3g} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def screen_line(screen: int, text: str) -> None:
    """Write one line to the terminal that the job was started from."""
    os.write(screen, text.encode())


class _ScreenHandler(logging.Handler):
    """Passes log records to the terminal although the job's own output goes into its log file."""

    def __init__(self, screen: int) -> None:
        super().__init__()
        self.screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        screen_line(self.screen, f"    {record.getMessage()}\n")


def _configure_logging(screen: int) -> None:
    library = logging.getLogger("diffufuse")
    library.handlers.clear()
    library.setLevel(logging.INFO)
    to_file = logging.StreamHandler(sys.stderr)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    library.addHandler(to_file)
    PROGRESS.handlers = [_ScreenHandler(screen)]


@contextmanager
def _output_into(path: str | os.PathLike[str]) -> Iterator[int]:
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, screen = os.dup(1), os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    _close_to_others(file)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield screen
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(stdout, 1)
        os.dup2(screen, 2)
        os.close(stdout)
        os.close(screen)


def _close_to_others(file: int) -> None:
    """A log that was there already keeps its mode when it is written anew, and may be open to all."""
    umask = os.umask(OWNER_ALONE)
    os.umask(umask)
    with suppress(OSError):
        os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) & ~umask)


def _end_with_the_workflow() -> None:
    workflow = next((process for process in psutil.Process().parents() if _is_snakemake(process)), None)
    if workflow is not None:
        threading.Thread(target=_watch, args=(workflow,), daemon=True).start()


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(part).name == "snakemake" for part in command[:2]) or command[1:3] == ["-m", "snakemake"]


def _watch(workflow: psutil.Process) -> None:
    while workflow.is_running() and workflow.status() != psutil.STATUS_ZOMBIE:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os._exit(1)
