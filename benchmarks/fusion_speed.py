"""Fusing a pair of 256x256 pixels on one thread, and a step of the game against steps of the follower alone.

Networks are those of `config/models.yaml` with random weights; images are noise from fixed seeds. Times are those of
the processor, and whatever is compared runs in turns, so that other load on the machine disturbs little and both alike.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from compare import Row, Timing, compared, write
from monai.networks.nets.restormer import Restormer
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models import build_model

ROOT = Path(__file__).parents[1]
BLOCKS: dict[str, Any] = yaml.safe_load((ROOT / "config/models.yaml").read_text())["models"]
RULES = ("average", "maximum", "laplacian_pyramid", "wavelet")
SIDE, BATCH, SEED = 256, 8, 0
REPEATS = {"small": 20, "paper": 2, "rules": 20, "game": 12}
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


class Players:
    """Both networks of `fuse4seg_small`, what each learns in an update, and a batch for it."""

    def __init__(self) -> None:
        """Build them, with losses that cost what those of the regimen cost, but are shorter."""
        torch.manual_seed(SEED)
        self.network = build_model(BLOCKS["fuse4seg_small"], modalities=2, outputs=1)
        side = BLOCKS["fuse4seg_small"]["training"]["patch"][0]
        self.images, self.presence = pairs(BATCH, side)
        self.inside = self.presence[:, :1]
        self.mask = (self.images[:, :1] > 0.5).float()
        self.fused = self.images[:, :1].clone()
        halves = (self.network.leader, self.network.follower)
        self.leader, self.follower = (torch.optim.AdamW(half.parameters(), lr=1e-4) for half in halves)

    def task(self, fused: Tensor) -> Tensor:
        """Cross-entropy and Dice of the follower's answer."""
        logits = self.network.follower(fused, self.inside)
        probability = torch.sigmoid(logits)
        dice = 2 * (probability * self.mask).sum() / (probability + self.mask).sum()
        return functional.binary_cross_entropy_with_logits(logits, self.mask) + 1 - dice

    def follower_alone(self) -> None:
        """One update on images that are fused already."""
        self._learn(self.follower, self.task(self.fused))

    def follower_update(self) -> None:
        """One update on images that the leader fuses."""
        with torch.no_grad():
            fused = self.network.fuse(self.images, self.presence)
        self._learn(self.follower, self.task(fused))

    def leader_update(self) -> None:
        """One update of the leader through the follower, whose weights are held."""
        self.network.follower.requires_grad_(False)
        fusion = self.network.leader.decomposed(self.images, self.presence)
        separate = functional.cosine_similarity(fusion.detail[:, 0], fusion.detail[:, 1], dim=1).square().mean()
        anchor = (fusion.fused - self.images.mean(dim=1, keepdim=True)).square().mean()
        self._learn(self.leader, self.task(fusion.fused) + separate + anchor)
        self.network.follower.requires_grad_(True)

    def _learn(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def game_row() -> Row:
    """A step of the game in units of K + 1 updates of the follower alone."""
    players, inner = Players(), BLOCKS["fuse4seg_small"]["training"]["game"]["inner_steps"]
    calls = [players.follower_alone, players.follower_update, players.leader_update]
    alone, follower, leader = (np.array(timing.all) for timing in in_turns(calls, REPEATS["game"]))
    shares = (inner * follower + leader) / ((inner + 1) * alone)
    return Row(
        "a step of the game",
        f"{inner} updates of the follower and one of the leader of fuse4seg_small, {BATCH} patches each, in units of "
        f"{inner + 1} updates of the follower on images that are fused already",
        float((inner * follower.min() + leader.min()) / ((inner + 1) * alone.min())),
        "",
        goal=f"ours <= {GOAL_GAME}",
        ours_median=float(np.median(shares)),
        repeats=len(shares),
        notes=f"{np.median(alone):.0f} ms for the follower alone, {np.median(follower):.0f} ms with the leader's image "
        f"before it, {np.median(leader):.0f} ms for the leader through the follower",
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
