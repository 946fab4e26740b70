"""The game of Fuse4Seg: a leader that fuses and a follower that segments the fused image, on different patients."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from diffufuse.collective import mean, mean_gradients, share
from diffufuse.seeds import seed_of
from diffufuse.train.augmentation import augmentation_of
from diffufuse.train.averaging import averaged
from diffufuse.train.budget import Budget, Pace, estimate
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.game import (
    FusingSegmenter,
    Game,
    Losses,
    frozen,
    fused_at_once,
    gradients_of,
    prior_of,
    task_share,
)
from diffufuse.train.halves import Halves
from diffufuse.train.history import CURVE_EVERY_STEPS
from diffufuse.train.player import Player
from diffufuse.train.prefetch import Prefetcher
from diffufuse.train.random_state import RandomState

if TYPE_CHECKING:
    from diffufuse.train.batches import Batch, PatchSampler

FEWEST_PERIODS = 10


class Bilevel:
    """Two stages and two players.

    Stage 1: the follower alone on the mean of the images; the leader is not touched. Stage 2, in every step: K updates
    of the follower on images that the leader fuses, each on fresh patches of one half of the patients, then one update
    of the leader on patches of the other half, through the follower, whose weights are held. It is of first order: how
    the follower would answer to another leader is neglected. The patients are halved anew in every period: as many
    steps as it takes to draw the number of slices with body once, but at least ten periods in a training.

    The paper's cosine schedule is replaced by that of every other training here; see `Player`. The warm-up counts
    updates of each player. Leader weights are averaged, those of the follower are the last.

    Source: Guo et al., Fuse4Seg, arXiv 2409.10328.

    Attributes:
        sample: unit of a batch in messages.
        samples_per_step: number of samples per step, in the stage of the last one.
        steps: number of steps: one update of the follower each in stage 1, K and one of the leader in stage 2.
        parts: name → stateful object.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: Mapping[str, Any],
        sampler: "PatchSampler",
        validate: Callable[[nn.Module], dict[str, float]],
        *,
        seed: int,
        fabric: lightning_fabric.Fabric,
    ) -> None:
        """Set up a training.

        Args:
            network: a module with `leader` (with `decomposed`), `follower`, `fuse` and `prior`; its weights are
                changed.
            plan: from `make_plan`. Of the training settings: those of `Supervised`, with `batch` samples of each half
                and `learning_rate` of the follower; `game`: see `Game`; `fusion_loss`: weights of the terms of
                `fusion_objectives.TERMS`. Of the plan: `patients`.
            sampler: of all training cases.
            validate: network → quantity → value.
            seed: of the batches and the halves.
            fabric: device and precision of the training.

        Raises:
            BadInput: there is one patient only, or stage 1 takes all steps.
        """
        settings = plan["block"]["training"]
        self.network, self.settings = cast(FusingSegmenter, network), settings
        self.fabric, self.validated = fabric, validate
        self.game, self.losses, self.augment = Game.of(plan), Losses.of(plan), augmentation_of(plan)
        self.halves = Halves(sampler, plan["patients"], seed)
        self.halves.require_two(f"Train {plan['model']} on {plan['dataset']}, fold {plan['fold']}")
        self.sample, self.steps = "slice", settings["steps"]
        game_steps = self.steps - self.game.warm_up_steps
        self.at_once = settings["batch"] * settings["accumulate"]
        self.samples_per_step = self.at_once
        in_a_step = self.at_once * (self.game.inner_steps + 1)
        self.period_steps = max(1, min(sampler.slices_in_body // in_a_step, game_steps // FEWEST_PERIODS))

        schedule = {name: settings[name] for name in ("weight_decay", "warmup_steps")}
        self.follower = Player(
            self.network.follower.parameters(),
            learning_rate=settings["learning_rate"],
            steps=self.game.warm_up_steps + self.game.inner_steps * game_steps,
            **schedule,
        )
        self.leader = Player(
            self.network.leader.parameters(),
            learning_rate=self.game.leader_learning_rate,
            steps=game_steps,
            name="leader_",
            **schedule,
        )
        self.wrapped, self.follower.optimizer, self.leader.optimizer = fabric.setup(
            network, self.follower.adam, self.leader.adam
        )
        self.average = averaged(self.network.leader, decay=settings["ema"])
        threaded = fabric.device.type == "cuda"  # on a CPU it would take cores from the training
        self.batches = Prefetcher(
            lambda generator: sampler.draw(settings["batch"], generator),
            np.random.default_rng(seed_of(seed, "slices")),
            threaded=threaded,
        )
        self.hands = Prefetcher(self._hand, np.random.default_rng(seed_of(seed, "hands")), threaded=threaded)
        self.period: int | None = None
        self.trial = lambda: sampler.draw(settings["batch"], np.random.default_rng(seed)).to(share).to(fabric.to_device)
        self.parts: Mapping[str, Stateful] = {
            "network": network,
            **self.follower.parts,
            **self.leader.parts,
            "average": self.average,
            "batches": self.batches,
            "hands": self.hands,
        }

    def estimate(self) -> Budget:
        """Estimate the cost from passes of a copy of the network over a batch of its own: both stages, both players."""
        trial = self.trial()

        def follower(network: FusingSegmenter, batch: "Batch", *, progress: float, **_: Any) -> dict[str, Tensor]:
            return self.losses.follower(network, batch, *fused_at_once(network, [batch]), progress=progress)

        def leader(network: FusingSegmenter, batch: "Batch", *, progress: float, **_: Any) -> dict[str, Tensor]:
            with frozen(network.follower):
                task, physical, _ = self.losses.leader(network, batch, progress=progress)
                return {"loss": task + physical}

        with self.fabric.autocast():
            one, other = (estimate(self.network, trial, loss, settings=self.settings) for loss in (follower, leader))
        in_a_step = self.game.inner_steps * one.seconds_per_step + other.seconds_per_step
        seconds = self.game.warm_up_steps * one.seconds_per_step + (self.steps - self.game.warm_up_steps) * in_a_step
        return replace(
            other,
            seconds_per_step=in_a_step,
            seconds=seconds,
            memory_mb=max(one.memory_mb, other.memory_mb),
        )

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """One update of the follower in stage 1; K of it and one of the leader in stage 2; see `Regimen.step`."""
        self.wrapped.train()
        turn = _Turn(self, step, progress, random_state, pace, watch)
        if step <= self.game.warm_up_steps:
            self.samples_per_step = self.at_once
            with pace.waiting():
                drawn = [self.batches.next() for _ in range(self.settings["accumulate"])]
            return turn.warm_up(drawn)
        self.samples_per_step = self.at_once * (self.game.inner_steps + 1)
        self._enter_period((step - self.game.warm_up_steps - 1) // self.period_steps)
        with pace.waiting():
            *inner, outer = self.hands.next()
        updates = turn.inner(inner)
        curves = {name: torch.stack([update[name] for update in updates]).mean() for name in updates[0]}
        curves |= {"learning_rate": updates[-1]["learning_rate"]}
        return curves | turn.leader(outer)

    def validate(self) -> dict[str, float]:
        """Validation of the averaged leader with the follower."""
        return self.validated(self._merged())

    def trained(self) -> nn.Module:
        """The averaged leader with the follower."""
        return self._merged().cpu().eval()

    def _merged(self) -> nn.Module:
        merged = deepcopy(self.network)
        merged.leader.load_state_dict(self.average.module.state_dict())
        return merged

    def _enter_period(self, period: int) -> None:
        """Halve the patients anew where a period begins; what was drawn ahead of the old halves is given back."""
        if period == self.period:
            return
        before = self.hands.state_dict()
        self.period, self.pools = period, self.halves.of(period)
        self.hands.load_state_dict(before)

    def _hand(self, generator: np.random.Generator) -> "list[list[Batch]]":
        """The batches of a step: K times those of the follower, and last those of the leader."""
        follower, leader = self.pools
        players = [follower] * self.game.inner_steps + [leader]
        return [
            [pool.draw(self.settings["batch"], generator) for _ in range(self.settings["accumulate"])]
            for pool in players
        ]


class _Turn:
    """The updates of one step."""

    def __init__(
        self, regimen: Bilevel, step: int, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> None:
        self.regimen, self.step, self.progress = regimen, step, progress
        self.random_state, self.pace, self.watch = random_state, pace, watch

    def warm_up(self, drawn: "Sequence[Batch]") -> dict[str, Tensor]:
        """One update of the follower in stage 1, on the mean of the images."""
        batches = [self._augmented(batch) for batch in drawn]
        return self._follower(batches, [prior_of(self.regimen.network, batch) for batch in batches])

    def inner(self, drawn: "Sequence[Sequence[Batch]]") -> list[dict[str, Tensor]]:
        """K updates of the follower, on images of the leader, which gets no gradient."""
        batches = [[self._augmented(batch) for batch in batches] for batches in drawn]
        with self.regimen.fabric.autocast():
            fused = iter(fused_at_once(self.regimen.network, [batch for update in batches for batch in update]))
        return [self._follower(update, [next(fused) for _ in update]) for update in batches]

    def _follower(self, batches: "Sequence[Batch]", fused: Sequence[Tensor]) -> dict[str, Tensor]:
        """One update of the follower."""
        regimen, losses = self.regimen, dict[str, Tensor]()
        regimen.follower.optimizer.zero_grad()
        for batch, images in zip(batches, fused, strict=True):
            with regimen.fabric.autocast():
                terms = regimen.losses.follower(regimen.network, batch, images, progress=self.progress)
            self.watch.finite(self.step, terms["loss"], terms, batch)
            regimen.fabric.backward(terms["loss"] / len(batches))
            losses = _added(losses, terms, len(batches))
        return losses | self._updated(regimen.follower, losses["loss"], batch)

    def leader(self, batches: "Sequence[Batch]") -> dict[str, Tensor]:
        """One update of the leader; the weights of the follower are held."""
        regimen, losses = self.regimen, dict[str, Tensor]()
        regimen.leader.optimizer.zero_grad()
        shown = self.step % CURVE_EVERY_STEPS == 0 or self.step == regimen.steps
        physical_parts: list[list[Tensor]] = []
        with frozen(regimen.network.follower):
            for drawn in batches:
                batch = self._augmented(drawn)
                with regimen.fabric.autocast():
                    task, physical, terms = regimen.losses.leader(regimen.network, batch, progress=self.progress)
                total = task + physical
                terms = {f"leader_{name}" if name.startswith("loss") else name: term for name, term in terms.items()}
                terms |= {"leader_loss": total.detach()}
                self.watch.finite(self.step, total, terms, batch)
                if shown:
                    physical_parts.append(gradients_of(physical / len(batches), regimen.network.leader))
                regimen.fabric.backward(total / len(batches))
                losses = _added(losses, terms, len(batches))
            if shown:
                mean_gradients(regimen.leader.weights)
                physical_part = [mean(torch.stack(parts).sum(dim=0)) for parts in zip(*physical_parts, strict=True)]
                losses["leader_task_share"] = task_share(regimen.network.leader, physical_part)
            curves = self._updated(regimen.leader, losses["leader_loss"], batch)
        regimen.average.update_parameters(regimen.network.leader)
        return losses | curves

    def _augmented(self, drawn: "Batch") -> "Batch":
        moved = drawn.to(self.regimen.fabric.to_device)
        with self.pace.waiting():
            return self.regimen.augment(moved, generator=self.random_state.augmentation).to(share)

    def _updated(self, player: Player, loss: Tensor, batch: "Batch") -> dict[str, Tensor]:
        regimen = self.regimen
        return player.update(
            self.step, loss, batch=batch, watch=self.watch, wrapped=regimen.wrapped, fabric=regimen.fabric
        )


def _added(losses: Mapping[str, Tensor], terms: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: losses.get(name, 0) + value.detach() / count for name, value in terms.items()}
