"""A checked study, and the answers that rules ask of it: which cases, which runs, which settings, which code."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.study.code_digest import Code
from diffufuse.study.cohorts import Cohort
from diffufuse.study.inputs import PAIRS, fuses, needed_fusers
from diffufuse.study.members import members_of
from diffufuse.study.parameters import Parameters
from diffufuse.study.pictures import Pictures
from diffufuse.study.prepared import Prepared, names_in
from diffufuse.study.testable import refusal_elsewhere, trained_as

CLEAN = "clean"
MADE = "phantom"


@dataclass(frozen=True, eq=False)
class Study:
    """What one run of the workflow computes. Methods that take `wildcards` are input functions of rules.

    Attributes:
        config: the whole configuration, checked.
        cohorts: dataset to its cases: the study's datasets first, then those that its models are tested on besides.
        code: of the rules.
    """

    config: Mapping[str, Any]
    cohorts: Mapping[str, Cohort]
    code: Code

    @property
    def name(self) -> str:
        """Names the folder of its report."""
        return str(self._asked["name"])

    @property
    def _asked(self) -> Mapping[str, Any]:
        return dict(self.config["study"])

    @property
    def seed(self) -> int:
        """The one seed from which all randomness follows."""
        return int(self.config["seed"])

    @property
    def models(self) -> list[str]:
        """The models that it reports."""
        return list(self._asked["models"])

    @property
    def trained(self) -> list[str]:
        """The models that are trained for it, sorted: others use their weights, or read their fused images."""
        own = {self.trained_as(name) for name in self.models}
        return sorted(own | set(needed_fusers(own, self.config["models"])))

    @property
    def segmenting(self) -> list[str]:
        """Its models that predict regions."""
        return [name for name in self.models if self.task_of(name) == "segment"]

    @property
    def fusing(self) -> list[str]:
        """Its models that make a fused image, alone or on their way to regions."""
        return [name for name in self.predicting if fuses(self.config["models"][self.trained_as(name)])]

    def require_segmenting(self, model: str) -> None:
        """Check that a model predicts regions; raises BadInput for one that makes an image alone."""
        if self.task_of(model) != "segment":
            raise BadInput(f"{model}: expected a model with masks; a fuser has neither masks nor probabilities.")

    def task_of(self, model: str) -> str:
        """What a model predicts: `segment` for regions, `fuse` for an image."""
        return str(self.config["models"][model]["task"])

    @property
    def predicting(self) -> list[str]:
        """Its models that predict by themselves."""
        return [name for name in self.models if self.predicted_as(name) == name]

    @property
    def scaling(self) -> list[str]:
        """All models of the catalogue that scale the predictions of another."""
        return [name for name, block in self.config["models"].items() if "predictions_of" in block]

    @property
    def folds(self) -> list[int]:
        """The folds that it runs."""
        return list(self._asked["folds"])

    @property
    def seeds(self) -> list[int]:
        """The repetitions of every training."""
        return list(self._asked["seeds"])

    @property
    def datasets(self) -> list[str]:
        """The datasets that it trains on."""
        return list(self._asked["datasets"])

    @property
    def transfers(self) -> list[str]:
        """The datasets on which its models are tested besides their own, as far as they can be scored."""
        return [name for name in self.cohorts if name not in self.datasets]

    def predicted_as(self, model: str) -> str:
        """The model whose predictions a model scales, or itself."""
        return str(self.config["models"][model].get("predictions_of", model))

    def trained_as(self, model: str) -> str:
        """The model whose weights a model uses, or itself."""
        return trained_as(model, self.config["models"])

    def conditions_of(self, model: str) -> list[str]:
        """The conditions that a model is tested under: all, unless the study's `only` names some."""
        asked = self._asked.get("only", {}).get(model, self._asked["conditions"])
        return [condition for condition in self._asked["conditions"] if condition in asked]

    def tested_under_all(self, model: str) -> bool:
        """Whether a model is tested under every condition, also where `only`, perhaps the default's, names it."""
        return self.conditions_of(model) == self._asked["conditions"]

    @property
    def cases(self) -> list[tuple[str, str]]:
        """Every case that is prepared by itself, as dataset and name; pairs are prepared as a set."""
        sets = self.pair_sets
        return [
            (dataset, case) for dataset, group in self.cohorts.items() if dataset not in sets for case in group.names
        ]

    @property
    def pair_sets(self) -> list[str]:
        """The datasets that are sets of picture pairs."""
        return [dataset for dataset in self.cohorts if self.config["datasets"][dataset]["format"] == PAIRS]

    @property
    def prepared(self) -> Prepared:
        """Where its cases lie."""
        return Prepared(self)

    @property
    def parameters(self) -> Parameters:
        """Parts of its configuration, for the parameters of rules."""
        return Parameters(self)

    @property
    def pictures(self) -> Pictures:
        """The pictures of its cases."""
        return Pictures(self)

    def cases_of(self, wildcards: Any) -> list[str]:
        """All cases of a dataset."""
        return self.cohorts[wildcards.dataset].names

    def cases_trained_on(self, wildcards: Any) -> list[str]:
        """A fold's training cases."""
        return self.cohorts[wildcards.dataset].training(int(wildcards.fold))

    def cases_in(self, wildcards: Any) -> list[str]:
        """The cases of a fold's `part`: test, validation or training; without one, those of validation.

        A model tests all cases of a dataset that it was not trained on.

        Raises:
            BadInput: the model's dataset and the cases' dataset have nothing in common, or a condition acts on images
                as a model normalizes its own.
        """
        part, trained_on = wildcards.get("part", "validation"), wildcards.get("trained_on", wildcards.dataset)
        if trained_on != wildcards.dataset:
            self._require_transferable(wildcards, trained_on, part)
            return self.cohorts[wildcards.dataset].names
        return names_in(self.cohorts[wildcards.dataset], part, int(wildcards.fold))

    def _require_transferable(self, wildcards: Any, trained_on: str, part: str) -> None:
        dataset, condition = wildcards.dataset, wildcards.get("condition", CLEAN)
        reason = refusal_elsewhere(wildcards.model, trained_on, dataset, self.config)
        if part != "test":
            reason = f"All of its cases are test cases; ask for the part test, not {part}."
        if "after" in self.config["conditions"][condition]:
            reason = f"{condition} acts on normalized images; choose another condition."
        if reason:
            raise BadInput(f"{trained_on} is not tested on {dataset}. {reason}")

    def all_cases_tested(self, wildcards: Any) -> list[str]:
        """The test cases of all folds of the study."""
        return [case for fold in self.folds for case in self.cohorts[wildcards.dataset].test(fold)]

    def runs(self, pattern: str, models: Iterable[str] | None = None) -> list[str]:
        """A path for every training run of the study, over datasets, models, folds and seeds.

        Args:
            pattern: with {dataset}, {model}, {fold} and {seed}.
            models: by default those that are trained.
        """
        return [
            pattern.format(dataset=dataset, model=model, fold=fold, seed=seed)
            for dataset in self.datasets
            for model in (self.trained if models is None else models)
            for fold in self.folds
            for seed in self.seeds
        ]

    def first_runs(self, pattern: str) -> list[str]:
        """A path for every trained model of the study, of its first fold and seed."""
        first = {"fold": self.folds[0], "seed": self.seeds[0]}
        return [
            pattern.format(dataset=dataset, model=model, **first) for dataset in self.datasets for model in self.trained
        ]

    def tests(self, pattern: str) -> list[str]:
        """A path for every run of the study on the dataset that it was trained on, under every condition.

        Args:
            pattern: with {dataset}, {condition}, {model}, {fold} and {seed}.
        """
        return [
            pattern.format(dataset=dataset, condition=condition, model=model, fold=fold, seed=seed)
            for dataset in self.datasets
            for model in self.models
            for condition in self.conditions_of(model)
            for fold in self.folds
            for seed in self.seeds
        ]

    def transfer_tests(self, pattern: str) -> list[str]:
        """A path for every test on a dataset that a model was not trained on, of models tested under all conditions.

        Args:
            pattern: with {dataset}, {trained_on}, {model}, {fold} and {seed}.
        """
        return [
            pattern.format(dataset=tested, trained_on=trained_on, model=model, fold=fold, seed=seed)
            for trained_on in self.datasets
            for tested in self.transfers
            for model in self.models
            if refusal_elsewhere(model, trained_on, tested, self.config) is None
            if self.tested_under_all(model)
            for fold in self.folds
            for seed in self.seeds
        ]

    def trained_run(self, wildcards: Any) -> str:
        """The folder, below `results/train/`, of the run whose weights a model predicts with."""
        trained_on = wildcards.get("trained_on", wildcards.dataset)
        return f"{trained_on}/{self.trained_as(wildcards.model)}/fold-{wildcards.fold}_seed-{wildcards.seed}"

    def calibrated_run(self, wildcards: Any) -> list[str]:
        """The run whose calibration a model's evaluation reads; none for a fuser, which has no probabilities."""
        segments = self.task_of(wildcards.model) == "segment"
        return [f"{wildcards.model}/fold-{wildcards.fold}_seed-{wildcards.seed}"] if segments else []

    def scaled_run(self, wildcards: Any) -> str:
        """The model and run whose predictions a model scales, or itself.

        Raises:
            BadInput: the model predicts no regions.
        """
        self.require_segmenting(wildcards.model)
        return f"{self.predicted_as(wildcards.model)}/fold-{wildcards.fold}_seed-{wildcards.seed}"

    def code_of(self, script: str) -> Callable[[Any], str]:
        """The digest of the code that a rule's script runs, as an input function.

        Args:
            script: file name in `workflow/scripts/`.
        """
        return lambda wildcards: self.code.digest(script, members_of(self, wildcards))

    def code_of_source(self, wildcards: Any) -> str:
        """The code that a source's files follow from: none where they are fetched, as each has a known hash."""
        made = self.config["datasets"][wildcards.dataset]["source"]["kind"] == MADE
        return self.code_of("fetch_dataset.py")(wildcards) if made else ""

    def refuse_other(self, wildcards: Any) -> list[str]:
        """Refuse to fill the report of another study with this one's numbers.

        Raises:
            BadInput: always.
        """
        other, path = wildcards.other_study, f"results/report/{wildcards.other_study}/{wildcards.file}"
        if not Path(f"config/{other}.yaml").exists():
            raise BadInput(
                f"{path}: expected a file of the study {self.name}, which this run computes; there is no study "
                f"{other}, as config/{other}.yaml does not exist."
            )
        raise BadInput(
            f"{path}: expected a file of the study {self.name}, which this run computes; for the study {other} run "
            f"`snakemake --configfile config/{other}.yaml -- {path}`."
        )
