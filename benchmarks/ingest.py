"""Image series and their structure sets into arrays and masks: ours against dcmrtstruct2nii, rt-utils and plastimatch.

Six pairs of an image series and its RTSTRUCT (STS_001: PET, T1, T2FS; STS_002: PET, T1, CT), 484 files. Each tool runs
alone in its own process and its own environment, one thread. A peer's interpreter is named by an option or by an
environment variable (`--rt-utils`, `PEER_RT_UTILS`, ...); a peer that is not named is reported as not installed.

Protocol of `peers/ingest_*.py`: arguments are a JSON file of jobs, a folder for masks, and the number of repeats; the
last line printed is JSON with `work_s` of each repeat. plastimatch is a program: one process for a pair.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import compare
import nibabel as nib
import numpy as np

from diffufuse.space.volumes import Volume, canonical, read_volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PEERS = ("dcmrtstruct2nii", "rt-utils", "plastimatch")
RAW, IBSI = "sts_raw/STS_001", "sts_ibsi/dicom/STS_002"
PUBLISHED = {
    "STS_001_FDG_PET_GTV_Mass": "STS_001/PET",
    "STS_002_PET_GTV_Mass_PET": "STS_002/PET",
    "STS_002_MR_T1_GTV_Mass_MR_T1": "STS_002/MR_T1",
    "STS_002_CT_GTV_Mass_CT": "STS_002/CT",
}
WHAT = "6 image series and their RTSTRUCTs, 484 files, to arrays and masks in memory"
GOAL = "ratio >= 3"


@dataclass
class Tool:
    """One tool: how to run it, how long it took, what came out.

    Attributes:
        name: with its release.
        read: reads everything so many times in one process (plastimatch: one for each series, once), and answers with
            the seconds of each reading.
        collect: the masks of the last run by `{case}_{modality}_{roi}`, RAS.
        whole_s: wall time of a process that reads everything once, imports included; one for each repeat.
        cpu_s: its processor time.
        work_s: the second reading of a process, after the first.
        masks: as collected.
        refused: what it would not read, and its error.
    """

    name: str
    read: Callable[[int], list[float]]
    collect: Callable[[], dict[str, Volume]]
    whole_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    work_s: list[float] = field(default_factory=list)
    masks: dict[str, Volume] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def jobs_of(data: Path) -> list[dict]:
    """What is to be read."""
    raw = [(RAW, m, "1-1.dcm", ["GTV_Mass", "GTV_Edema"]) for m in ("FDG_PET", "MR_T1", "MR_T2")]
    ibsi = [(IBSI, m, "RS.dcm", [f"GTV_Mass_{m}"]) for m in ("PET", "MR_T1", "CT")]
    return [
        {
            "name": f"{Path(folder).name}_{modality}",
            "image": str(data / folder / modality / "image"),
            "structures": str(data / folder / modality / "mask" / file),
            "rois": rois,
        }
        for folder, modality, file, rois in raw + ibsi
    ]


def python_tool(name: str, interpreter: str, script: str, jobs: list[dict], scratch: Path) -> Tool:
    """A tool that is a Python library."""
    listed = scratch / "jobs.json"
    listed.write_text(json.dumps(jobs))
    program = str(Path(__file__).with_name("peers") / script)

    def read(passes: int) -> list[float]:
        result = json.loads(run([interpreter, program, str(listed), str(scratch), str(passes)]).splitlines()[-1])
        tool.refused = result.get("refused", {})
        return result["work_s"]

    def collect() -> dict[str, Volume]:
        arrays = {path.stem: np.load(path) for path in sorted(scratch.glob("*.npz"))}
        return {n: canonical(Volume(one["mask"].astype(np.uint8), one["affine"])) for n, one in arrays.items()}

    tool = Tool(name, read, collect)
    return tool


def plastimatch_tool(name: str, interpreter: str, jobs: list[dict], scratch: Path) -> Tool:
    """plastimatch, which wants image and structures in one folder and writes uncompressed files."""
    where = run([interpreter, "-c", "import plastimatch; print(plastimatch.__path__[0])"]).strip()
    program, commands = str(Path(where, "bin", "plastimatch")), []
    for job in jobs:
        folder = scratch / job["name"]
        (folder / "in").mkdir(parents=True)
        for path in [*Path(job["image"]).iterdir(), Path(job["structures"])]:
            (folder / "in" / f"{path.parent.name}_{path.name}").symlink_to(path)
        written = ["--output-prefix", str(folder / "out"), "--prefix-format", "nii"]
        image = ["--output-img", str(folder / "image.nii")]
        commands.append([program, "convert", "--input", str(folder / "in"), *written, *image])

    def read(passes: int) -> list[float]:
        return [sum(seconds(command)[0] for command in commands) for _ in range(passes)]

    def collect() -> dict[str, Volume]:
        files = {f"{path.parents[1].name}_{path.stem}": nib.load(path) for path in scratch.glob("*/out/*.nii")}
        return {n: canonical(Volume((np.asarray(f.dataobj) > 0).astype(np.uint8), f.affine)) for n, f in files.items()}

    return Tool(name, read, collect)


def measure(tools: list[Tool], repeats: int) -> None:
    """Take turns, so that other load on the machine disturbs all alike; the first turn does not count."""
    for turn in range(repeats + 1):
        for tool in tools:
            wall, cpu = seconds(partial(tool.read, 1))
            reading_s = tool.read(2)[-1]
            if turn:
                tool.whole_s.append(wall)
                tool.cpu_s.append(cpu)
                tool.work_s.append(reading_s)
    for tool in tools:
        tool.masks = tool.collect()


def seconds(what: list[str] | Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of a program, or of a call that runs programs."""
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if callable(what):
        what()
    else:
        run(what)
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def run(command: list[str]) -> str:
    """Standard output of a program, on one thread."""
    environment = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def dice_with(mask: Volume, other: Volume) -> float:
    """Dice of two masks whose grids share their lattice, though not their field of view."""
    index = np.argwhere(mask.array > 0)
    points = index @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    to_other = np.linalg.inv(other.affine)
    index_other = np.round(points @ to_other[:3, :3].T + to_other[:3, 3]).astype(int)
    within = ((index_other >= 0) & (index_other < other.shape)).all(axis=1)
    shared = int((other.array[tuple(index_other[within].T)] > 0).sum())
    return 2 * shared / (len(index) + int((other.array > 0).sum()))


