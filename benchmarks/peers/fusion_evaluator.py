"""Scores a fused image with piq, scikit-image and plain NumPy, as public evaluators do.

Protocol in ../fusion_metrics.py; seconds are those of the processor.

`libraries` has what piq and scikit-image have, and Qabf in NumPy. `loops` has Nabf and feature mutual information,
which no library has, window by window.
"""

import json
import math
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from scipy.signal import convolve2d
from skimage.measure import shannon_entropy
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

torch.set_num_threads(1)
try:
    import piq
except RuntimeError:
    # A torchvision of another build than torch lacks operators that piq never calls; they need only have a name.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("piq", "torchvision")]:
        del sys.modules[name]
    nameless = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        nameless.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import piq

SOBEL = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength and angle by Sobel, black beyond the border."""
    x, y = (convolve2d(image, kernel, mode="same") for kernel in (SOBEL.T, SOBEL))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(x**2 + y**2), np.where(x == 0, math.pi / 2, np.arctan(-y / x))


def sigmoid(value: np.ndarray, most: float, slope: float, middle: float) -> np.ndarray:
    """A sigmoid of Xydeas and Petrovic."""
    return most / (1 + np.exp(slope * (value - middle)))


def ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The smaller over the larger; 0 where both are 0."""
    larger = np.maximum(one, other)
    return np.minimum(one, other) / np.where(larger > 0, larger, 1)


def qabf(a: np.ndarray, b: np.ndarray, fused: np.ndarray) -> float:
    """Share of the edges that is preserved."""
    (ga, ta), (gb, tb), (gf, tf) = (gradient(image) for image in (a, b, fused))
    kept = 0.0
    for g, t in ((ga, ta), (gb, tb)):
        agreement = 1 - np.abs(t - tf) / (math.pi / 2)
        quality = sigmoid(ratio(g, gf), 0.9994, -15, 0.5) * sigmoid(agreement, 0.9879, -22, 0.8)
        kept += np.sum(quality * g)
    return float(kept / np.sum(ga + gb))


def nabf(a: np.ndarray, b: np.ndarray, fused: np.ndarray) -> float:
    """Edges that are added, pixel by pixel, without the outermost."""
    found = [[part[1:-1, 1:-1] for part in gradient(image)] for image in (a, b, fused)]
    gf, tf = found[2]
    added = total = 0.0
    for index in np.ndindex(gf.shape):
        steeper = gf[index] > found[0][0][index] and gf[index] > found[1][0][index]
        for g, t in found[:2]:
            weight = (g[index] / 8) ** 1.5 if g[index] / 8 >= 2 else 0.001
            if steeper:
                line = abs(abs(t[index] - tf[index]) - math.pi / 2) / (math.pi / 2)
                share = g[index] / gf[index]
                quality = math.sqrt(sigmoid(share, 0.9999, -19, 0.5) * sigmoid(line, 0.9995, -22, 0.5))
                added += (1 - quality) * weight
            total += weight
    return added / total


def entropy(shares: np.ndarray) -> float:
    """Of a distribution whose negative shares count by their size, nat."""
    positive = shares[shares != 0]
    return float(-(positive * np.log(np.abs(positive))).sum())


def window_information(one: np.ndarray, other: np.ndarray, most: float) -> float:
    """Normalized mutual information of two windows; the weight of the bound is at most `most`."""
    if (one == other).all():
        return 1.0
    shares = []
    for window in (one, other):
        values = window.T.ravel() - window.min()
        shares.append(values / values.sum() if values.any() else np.full(values.size, 1 / values.size))
    p, q = shares
    if p.std() == 0 or q.std() == 0:
        return 0.0
    r = np.corrcoef(p, q)[0, 1]
    reached, other_reached = np.cumsum(p), np.cumsum(q)
    low = np.maximum(np.add.outer(reached, other_reached) - 1, 0)
    bound = np.minimum.outer(reached, other_reached) if r >= 0 else low
    number = np.arange(p.size)
    spread = math.prod(math.sqrt(max(number**2 @ s - (number @ s) ** 2, 0)) for s in shares)
    reach = (bound - np.outer(reached, other_reached)).sum()
    weight = min(r * spread / reach, most) if spread > 1e-9 else 0.0
    pairs = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    whole = entropy(p) + entropy(q)
    joint = entropy(weight * pairs + (1 - weight) * np.outer(p, q))
    return 2 * (whole - joint) / whole if whole > 0 else 0.0


def fmi(a: np.ndarray, b: np.ndarray, fused: np.ndarray, most: float = 1.0) -> float:
    """Feature mutual information of pixels, window by window."""
    values = [
        window_information(source[x : x + 3, y : y + 3], fused[x : x + 3, y : y + 3], most)
        for source in (a, b)
        for x in range(fused.shape[0] - 2)
        for y in range(fused.shape[1] - 2)
    ]
    return float(np.mean(values))


def libraries(images: list[np.ndarray], precision: type = np.float32) -> dict[str, float]:
    """What piq, in that precision, and scikit-image have of two sources and a fused image in 0..1, and Qabf."""
    a, b, fused = images
    levels = [np.rint(255 * image) for image in images]
    one, other, scored = (torch.from_numpy(image.astype(precision))[None, None] for image in images)
    return {
        "en": float(shannon_entropy(levels[2].astype(np.uint8))),
        "psnr": float(np.mean([peak_signal_noise_ratio(source, fused, data_range=1) for source in (a, b)])),
        "ssim_sum": float(sum(structural_similarity(source, fused, data_range=1) for source in (a, b))),
        "ms_ssim": sum(piq.multi_scale_ssim(scored, source, data_range=1.0).item() for source in (one, other)) / 2,
        "vif": sum(piq.vif_p(scored, source, data_range=1.0).item() for source in (one, other)),
        "qabf": qabf(*levels),
    }


def loops(images: list[np.ndarray]) -> dict[str, float]:
    """What no library has."""
    levels = [np.rint(255 * image) for image in images]
    return {"nabf": nabf(*levels), "fmi": fmi(*levels)}


def main() -> None:
    """Score the images of a file so often; print the seconds of each time and the last values."""
    with np.load(sys.argv[1]) as file:
        images = [file[name] for name in ("a", "b", "fused")]
    run, repeats, seconds = {"libraries": libraries, "loops": loops}[sys.argv[2]], int(sys.argv[3]), []
    if repeats > 1:
        run(images)
    for _ in range(repeats):
        start = time.process_time()
        values = run(images)
        seconds.append(time.process_time() - start)
    if sys.argv[2] == "libraries":
        values = libraries(images, np.float64)
    else:
        values["fmi of any weight"] = fmi(*(np.rint(255 * image) for image in images), most=math.inf)
    releases = {name: version(name) for name in ("piq", "scikit-image")}
    print(json.dumps({"work_s": seconds, "values": values, "releases": releases}))


if __name__ == "__main__":
    main()
