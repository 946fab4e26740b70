"""Joint training of Fuse4Seg without the game: one loss and one optimizer for leader and follower."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
import torch
from torch import Tensor, nn

from diffufuse.train.game import FusingSegmenter, Game, Losses, prior_of
from diffufuse.train.regimens.supervised import Supervised

if TYPE_CHECKING:
    from diffufuse.train.batches import Batch, PatchSampler


class Joint(Supervised):
    """The control of the game: the sum of all four terms of the leader, for both networks, on all patients.

    Stage 1 is that of the game: the follower alone on the mean. Every step updates the follower once, so that it has
    as many updates as in a game of `warm_up_steps` + K (`steps` - `warm_up_steps`) steps. One learning rate and
    one `ema` are those of both networks; `inner_steps` and `leader_learning_rate` have no meaning.
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
        """Set up a training; arguments as for `Supervised`, `network` and settings as for `Bilevel`."""
        self.game, self.losses = Game.of(plan), Losses.of(plan)
        super().__init__(network, plan, sampler, validate, seed=seed, fabric=fabric, objective=self._all_terms)

    def terms(self, step: int, batch: "Batch", *, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The segmentation on the mean in stage 1, then all terms."""
        if step <= self.game.warm_up_steps:
            network = cast(FusingSegmenter, self.network)
            return self.losses.follower(network, batch, prior_of(network, batch), progress=progress)
        return self._all_terms(self.network, batch, progress=progress, generator=generator)

    def _all_terms(
        self, network: nn.Module, batch: "Batch", *, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        task, physical, terms = self.losses.leader(cast(FusingSegmenter, network), batch, progress=progress)
        return {"loss": task + physical, **terms}
