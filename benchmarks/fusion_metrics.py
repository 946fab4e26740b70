"""Metrics of fused images: scores of images that others published, and the time of a pair against public evaluators.

The images are those that the authors of BSAFusion released, 20 of each modality with their sources; gray is their luma
of BT.601, rounded to 8 bits, as the evaluators read them. The scores to find are those of fusion.md, C2, made with the
definitions of CDDFuse's evaluator.

The peer is `peers/fusion_evaluator.py` in an environment of its own (piq, scikit-image, torch, SciPy), whose
interpreter is named by `--evaluator` or `$PEER_FUSION_EVALUATOR`. Protocol: its arguments are an .npz of `a`, `b` and
`fused`, what to run (`libraries` or `loops`), and how often; the last line printed is JSON with the seconds of each
time (`work_s`), the `values` in double precision and the `releases`. All times are those of the processor, of one
thread, so that other work on the machine counts little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from compare import Row, Timing, compared, timed, write
from matplotlib.image import imread

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, evaluate
from diffufuse.metrics.fusion.images import Fusion

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "fused" / "bsafusion"
PEER = Path(__file__).with_name("peers") / "fusion_evaluator.py"
LUMA = np.array([0.299, 0.587, 0.114])
COLUMNS = ("en", "sd", "sf", "ag", "mi", "scd", "cc", "psnr_of_peak", "ssim_sum", "qabf", "vif")
SCORES = {
    "CT": "4.343 86.19 25.76 6.666 1.851 1.156 .764 12.69 1.384 .381 .382",
    "PET": "5.321 89.30 39.50 12.34 2.477 1.599 .766 12.75 1.045 .761 .712",
    "SPECT": "4.637 60.10 21.33 6.524 2.396 1.277 .854 18.46 1.032 .727 .803",
}
TRIVIAL = {
    "maximum": "3.16 91.1 31.4 - 2.64 - - 12.75 1.516 .580 .666",
    "average": "3.89 61.2 19.1 - 2.47 - - 15.52 1.501 .375 .456",
}
LIBRARIES, LOOPS = ("en", "psnr", "ssim_sum", "ms_ssim", "vif", "qabf"), ("nabf", "fmi")
ROUNDS, REPEATS, NEAR = 5, 7, 1e-4
GOAL = "ratio >= 5"


def gray(path: Path) -> np.ndarray:
    """An RGB file as luma of whole gray levels, over 255."""
    return np.rint(np.rint(255 * imread(path)[..., :3]).astype(float) @ LUMA) / 255


def triples(modality: str) -> Iterator[list[np.ndarray]]:
    """Both sources and the fused image of every published one."""
    for path in sorted((DATA / modality / "fused").iterdir()):
        yield [gray(DATA / modality / kind / path.name) for kind in ("MRI", "other", "fused")]


def mean_scores(images: list[list[np.ndarray]]) -> dict[str, float]:
    """Every metric's mean over images."""
    values = [evaluate(Fusion(*one)) for one in images]
    return {name: float(np.mean([value[name] for value in values])) for name in FUSION_METRICS}


def score_row(name: str, what: str, images: list[list[np.ndarray]], expected: str) -> Row:
    """How many of the recorded scores are not found, to a unit of their last digit."""
    found, missed, said = mean_scores(images), 0, []
    for metric, text in zip(COLUMNS, expected.split(), strict=True):
        if text != "-":
            digits = len(text.partition(".")[2])
            missed += abs(found[metric] - float(text)) > 10**-digits
            said.append(f"{metric} {found[metric]:.{digits + 1}f} ({text})")
    rest = ", ".join(f"{metric} {value:.4g}" for metric, value in found.items() if metric not in COLUMNS)
    return Row(
        name,
        f"{what}: recorded scores that differ by more than a unit of the last digit",
        missed,
        "scores",
        goal="ours <= 0",
        agrees=not missed,
        how_agrees=f"Found and, in brackets, recorded: {', '.join(said)}",
        notes=f"The other metrics, of which nothing is recorded: {rest}",
    )


def score_rows() -> list[Row]:
    """The published images, and two fusions of their sources that need no training."""
    published = {modality: list(triples(modality)) for modality in SCORES}
    rows = [
        score_row(f"scores, {modality}", f"mean of {len(images)} fused images of BSAFusion", images, SCORES[modality])
        for modality, images in published.items()
    ]
    simple = {"maximum": np.maximum, "average": lambda a, b: (a + b) / 2}
    for name, fuse in simple.items():
        levels = [[np.rint(255 * image) for image in images[:2]] for images in published["CT"]]
        images = [[a / 255, b / 255, np.rint(fuse(a, b)) / 255] for a, b in levels]
        what = f"{name} of {len(images)} pairs of MR and CT, whole gray levels"
        rows.append(score_row(f"scores, CT, {name}", what, images, TRIVIAL[name]))
    return rows


def of_ours(names: tuple[str, ...], images: list[np.ndarray]) -> dict[str, float]:
    """Some metrics of one pair, with nothing kept from the time before."""
    pair = Fusion(*images)
    return {name: FUSION_METRICS[name].of(pair) for name in names}


