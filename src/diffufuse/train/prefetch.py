"""Prefetch training batches in a thread, in the order of one random generator."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

BatchType = TypeVar("BatchType")


class Prefetcher(Generic[BatchType]):
    """Draws one batch ahead in a thread; the batches are the same as without prefetching."""

    def __init__(
        self, draw: Callable[[np.random.Generator], BatchType], generator: np.random.Generator, *, threaded: bool
    ) -> None:
        """Set up the prefetcher; nothing is drawn before the first `next`.

        Args:
            draw: returns a batch; called from one thread at a time.
            generator: the only source of randomness, not used elsewhere.
            threaded: whether to prefetch; if not, a batch is drawn on request.
        """
        self.draw, self.generator = draw, generator
        self.pool = ThreadPoolExecutor(1) if threaded else None
        self.coming: Future[BatchType] | None = None
        self.before = _state(generator)

    def next(self) -> BatchType:
        """The next batch."""
        if self.pool is None:
            return self.draw(self.generator)
        batch = (self.coming or self.pool.submit(self.draw, self.generator)).result()
        self.before = _state(self.generator)
        self.coming = self.pool.submit(self.draw, self.generator)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The generator's state before the first batch not returned yet; as JSON, as its integers are long."""
        return {"generator": self.before if self.coming else _state(self.generator)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the generator's state."""
        if self.coming is not None:
            self.coming.result()
        self.coming = None
        self.generator.bit_generator.state = json.loads(state_dict["generator"])


def _state(generator: np.random.Generator) -> str:
    return json.dumps(generator.bit_generator.state)
