"""Fusing a pair of 256x256 pixels on one thread, and a step of the game against steps of the follower alone.

Networks are those of `config/models.yaml` with random weights; images are noise from fixed seeds. Times are those of
the processor, and whatever is compared runs in turns, so that other load on the machine disturbs little and both alike.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import yaml
from compare import Row, Timing, compared, write
from monai.networks.nets.restormer import Restormer
from torch import Tensor, nn

from diffufuse.models import build_model
from diffufuse.plan.outputs import Outputs
from diffufuse.train.batches import Batch
from diffufuse.train.budget import Pace
from diffufuse.train.divergence import Watch
from diffufuse.train.history import CURVE_EVERY_STEPS
from diffufuse.train.loop import fabric_for_this_machine
from diffufuse.train.random_state import seeded
from diffufuse.train.regimens import REGIMENS, Regimen

ROOT = Path(__file__).parents[1]
BLOCKS: dict[str, Any] = yaml.safe_load((ROOT / "config/models.yaml").read_text())["models"]
RULES = ("average", "maximum", "laplacian_pyramid", "wavelet")
SIDE, BATCH, SEED = 256, 8, 0
REPEATS = {"small": 20, "paper": 2, "rules": 20, "game": 8}
GOAL_MS, GOAL_GAME = 50, 1.3


def pairs(batch: int, side: int) -> tuple[Tensor, Tensor]:
    """Images (B, 2, X, Y, 1) of noise, present everywhere."""
    images = torch.rand(batch, 2, side, side, 1, generator=torch.Generator().manual_seed(SEED))
    return images, torch.ones_like(images, dtype=torch.bool)


def in_turns(calls: Sequence[Callable[[], object]], repeats: int) -> list[Timing]:
    """Milliseconds of the processor of every call, in turns; a first turn does not count."""
    took: list[list[float]] = []
    for _ in range(repeats + 1):
        row = []
        for call in calls:
            start = time.process_time()
            call()
            row.append(1000 * (time.process_time() - start))
        took.append(row)
    return [Timing(float(ms.min()), float(np.median(ms)), tuple(ms.tolist())) for ms in np.array(took[1:]).T]


def bounded(image: Tensor) -> bool:
    """Whether it is one image of a pair, in gray levels of 0 to 1."""
    return image.shape == (1, 1, SIDE, SIDE, 1) and bool(((image >= 0) & (image <= 1)).all())


def parameters(network: nn.Module) -> str:
    """How many it has, in thousands."""
    return f"{sum(parameter.numel() for parameter in network.parameters()) / 1e3:.3g} thousand parameters"


def leader_row(size: str) -> Row:
    """The leader against MONAI's whole Restormer of the same width."""
    torch.manual_seed(SEED)
    block = BLOCKS[f"fuse4seg_leader_{size}"]
    ours = build_model(block, modalities=2, outputs=1).eval()
    theirs = Restormer(2, in_channels=2, out_channels=1, dim=block["settings"]["width"], heads=(1, 2, 4, 8)).eval()
    images, presence = pairs(1, SIDE)
    with torch.inference_mode():
        fused, other = ours(images, presence), theirs(images[..., 0])
        took = in_turns([lambda: ours(images, presence), lambda: theirs(images[..., 0])], REPEATS[size])
    return compared(
        f"fusing a pair, {size}",
        f"one pair of {SIDE}x{SIDE} pixels to one image by fuse4seg_leader_{size}, {parameters(ours)}",
        *took,
        unit="ms",
        peer=f"monai.networks.nets.Restormer of the same width, one block a level, {parameters(theirs)}",
        goal=f"ours <= {GOAL_MS}" if size == "small" else "",
        agrees=bounded(fused) and other.shape == fused.shape[:4],
        how_agrees="both are one image of the pair's size, ours in 0..1; images of different networks cannot be equal",
    )


