"""A whole patient through a trained network's windows: ours, which look only where the body is, and MONAI's.

The same network (`unet2d_small` of config/models.yaml, trained briefly on other phantoms, so that its outputs are
meaningful) is given the same normalized images; what is timed is from these to blended logits of every voxel. Real
patients are cropped around the tumor when published, so there is little to leave out; the phantom is laid into the
field of a PET/CT scanner, most of which is air, as raw images are.
Needs `snakemake -- prepare` of both studies.
"""

from functools import partial
from pathlib import Path

import monai
import numpy as np
import torch
import yaml
from compare import Row, Timing, timed, write
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from diffufuse.models import build_model
from diffufuse.predict.inference import SLICES_AT_ONCE, Precision, body_logits
from diffufuse.predict.windows import OVERLAP
from diffufuse.space.volumes import read_volume
from diffufuse.store.normalization import intensity_statistics, normalize
from diffufuse.store.scan import Scan

ROOT = Path(__file__).parents[1]
PREPARED = ROOT / "results/prepare"
BLOCK = yaml.safe_load((ROOT / "config/models.yaml").read_text())["models"]["unet2d_small"]
METHODS = {"ct": {"method": "window", "low": -160, "high": 240}, "pet": {"method": "log"}, "t1": {"method": "zscore"}}
AIR = {"ct": -1000.0, "pet": 0.0, "t1": 0.0}
PATCH, FIELD, CHANNELS, REPEATS, STEPS = tuple(BLOCK["training"]["patch"]), 200, 1, 5, 120


def patient(dataset: str, case: str, *, field: int = 0) -> tuple[Scan, np.ndarray]:
    """A prepared patient, normalized, and its lesion; centered in a field of air of `field` voxels if given."""
    folder = PREPARED / dataset / case
    body = read_volume(folder / f"{case}_body.nii.gz").array > 0
    margin = [(max(field - n, 0) // 2, max(field - n, 0) - max(field - n, 0) // 2) for n in body.shape[:2]] + [(0, 0)]
    body, lesion = np.pad(body, margin), np.pad(read_volume(folder / f"{case}_labels.nii.gz").array > 0, margin)
    images, presence = [], np.ones((len(METHODS), *body.shape), bool)
    for channel, (name, settings) in enumerate(METHODS.items()):
        file = folder / "images" / f"{case}_{name}.nii.gz"
        if not file.exists():
            presence[channel] = False
            images.append(np.zeros(body.shape, np.float32))
            continue
        image = read_volume(file).array
        image = np.pad(image, margin, constant_values=AIR[name])
        statistics = intensity_statistics(image, body)
        images.append(normalize(image, np.ones_like(body), settings=settings, statistics=statistics))
    return Scan(np.stack(images), presence, body), lesion


def trained(*, seed: int) -> nn.Module:
    """The network after some steps of cross entropy on random windows of phantoms, half of them at a lesion."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network = build_model(BLOCK, modalities=len(METHODS), outputs=CHANNELS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.PolynomialLR(optimizer, STEPS)
    patients = [patient("phantom", case, field=FIELD) for case in ("PH-002", "PH-003", "PH-004")]
    for _ in range(STEPS):
        parts = []
        for number in range(8):
            scan, lesion = patients[draw.integers(len(patients))]
            anchor = draw.choice(np.argwhere(lesion if number % 2 else scan.body))
            x, y = np.clip(anchor[:2] - draw.integers(PATCH[:2]), 0, np.subtract(scan.body.shape[:2], PATCH[:2]))
            window = slice(x, x + PATCH[0]), slice(y, y + PATCH[1]), slice(anchor[2], anchor[2] + 1)
            parts.append((scan.images[:, *window], scan.presence[:, *window], lesion[window][None].astype(np.float32)))
        images, presence, target = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        loss = nn.functional.binary_cross_entropy_with_logits(network(images, presence), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return network.eval()


def monai_logits(network: nn.Module, scan: Scan, precision: Precision) -> Tensor:
    """The same by MONAI: every window of the volume, as many at once."""
    stacked = torch.from_numpy(np.concatenate([scan.images, scan.presence.astype(np.float32)]))[None]

    def look(windows: Tensor) -> Tensor:
        images, presence = windows.chunk(2, 1)
        return network(images, presence > 0.5).float()

    mixed_precision = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with torch.inference_mode(), mixed_precision:
        return sliding_window_inference(stacked, PATCH, SLICES_AT_ONCE, look, overlap=OVERLAP, mode="gaussian")[0]


def speed(took: Timing, voxels: int) -> tuple[float, float]:
    """Fastest and usual, million voxels of the volume per second."""
    return voxels / took.min_s / 1e6, voxels / took.median_s / 1e6


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks."""
    return 2 * (mask & other).sum() / max(mask.sum() + other.sum(), 1)


def row(name: str, what: str, scan: Scan, lesion: np.ndarray, network: nn.Module, precision: Precision) -> Row:
    """One patient in one precision."""
    look = partial(body_logits, network, scan, patch=PATCH, channels=CHANNELS, precision=precision)

    def ours() -> torch.Tensor:
        return look()[0]

    theirs = partial(monai_logits, network, scan, precision)
    mine, other = (look()[0].numpy()[scan.body] > 0 for look in (ours, theirs))
    same, truth = float((mine == other).mean()), lesion[scan.body]
    our_time, their_time = timed(ours, REPEATS, warmup=0), timed(theirs, REPEATS, warmup=0)
    (fast, usual), (their_fast, their_usual) = (speed(took, scan.body.size) for took in (our_time, their_time))
    return Row(
        f"{name}, {precision}",
        f"{what}: {'x'.join(map(str, scan.body.shape))} voxels, {scan.body.mean():.0%} body, from images to logits",
        fast,
        "million voxels/s",
        theirs=their_fast,
        ours_median=usual,
        theirs_median=their_usual,
        repeats=REPEATS,
        peer=f"MONAI {monai.__version__} sliding_window_inference",
        goal="ratio >= 1.5",
        ratio=their_time.min_s / our_time.min_s,
        agrees=same >= 0.99,
        how_agrees=f"the mask is the same in {same:.2%} of the body's voxels, Dice of the masks "
        f"{overlap(mine, other):.3f}, with the reference {overlap(mine, truth):.3f} and {overlap(other, truth):.3f}",
        notes=f"windows of {PATCH[0]}x{PATCH[1]}, {SLICES_AT_ONCE} at once, overlap {OVERLAP}, Gaussian blending; "
        "ours lie over the body's box, MONAI's over the whole field, so masks differ where the box is smaller",
    )


def main() -> None:
    """Run all."""
    network = trained(seed=0)
    real, raw_like = patient("sts_ibsi", "STS-001"), patient("phantom", "PH-001", field=FIELD)
    rows = []
    for precision in ("32-true", "bf16-mixed"):
        rows.append(row("real patient", "a patient cropped around the tumor", *real, network, precision))
        rows.append(row("raw-like patient", "the phantom in a field of 500 mm", *raw_like, network, precision))
        if (PREPARED / "sts" / "STS-001").is_dir():
            raw = patient("sts", "STS-001")
            rows.append(row("raw patient", "a patient as the scanner had them", *raw, network, precision))
    write("whole_patient", rows, packages=["torch", "monai"])


if __name__ == "__main__":
    main()
