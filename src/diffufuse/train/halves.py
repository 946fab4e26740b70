"""Two halves of the training patients, for two players who must not learn from the same patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.seeds import seed_of

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler

# With a region in as few as two of many patients, every second halving separates them.
TRIES = 100


@dataclass(frozen=True)
class Halves:
    """Halvings of the patients, one for each period; a halving follows from the seed and the period alone.

    Attributes:
        sampler: of all training cases.
        patients: case → patient, of at least the sampler's cases.
        seed: of the halvings.
    """

    sampler: "PatchSampler"
    patients: Mapping[str, str]
    seed: int

    def require_two(self, title: str) -> None:
        """Check that there is a patient for each half.

        Raises:
            BadInput: there is one patient only; the message begins with `title`.
        """
        names = self._names
        if len(names) < 2:
            raise BadInput(
                f"{title}: expected at least two training patients, one for each half of the game, got {len(names)}; "
                "choose other folds, or the regimen joint, which needs no halves."
            )

    def of(self, period: int) -> "tuple[PatchSampler, PatchSampler]":
        """Samplers of two halves of the patients, of equal size or the first one larger by one.

        Both halves hold every region that two or more patients have, if one of `TRIES` random halvings does so;
        otherwise the halving that misses the fewest is taken.
        """
        generator = np.random.default_rng(seed_of(self.seed, "halves", period))
        names, holders = self._names, self._holders
        best, fewest = set[str](), len(holders) + 1
        for _ in range(TRIES):
            order = generator.permutation(len(names))
            half = {names[place] for place in order[: (len(names) + 1) // 2]}
            missed = sum(not (group & half and group - half) for group in holders)
            if missed < fewest:
                best, fewest = half, missed
            if not fewest:
                break
        cases = {name for name in self.sampler.cases if self.patients[name] in best}
        return self.sampler.restricted(cases), self.sampler.restricted(set(self.sampler.cases) - cases)

    @property
    def _names(self) -> list[str]:
        return sorted({self.patients[name] for name in self.sampler.cases})

    @property
    def _holders(self) -> list[set[str]]:
        """The patients with each region that at least two of them have."""
        regions = self.sampler.outputs.regions
        groups = [{self.patients[name] for name in self.sampler.holders(region)} for region in regions]
        return [group for group in groups if len(group) > 1]
