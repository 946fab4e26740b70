"""Where the cases lie that a job reads: as they were prepared, or as a fuser fused them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffufuse.study.inputs import PAIRS, fuser_of

if TYPE_CHECKING:
    from diffufuse.study.study import Study

CLEAN = "clean"


@dataclass(frozen=True)
class Prepared:
    """The records of prepared cases, and folders of fused ones. Methods that take `wildcards` are input functions.

    Attributes:
        study: whose cases they are.
    """

    study: "Study"

    def all(self, wildcards: Any) -> list[str]:
        """All cases of a dataset."""
        return self._records(wildcards.dataset, self.study.cases_of(wildcards))

    def trained_on(self, wildcards: Any) -> list[str]:
        """A fold's training cases."""
        return self._records(wildcards.dataset, self.study.cases_trained_on(wildcards))

    def learned_from(self, wildcards: Any) -> list[str]:
        """A fold's training and validation cases, as a model reads them; a fold may validate on none."""
        if fuser_of(self.study.config["models"][wildcards.model]):
            cohort, fold = self.study.cohorts[wildcards.dataset], int(wildcards.fold)
            parts = {"training": cohort.training(fold), "validation": cohort.validation(fold)}
            return [self._fused(wildcards, part=part) for part, cases in parts.items() if cases]
        return self._records(wildcards.dataset, self.study.cases_learned_from(wildcards))

    def in_part(self, wildcards: Any) -> list[str]:
        """The cases of a fold's part, see `Study.cases_in`."""
        return self._records(wildcards.dataset, self.study.cases_in(wildcards))

    def read_in_part(self, wildcards: Any) -> list[str]:
        """The cases of a fold's part, as a model reads them under a condition."""
        cases = self.study.cases_in(wildcards)
        if fuser_of(self.study.config["models"][self.study.trained_as(wildcards.model)]):
            return [self._fused(wildcards, part=wildcards.part)] if cases else []
        return self._records(wildcards.dataset, cases)

    def pictured(self, wildcards: Any) -> list[str]:
        """The cases of a picture."""
        return self._records(wildcards.dataset, self.study.pictures.cases(wildcards))

    def _records(self, dataset: str, cases: Iterable[str]) -> list[str]:
        """A record for every case; a set of pairs has one for all."""
        if self.study.config["datasets"][dataset]["format"] == PAIRS:
            return [f"results/prepare/{dataset}/pairs.json"]
        return [f"results/prepare/{dataset}/{case}/{case}.json" for case in cases]

    def _fused(self, wildcards: Any, *, part: str) -> str:
        """The predictions of the fuser that a model reads, of the same fold: it has not seen the test cases."""
        fuser = fuser_of(self.study.config["models"][self.study.trained_as(wildcards.model)])
        condition, trained_on = wildcards.get("condition", CLEAN), wildcards.get("trained_on", wildcards.dataset)
        run = f"fold-{wildcards.fold}_seed-{wildcards.seed}"
        return f"results/predict/{wildcards.dataset}/{part}/{condition}/{trained_on}/{fuser}/{run}"