def against(tool: Tool, masks: dict[str, Volume]) -> tuple[float, float, int]:
    """Least Dice, greatest difference of volume in percent, and number, of the masks that both have."""
    both = sorted(set(tool.masks) & set(masks))
    dice = [dice_with(tool.masks[name], masks[name]) for name in both]
    volume = [100 * (tool.masks[name].array.sum() / masks[name].array.sum() - 1) for name in both]
    return min(dice, default=float("nan")), max(volume, key=abs, default=float("nan")), len(both)


def words(tool: Tool, published: dict[str, Volume]) -> tuple[bool, str]:
    """Whether a tool's masks are the published ones, and in words how far."""
    dice, volume, count = against(tool, published)
    text = f"least Dice with {count} of {len(published)} published masks {dice:.4f}, volume {volume:+.1f} % at most"
    if tool.refused:
        text += f"; refused {len(tool.refused)} of 6 series ({', '.join(sorted(set(tool.refused.values())))})"
    return round(dice, 4) == 1.0 and count == len(published), text


def rows_of(ours: Tool, peer: Tool, published: dict[str, Volume]) -> list[compare.Row]:
    """Whole process and reading alone, ours against one peer."""
    agrees, how = words(peer, published)
    how = f"ours: {words(ours, published)[1]}; {peer.name}: {how}"
    dice, volume, count = against(peer, ours.masks)
    how += f"; {peer.name} against ours: least Dice {dice:.6f} of {count} masks, volume {volume:+.2f} % at most"
    notes = (
        "Ours also turns PET into SUV and checks geometry; the peer does neither. Warm file cache, one thread. "
        f"Processor time of the whole process: ours {min(ours.cpu_s):.2f} s, {peer.name} {min(peer.cpu_s):.2f} s."
    )
    if "plastimatch" in peer.name:
        notes += " A C++ program, one process for each series, that writes its arrays uncompressed to disk."
    timings: list[tuple[str, Callable[[Tool], list[float]]]] = [
        ("whole process", lambda tool: tool.whole_s),
        ("reading alone", lambda tool: tool.work_s),
    ]
    return [
        compare.compared(
            f"ingest, {name}, against {peer.name.split()[0]}",
            WHAT + (", imports included" if name == "whole process" else ", after imports"),
            timing(of(ours)),
            timing(of(peer)),
            peer=peer.name,
            goal=GOAL if agrees else "",
            agrees=agrees and words(ours, published)[0],
            how_agrees=how,
            notes=notes + ("" if agrees else " No goal: this peer is not correct."),
        )
        for name, of in timings
    ]


def timing(seconds: list[float]) -> compare.Timing:
    """Seconds that were measured elsewhere."""
    return compare.Timing(min(seconds), float(np.median(seconds)), tuple(seconds))


def peer_of(name: str, interpreter: str | None, jobs: list[dict], scratch: Path) -> Tool | None:
    """A peer with its release; None if no interpreter is named."""
    if not interpreter:
        return None
    release = run([interpreter, "-c", f"from importlib.metadata import version; print(version('{name}'))"]).strip()
    if name == "plastimatch":
        return plastimatch_tool(f"{name} {release}", interpreter, jobs, scratch)
    return python_tool(f"{name} {release}", interpreter, f"ingest_{name.replace('-', '_')}.py", jobs, scratch)


def absent(name: str, ours: Tool, published: dict[str, Volume]) -> compare.Row:
    """Ours without a peer."""
    agrees, how = words(ours, published)
    notes = f"{name} is not installed: name its Python with --{name}."
    title = f"ingest, whole process, against {name}"
    return compare.compared(title, WHAT, timing(ours.whole_s), agrees=agrees, how_agrees=f"ours: {how}", notes=notes)


def main() -> None:
    """Measure, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=5)
    for name in PEERS:
        variable = "PEER_" + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", default=os.environ.get(variable), help=f"its Python; or ${variable}")
    given = vars(parser.parse_args())
    if not given["data"].is_dir():
        sys.exit("no real patients beside the repository; nothing to measure")
    jobs, repeats = jobs_of(given["data"]), given["repeats"]
    published = {
        name: read_volume(given["data"] / "sts_ibsi/nifti" / f"{path}_mask.nii.gz") for name, path in PUBLISHED.items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch, name) for name in ("ours", *PEERS)}
        for folder in folders.values():
            folder.mkdir()
        ours = python_tool("diffufuse", sys.executable, "ingest_ours.py", jobs, folders["ours"])
        peers = {name: peer_of(name, given[name.replace("-", "_")], jobs, folders[name]) for name in PEERS}
        measure([ours, *(peer for peer in peers.values() if peer)], repeats)
    rows = []
    for name, peer in peers.items():
        rows += rows_of(ours, peer, published) if peer else [absent(name, ours, published)]
    compare.write("ingest", rows)


if __name__ == "__main__":
    main()
