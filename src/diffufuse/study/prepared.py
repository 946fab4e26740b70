"""Where the cases lie that a job reads: as they were prepared, or as a fuser fused them.

A job that reads a part of a fold depends on one list of its cases, not on a file for each of them: the workflow's own
cost would grow with the product of cases and models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffufuse.errors import BadInput
from diffufuse.study.cohorts import Cohort
from diffufuse.study.inputs import PAIRS, fuser_of

if TYPE_CHECKING:
    from diffufuse.study.study import Study

CLEAN, ALL = "clean", "all"
PARTS = ("test", "validation", "training")


@dataclass(frozen=True)
class Prepared:
    """Records of prepared cases, lists of them, folders of fused ones. Methods with `wildcards` are input functions.

    Attributes:
        study: whose cases they are.
    """

    study: "Study"

    @property
    def files(self) -> list[str]:
        """What the stage makes: the picture of each case, the record of each set of pairs, lists, and indices."""
        pictures = [f"{_place(dataset)}/{case}/{case}_registration.png" for dataset, case in self.study.cases]
        lists = [path for dataset in self.study.cohorts for path in self._lists(dataset)]
        indices = [f"{_place(dataset)}/patches.parquet" for dataset in self.study.cohorts]
        return [*pictures, *lists, *indices]

    def all(self, wildcards: Any) -> list[str]:
        """All cases of a dataset."""
        return self._records(wildcards.dataset, self.study.cases_of(wildcards))

    def listed(self, wildcards: Any) -> list[str]:
        """The cases of a list: `all`, or those of a part of a fold, such as `training-0`.

        Raises:
            BadInput: the dataset is a set of pairs, or no case is in this part.
        """
        part, _, fold = wildcards.listed.partition("-")
        cohort = self.study.cohorts[wildcards.dataset]
        cases = names_in(cohort, part, int(fold)) if fold else cohort.names
        if not cases or self._in_pairs(wildcards.dataset):
            raise BadInput(f"{wildcards.dataset}: expected a part of a fold with cases, got {wildcards.listed}.")
        return self._records(wildcards.dataset, cases)

    def trained_on(self, wildcards: Any) -> list[str]:
        """A fold's training cases."""
        return self._parts(wildcards.dataset, [("training", int(wildcards.fold))])

    def learned_from(self, wildcards: Any) -> list[str]:
        """A fold's training and validation cases, as a model reads them; a fold may validate on none."""
        if fuser_of(self.study.config["models"][wildcards.model]):
            cohort, fold = self.study.cohorts[wildcards.dataset], int(wildcards.fold)
            parts = {"training": cohort.training(fold), "validation": cohort.validation(fold)}
            return [self._fused(wildcards, part=part) for part, cases in parts.items() if cases]
        return self._parts(wildcards.dataset, [(part, int(wildcards.fold)) for part in ("training", "validation")])

    def in_part(self, wildcards: Any) -> list[str]:
        """The cases of a fold's part, see `Study.cases_in`."""
        cases, own = self.study.cases_in(wildcards), wildcards.get("trained_on", wildcards.dataset) == wildcards.dataset
        part = f"{wildcards.get('part', 'validation')}-{wildcards.fold}" if own else ALL
        return self._list(wildcards.dataset, part, cases)

    def read_in_part(self, wildcards: Any) -> list[str]:
        """The cases of a fold's part, as a model reads them under a condition."""
        cases = self.study.cases_in(wildcards)
        if fuser_of(self.study.config["models"][self.study.trained_as(wildcards.model)]):
            return [self._fused(wildcards, part=wildcards.part)] if cases else []
        return self.in_part(wildcards)

    def pictured(self, wildcards: Any) -> list[str]:
        """The cases of a picture; where it chooses from all that are tested, the lists of these."""
        cases = self.study.pictures.cases(wildcards)
        if wildcards.picture != "extremes":
            return self._records(wildcards.dataset, cases)
        return self._parts(wildcards.dataset, [("test", fold) for fold in self.study.folds])

    def _records(self, dataset: str, cases: Iterable[str]) -> list[str]:
        """A record for every case; a set of pairs has one for all."""
        if self._in_pairs(dataset):
            return [f"{_place(dataset)}/pairs.json"]
        return [f"{_place(dataset)}/{case}/{case}.json" for case in cases]

    def _in_pairs(self, dataset: str) -> bool:
        return bool(self.study.config["datasets"][dataset]["format"] == PAIRS)

    def _list(self, dataset: str, name: str, cases: Sequence[str]) -> list[str]:
        """The list that stands for some cases, if there are any; the record of a set of pairs stands for itself."""
        if self._in_pairs(dataset):
            return self._records(dataset, cases)
        return [f"{_place(dataset)}/case_lists/{name}.json"] if cases else []

    def _parts(self, dataset: str, parts: Iterable[tuple[str, int]]) -> list[str]:
        """The lists of parts of folds; one record for all parts of a set of pairs."""
        cohort = self.study.cohorts[dataset]
        lists = [self._list(dataset, f"{part}-{fold}", names_in(cohort, part, fold)) for part, fold in parts]
        return list(dict.fromkeys(path for paths in lists for path in paths))

    def _lists(self, dataset: str) -> list[str]:
        """All lists that the study reads: of the parts of its folds, and of all cases that it tests besides."""
        if dataset in self.study.datasets:
            return self._parts(dataset, [(part, fold) for fold in self.study.folds for part in PARTS])
        return self._list(dataset, ALL, self.study.cohorts[dataset].names)

    def _fused(self, wildcards: Any, *, part: str) -> str:
        """The predictions of the fuser that a model reads, of the same fold: it has not seen the test cases."""
        fuser = fuser_of(self.study.config["models"][self.study.trained_as(wildcards.model)])
        condition, trained_on = wildcards.get("condition", CLEAN), wildcards.get("trained_on", wildcards.dataset)
        run = f"fold-{wildcards.fold}_seed-{wildcards.seed}"
        return f"results/predict/{wildcards.dataset}/{part}/{condition}/{trained_on}/{fuser}/{run}"


def names_in(cohort: Cohort, part: str, fold: int) -> list[str]:
    """The cases of a part of a fold: test, validation or training."""
    parts = {"test": cohort.test, "validation": cohort.validation, "training": cohort.training}
    return parts[part](fold)


def _place(dataset: str) -> str:
    return f"results/prepare/{dataset}"