def rule_rows() -> list[Row]:
    """Fusers without training; no peer, for each is a few lines or a library's."""
    images, presence = pairs(1, SIDE)
    rules = [build_model(BLOCKS[name], modalities=2, outputs=1) for name in RULES]
    took = in_turns([lambda rule=rule: rule(images, presence) for rule in rules], REPEATS["rules"])
    return [
        compared(
            f"fusing a pair, {name}",
            f"one pair of {SIDE}x{SIDE} pixels to one image, without training",
            timing,
            unit="ms",
            agrees=bounded(rule(images, presence)),
            how_agrees="one image of the pair's size, in 0..1",
        )
        for name, rule, timing in zip(RULES, rules, took, strict=True)
    ]


class SameBatch:
    """Stands in for the sampler of patches: every draw is the same batch and takes no time."""

    slices_in_body = 1000
    outputs = Outputs("regions", {"mass": [1]})
    cases: ClassVar[dict[str, None]] = {"A": None, "B": None}

    def __init__(self, side: int) -> None:
        """Noise of a side in pixels; where the first image is bright is the region."""
        images, presence = pairs(BATCH, side)
        mask = (images[:, :1] > 0.9).float()
        self.batch = Batch(images, images, presence, mask, torch.ones(BATCH, 2), torch.ones(BATCH, 3))

    def draw(self, size: int, generator: np.random.Generator) -> Batch:
        """The batch."""
        return self.batch

    def restricted(self, cases: object) -> "SameBatch":
        """Itself, whatever the cases."""
        return self

    def holders(self, region: str) -> set[str]:
        """Both patients."""
        return set(self.cases)


def game_of(block: dict[str, Any]) -> Regimen:
    """The training of a block of `config/models.yaml` on a batch of noise."""
    settings = block["training"]
    plan = {"model": "fuse4seg", "dataset": "noise", "fold": 0, "block": block, "patients": {"A": "A", "B": "B"}}
    plan["modalities"] = [{"name": name, "normalization": {"method": "display"}} for name in ("structure", "function")]
    plan["regions"] = [{"name": "mass", "labels": [1]}]
    torch.manual_seed(SEED)
    network = build_model(block, modalities=2, outputs=1)
    sampler, fabric = SameBatch(settings["patch"][0]), fabric_for_this_machine(settings["precision"])
    return REGIMENS[settings["regimen"]](network, plan, sampler, lambda network: {}, seed=SEED, fabric=fabric)


def game_row() -> Row:
    """A step of stage 2 in units of K + 1 steps of stage 1, all as they are trained, from a batch to new weights."""
    block = BLOCKS["fuse4seg_small"]
    game, rounds = game_of(block), block["training"]["game"]
    first, updates = rounds["warm_up_steps"] + 1, rounds["inner_steps"] + 1
    pace, watch = Pace(), Watch("a step of the game", Path("batch.safetensors"), warmup_steps=first + CURVE_EVERY_STEPS)
    with seeded(SEED, torch.device("cpu")) as random_state:

        def steps(begin: int, count: int) -> None:
            for step in range(begin, begin + count):
                game.step(step, progress=0.5, random_state=random_state, pace=pace, watch=watch)

        # of so many steps, one makes curves
        calls = [lambda: steps(first, CURVE_EVERY_STEPS), lambda: steps(1, CURVE_EVERY_STEPS)]
        ours, alone = (np.array(timing.all) for timing in in_turns(calls, REPEATS["game"]))
    return Row(
        "a step of the game",
        f"{updates - 1} updates of the follower of fuse4seg_small on images that the leader fuses, and one of the "
        f"leader, {BATCH} patches each, in units of {updates} updates of the follower on the mean, as in stage 1",
        float(ours.min() / (updates * alone.min())),
        "",
        goal=f"ours <= {GOAL_GAME}",
        ours_median=float(np.median(ours / (updates * alone))),
        repeats=len(ours),
        notes=f"{np.median(ours) / CURVE_EVERY_STEPS:.0f} ms a step of the game, "
        f"{np.median(alone) / CURVE_EVERY_STEPS:.0f} ms an update of the follower in stage 1; with augmentation and "
        "what every tenth step computes for the curves, without reading patches",
    )


def main() -> None:
    """Run all."""
    torch.set_num_threads(1)
    write(
        "fusion_speed",
        [leader_row("small"), leader_row("paper"), *rule_rows(), game_row()],
        packages=["torch", "monai", "PyWavelets"],
    )


if __name__ == "__main__":
    main()
