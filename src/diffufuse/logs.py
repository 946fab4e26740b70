"""Logging of jobs: everything to the log file, progress and input errors also to the terminal."""

import logging
import os
import re
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Literal

import psutil

from diffufuse.errors import FULL, BadInput
from diffufuse.processes import is_first

PROGRESS = logging.getLogger("diffufuse.progress")
SECONDS_BETWEEN_LINES = 8.0
# Time for a training to save its state after a SIGTERM.
SECONDS_TO_SAVE = 20.0
# What fails in all processes of a job is told by the first one, before the others end it.
SECONDS_FOR_THE_FIRST = 10.0
UMASK = "DIFFUFUSE_UMASK"
# Set by a workflow for its jobs.
WORKFLOW = "DIFFUFUSE_WORKFLOW"
OWNER_ALONE = 0o077


@contextmanager
def job_log(path: str | os.PathLike[str]) -> Iterator[None]:
    """Send log records, stdout and stderr of a job into its log file.

    A `BadInput` or a full disk ends the job with its message and no traceback. When the workflow that started the job
    has ended, the job gets a SIGTERM, and is stopped after `SECONDS_TO_SAVE`, so that it cannot write into the results
    of a later run.

    As the data is of patients, files of the job are readable by their owner only: the umask is 077, or the octal value
    of `DIFFUFUSE_UMASK`, such as 027 for a shared group.

    A job may start further processes of itself (`diffufuse.processes`). They write what they warn of into the same
    file, and end when the first one does.

    Args:
        path: the log file; its folder is created.
    """
    os.umask(OWNER_ALONE)
    with suppress(BadInput):  # reported below, in the log
        set_umask()
    if not is_first():
        with _beside_the_first():
            yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
    _end_with_the_workflow()
    with _output_into(path) as screen:
        _configure_logging(screen)
        try:
            set_umask()
            yield
        except Exception as error:
            refusal = error if isinstance(error, BadInput) else of_full_disk(error, near=path)
            if refusal is None:
                logging.getLogger(__name__).exception("The job failed in a way that nobody foresaw.")
            else:
                logging.getLogger(__name__).error("%s", refusal)
                screen_line(screen, f"\nStopped: {refusal}\n")
            raise SystemExit(1) from None


@contextmanager
def _beside_the_first() -> Iterator[None]:
    """End with the process that started this one; an error ends all of them, when the first has had its say."""
    threading.Thread(target=_watch_the_first, args=(psutil.Process(os.getppid()),), daemon=True).start()
    try:
        yield
    except Exception as error:
        if isinstance(error, BadInput):
            logging.getLogger(__name__).error("%s", error)
        else:
            logging.getLogger(__name__).exception("A process of the job failed in a way that nobody foresaw.")
        time.sleep(SECONDS_FOR_THE_FIRST)
        os._exit(1)


def _watch_the_first(first: psutil.Process) -> None:
    while first.is_running() and first.status() != psutil.STATUS_ZOMBIE:
        time.sleep(1.0)
    os._exit(1)


def of_full_disk(error: Exception, *, near: str | os.PathLike[str]) -> BadInput | None:
    """The refusal of a write for which the disk had no room, in place of its error; None of any other error.

    Args:
        error: names the file, or nothing: then the volume with the least room is meant, of those of the working
            directory, of `near` and of temporary files.
        near: a file that the job writes.
    """
    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    places = [error.filename] if error.filename else [os.getcwd(), os.path.dirname(near), gettempdir()]
    place, free = min(((place, free_bytes(place)) for place in places), key=lambda pair: pair[1])
    whole = Path(place).absolute()
    volume = next(path for path in (whole, *whole.parents) if path.is_mount())
    return BadInput(
        f"{place}: expected room on the volume {volume}, got {error.strerror!r}: it needs more than the "
        f"{bytes_text(free)} that are free there; free some and run snakemake again, which goes on from what is whole."
    )


def free_bytes(place: str | os.PathLike[str]) -> int:
    """Number of free bytes on the disk of a file or folder, which need not exist."""
    there = next(path for path in (Path(place).absolute(), *Path(place).absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def set_umask() -> None:
    """Set the umask of this process to `DIFFUFUSE_UMASK`, by default owner only.

    Raises:
        BadInput: the variable is not a valid umask.
    """
    asked = os.environ.get(UMASK, f"{OWNER_ALONE:o}")
    if not re.fullmatch("0{0,2}[0-7]{1,2}", asked):
        raise BadInput(
            f"{UMASK}: expected an octal number from 000 to 077, such as 027 for a group that shares, got {asked!r}; "
            "correct it, or unset it to keep all files to yourself."
        )
    os.umask(int(asked, 8))


class Progress:
    """Logs the progress of a long task every few seconds; a total of 0 means unknown."""

    def __init__(self, what: str, total: int, *, unit: Literal["", "bytes"] = "", begun_at: int = 0) -> None:
        self.what, self.total, self.unit, self.begun_at = what, total, unit, begun_at
        self.started = self.reported = time.monotonic()

    def step(self, done: int, detail: str = "") -> None:
        """Log that `done` of the total are done, unless the last line was logged too recently."""
        now = time.monotonic()
        if now - self.reported < SECONDS_BETWEEN_LINES and done != self.total:
            return
        self.reported = now
        per_s = (done - self.begun_at) / max(now - self.started, 1e-9)
        shown = bytes_text if self.unit == "bytes" else str
        rate = f", {bytes_text(int(per_s))}/s" if self.unit == "bytes" else ""
        left = f", {(self.total - done) / per_s:.0f} s left" if self.total and per_s > 0 else ""
        total = f" of {shown(self.total)}{detail and f', {detail}'}" if self.total else ""
        PROGRESS.info("%s: %s%s%s%s", self.what, shown(done), total, rate, left)


def bytes_text(count: int) -> str:
    """Format a number of bytes in powers of 1000: 9.87 GB."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.3g} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def screen_line(screen: int, text: str) -> None:
    """Write text to the terminal from which the job was started."""
    os.write(screen, text.encode(errors="backslashreplace"))


class _ScreenHandler(logging.Handler):
    """Writes log records to the terminal while the job's output is redirected to its log file."""

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
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the log may lie on a full disk
                stream.flush()
        os.dup2(stdout, 1)
        os.dup2(screen, 2)
        os.close(stdout)
        os.close(screen)


def _close_to_others(file: int) -> None:
    """Apply the umask to a log file that existed already, as overwriting keeps its mode."""
    umask = os.umask(OWNER_ALONE)
    os.umask(umask)
    with suppress(OSError):
        os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) & ~umask)


def _end_with_the_workflow() -> None:
    workflow = next((process for process in psutil.Process().parents() if _is_snakemake(process)), None)
    if workflow is None and WORKFLOW in os.environ:
        raise SystemExit("The workflow that started this job has ended.")
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