def peer(interpreter: str, images: list[np.ndarray], what: str, repeats: int) -> dict:
    """What the peer prints."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "images.npz")
        np.savez(file, **dict(zip(("a", "b", "fused"), images, strict=True)))
        command = [interpreter, str(PEER), str(file), what, str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the evaluator failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ms(seconds: list[float]) -> Timing:
    """Seconds as milliseconds."""
    return Timing(1000 * min(seconds), 1000 * float(np.median(seconds)), tuple(1000 * value for value in seconds))


def processor_s(function: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each call, after one that does not count."""
    return list(timed(function, repeats, clock=time.process_time).all)


def in_turns(ours: list[Callable[[], object]], theirs: Callable[[], dict]) -> tuple[list[Timing], Timing, dict]:
    """Ours and theirs, one after the other and again, so that other load on the machine disturbs all alike."""
    mine: list[list[float]] = [[] for _ in ours]
    other: list[float] = []
    for _ in range(ROUNDS):
        for seconds, function in zip(mine, ours, strict=True):
            seconds += processor_s(function, REPEATS)
        answer = theirs()
        other += answer["work_s"]
    return [ms(seconds) for seconds in mine], ms(other), answer


def differences(values: dict[str, float], images: list[np.ndarray]) -> tuple[bool, str]:
    """Whether a peer's values are ours, and in words how far."""
    ours = of_ours(tuple(values), images)
    off = {name: abs(ours[name] - value) for name, value in values.items()}
    said = ", ".join(f"{name} {ours[name]:.4f} and {values[name]:.4f}" for name in values)
    return max(off.values()) <= NEAR, f"largest difference {max(off.values()):.1e}: {said}"


def speed_rows(interpreter: str, modality: str) -> tuple[list[Row], float]:
    """All metrics, and those that the libraries have, of one pair of 256x256; and the time of theirs, ms."""
    images = next(triples(modality))
    size = "x".join(map(str, images[0].shape))
    (whole, same), theirs, answer = in_turns(
        [partial(of_ours, tuple(FUSION_METRICS), images), partial(of_ours, LIBRARIES, images)],
        partial(peer, interpreter, images, "libraries", REPEATS),
    )
    agrees, how = differences(answer["values"], images)
    name = ", ".join(f"{package} {release}" for package, release in answer["releases"].items()) + ", NumPy for Qabf"
    common = {"theirs": theirs, "unit": "ms", "peer": name, "agrees": agrees, "how_agrees": how}
    listed = ", ".join(LIBRARIES)
    notes = f"Processor time, {ROUNDS} turns; the peer in one process of its own, piq in single precision"
    fmi_ms = 1000 * min(processor_s(partial(of_ours, ("fmi",), images), REPEATS))
    return [
        compared(
            f"all metrics of a pair, {modality}",
            f"ours: all {len(FUSION_METRICS)} names of a pair of {size}; theirs: {listed} only",
            whole,
            goal=GOAL,
            notes=f"{notes}; of ours, {fmi_ms:.0f} ms are FMI, which no library has",
            **common,
        ),
        compared(
            f"the same {len(LIBRARIES)} metrics, {modality}",
            f"{listed} of a pair of {size}",
            same,
            notes=notes,
            **common,
        ),
    ], theirs.min_s


def loop_row(interpreter: str, modality: str, libraries_ms: float) -> Row:
    """All metrics against what there is elsewhere: the libraries, and loops for the two that no library has."""
    images = next(triples(modality))
    answer = peer(interpreter, images, "loops", 1)
    free = answer["values"].pop("fmi of any weight")
    agrees, how = differences(answer["values"], images)
    return compared(
        f"all metrics of a pair, Nabf and FMI too, {modality}",
        f"ours: all {len(FUSION_METRICS)} names; theirs: {', '.join((*LIBRARIES, *LOOPS))}",
        ms(processor_s(partial(of_ours, tuple(FUSION_METRICS), images), REPEATS)),
        ms([libraries_ms / 1000 + answer["work_s"][0]]),
        unit="ms",
        peer="the same, and loops over pixels and windows in NumPy",
        agrees=agrees,
        how_agrees=how,
        notes=f"Processor time; their loops ran once. Without the bound of 1 on the weight FMI is {free:.4f}",
    )


def main() -> None:
    """Score, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluator", default=os.environ.get("PEER_FUSION_EVALUATOR"), help="the peer's Python")
    interpreter = parser.parse_args().evaluator
    if not DATA.is_dir():
        sys.exit("no published fused images beside the repository; nothing to measure")
    rows = score_rows()
    if interpreter:
        for modality in ("CT", "PET"):
            timed_rows, libraries_ms = speed_rows(interpreter, modality)
            rows += [*timed_rows, loop_row(interpreter, modality, libraries_ms)]
    else:
        print("no evaluator to compare with: name its Python with --evaluator")
    write("fusion_metrics", rows, packages=["matplotlib"])


if __name__ == "__main__":
    main()
