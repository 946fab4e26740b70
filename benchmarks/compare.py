"""Common code of the benchmarks: timing, comparison rows, and their files.

A benchmark is a script beside this one: it times with `timed`, makes a `Row` of each comparison and hands them to
`write`, which prints them and keeps them as `results/<name>.json`; `report.py` makes docs/benchmarks.md of all.
Run them with OMP_NUM_THREADS=1 and ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1, as `make bench` does: one thread each.
"""

import json
import operator
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
THREADS = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
ALWAYS = ("numpy", "scipy", "SimpleITK", "nibabel", "pydicom", "antspyx", "blosc2", "pandas", "snakemake")
COMPARISONS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat of a call, in order.

    Attributes:
        min_s: the fastest, which other load on the machine disturbs least.
        median_s: the usual.
        all: every repeat.
    """

    min_s: float
    median_s: float
    all: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: short and unique in its file.
        what: what is done, on what input, in words.
        ours: our value.
        unit: unit of `ours` and `theirs`: 's', 'ms', 'mm', 'GB', ...
        theirs: the peer's value; None without a peer.
        peer: who that is, with the release compared: 'rt-utils 1.2.7'.
        goal: 'ratio >= 100', 'ours <= 60', or '' where none was set.
        agrees: whether the outputs agree; None where there is nothing to compare. A goal is met only where not False.
        how_agrees: in words: 'max difference 0.5 HU'.
        repeats: number of timed calls of each.
        notes: what a reader must know to judge: cold or warm cache, what was left out, other load.
        ratio: theirs / ours unless given.
        ours_median: median where `ours` is a minimum.
        theirs_median: likewise.
    """

    name: str
    what: str
    ours: float
    unit: str
    theirs: float | None = None
    peer: str = ""
    goal: str = ""
    agrees: bool | None = None
    how_agrees: str = ""
    repeats: int = 1
    notes: str = ""
    ratio: float | None = None
    ours_median: float | None = None
    theirs_median: float | None = None
    date: str = ""
    machine: dict[str, Any] = field(default_factory=dict)


def timed(
    function: Callable[[], object],
    repeats: int = 5,
    *,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time a call: `warmup` calls that do not count, then `repeats` that do."""
    for _ in range(warmup):
        function()
    seconds = []
    for _ in range(repeats):
        start = clock()
        function()
        seconds.append(clock() - start)
    return Timing(min(seconds), statistics.median(seconds), tuple(seconds))


def compared(name: str, what: str, ours: Timing, theirs: Timing | None = None, **rest: Any) -> Row:
    """A row of two timings: minima in seconds, medians beside them; `rest` are the other attributes of `Row`."""
    peer = {"theirs": theirs.min_s, "theirs_median": theirs.median_s} if theirs else {}
    defaults = {"unit": "s", "repeats": len(ours.all), "ours_median": ours.median_s}
    return Row(name=name, what=what, ours=ours.min_s, **{**defaults, **peer, **rest})


def met(row: Row) -> bool | None:
    """Whether a row's goal is met; None where none was set."""
    if not row.goal:
        return None
    match = re.fullmatch(r"(ratio|ours) (>=|<=) ([\d.]+)", row.goal)
    if not match:
        raise ValueError(f"{row.name}: expected a goal like 'ratio >= 3' or 'ours <= 60', got {row.goal!r}")
    value = getattr(row, match[1])
    return row.agrees is not False and value is not None and COMPARISONS[match[2]](value, float(match[3]))


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """What the numbers were measured on: processor, memory, load, threads, commit, releases; no names, no paths."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": round(os.getloadavg()[0], 1),
        "threads": {name: os.environ.get(name, "not limited") for name in THREADS},
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: release for name in (*ALWAYS, *packages) if (release := _release(name))},
    }


def write(name: str, rows: Sequence[Row], *, packages: Sequence[str] = ()) -> None:
    """Print the rows and keep them as `results/<name>.json`, with the date and the machine.

    Args:
        name: the benchmark's file name, without suffix.
        rows: its comparisons.
        packages: distributions whose releases matter here besides the usual ones.
    """
    now, host = datetime.now(UTC).date().isoformat(), machine(packages)
    completed = [replace(row, ratio=_ratio(row), date=now, machine=host) for row in rows]
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps([asdict(row) for row in completed], indent=1) + "\n"
    partial = RESULTS / f".{name}.partial"
    partial.write_text(text)
    partial.replace(RESULTS / f"{name}.json")
    print(f"\n{name} · {host['cpu']}, {host['cores']} cores, load {host['load']}, commit {host['commit']}, {now}")
    for row in completed:
        print("\n".join(_lines(row)))


def read(path: Path) -> list[Row]:
    """The rows that `write` kept."""
    return [Row(**row) for row in json.loads(path.read_text())]


def shown(value: float | None, unit: str = "") -> str:
    """A number with its unit, three significant digits."""
    if value is None:
        return "-"
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def _lines(row: Row) -> list[str]:
    verdict = {True: "met", False: "MISSED", None: "no goal"}[met(row)]
    agreement = {True: "agree", False: "DO NOT AGREE", None: "not compared"}[row.agrees]
    return [
        f"  {row.name}: {row.what}",
        f"    ours   {shown(row.ours, row.unit)}   (median {shown(row.ours_median, row.unit)}, {row.repeats} repeats)",
        f"    theirs {shown(row.theirs, row.unit)}   (median {shown(row.theirs_median, row.unit)}) {row.peer}",
        f"    ratio  {shown(row.ratio)}   goal: {row.goal or 'none'}: {verdict}",
        f"    outputs {agreement}: {row.how_agrees}",
        *([f"    {row.notes}"] if row.notes else []),
    ]


def _ratio(row: Row) -> float | None:
    if row.ratio is not None or row.theirs is None or not row.ours:
        return row.ratio
    return row.theirs / row.ours


def _cpu() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        model = None
    return model[1] if model else platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../benchmarks/*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+changes" if changed else "")


def _release(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
