"""Batches in the order of one generator, the next one drawn while the network learns from the last."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

Drawn = TypeVar("Drawn")


class Prefetcher(Generic[Drawn]):
    """Draws one batch ahead in a thread; what comes is as if each were drawn when it is asked for."""

    def __init__(
        self, draw: Callable[[np.random.Generator], Drawn], generator: np.random.Generator, *, threaded: bool
    ) -> None:
        """Prepare to draw; nothing is drawn before the first `next`.

        Args:
            draw: makes a batch; called from one thread at a time.
            generator: the only source of randomness; nobody else may use it.
            threaded: whether to draw ahead at all; without, a batch is drawn when it is asked for.
        """
        self.draw, self.generator = draw, generator
        self.pool = ThreadPoolExecutor(1) if threaded else None
        self.coming: Future[Drawn] | None = None
        self.before = _state(generator)

    def next(self) -> Drawn:
        """The next batch."""
        if self.pool is None:
            return self.draw(self.generator)
        batch = (self.coming or self.pool.submit(self.draw, self.generator)).result()
        self.before = _state(self.generator)
        self.coming = self.pool.submit(self.draw, self.generator)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The generator's state before the first batch that was not handed out; text, for its integers are long."""
        return {"generator": self.before if self.coming else _state(self.generator)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the batch that would have come next."""
        if self.coming is not None:
            self.coming.result()
        self.coming = None
        self.generator.bit_generator.state = json.loads(state_dict["generator"])


def _state(generator: np.random.Generator) -> str:
    return json.dumps(generator.bit_generator.state)
