"""A model with nothing to learn, such as the average of two images: its plan, weights, cost and scores are recorded."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning_fabric
import numpy as np
from torch import Tensor, nn

from diffufuse.train.budget import Budget, Pace, estimate_of_forward
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.random_state import RandomState

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler


class Fixed:
    """No optimizer step, whatever the settings say; the network is validated once.

    Attributes:
        sample: unit of a batch in messages.
        samples_per_step: 0.
        steps: 0.
        parts: the network.
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
        """Set up; arguments as for `Supervised`."""
        self.network, self.validated = network.to(fabric.device), validate
        self.sample = "slice" if getattr(network, "dims", 2) == 2 else "sample"
        self.samples_per_step, self.steps = 0, 0
        size = plan["block"]["training"]["batch"]
        self.trial = lambda: sampler.draw(size, np.random.default_rng(seed)).to(fabric.to_device)
        self.parts: Mapping[str, Stateful] = {"network": network}

    def estimate(self) -> Budget:
        """The cost of the network's forward pass; that of training is 0."""
        return estimate_of_forward(self.network, self.trial())

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """Never called.

        Raises:
            ValueError: it was called.
        """
        raise ValueError("fixed: expected no step, because nothing is learned")

    def validate(self) -> dict[str, float]:
        """Validation of the network."""
        return self.validated(self.network)

    def trained(self) -> nn.Module:
        """The network as it was built."""
        return self.network.cpu().eval()
