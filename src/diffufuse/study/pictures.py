"""Which pictures of cases a study asks for, and what each of them shows.

A picture is at `{picture}/{dataset}/{subject}`; its subject is `cases` for a gallery, a condition, a model,
`{model}/{case}`, or a case where all fused images of it are shown.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffufuse.errors import BadInput
from diffufuse.study.cohorts import evenly_chosen
from diffufuse.study.inputs import PAIRS, ROLES, condition_of, input_modalities
from diffufuse.study.testable import refusal_elsewhere
from diffufuse.study.transfer import refusal

if TYPE_CHECKING:
    from diffufuse.study.study import Study

CLEAN = "clean"
OF_FUSION = ("fused", "edge_profiles")


@dataclass(frozen=True)
class Pictures:
    """The pictures of a study. Methods that take `wildcards` are input functions of rules.

    Attributes:
        study: whose pictures they are.
    """

    study: "Study"

    @property
    def names(self) -> list[str]:
        """Every picture, as `{picture}/{dataset}/{subject}`."""
        return [
            f"{picture}/{dataset}/{subject}"
            for dataset in [*self.study.datasets, *self.study.transfers]
            for picture, subjects in self._subjects(dataset).items()
            for subject in subjects
        ]

    @property
    def uncertainty_maps(self) -> list[str]:
        """Every map of uncertainty, as `{dataset}/{model}/{case}`."""
        named = (name.split("/", 1) for name in self.names)
        return [subject for picture, subject in named if picture == "uncertainty"]

    def _subjects(self, dataset: str) -> dict[str, list[str]]:
        asked, catalogue = self.study.config["study"], self.study.config["conditions"]
        cohort, block = self.study.cohorts[dataset], self.study.config["datasets"][dataset]
        own = dataset in self.study.datasets
        parts = [cohort.test(fold) for fold in self.study.folds] if own else [cohort.names]
        drawn = [case for part in parts for case in evenly_chosen(part, asked["overlays"])]
        of_pairs, fused = block["format"] == PAIRS, drawn if self._fusing(dataset) else []
        segmenting = [model for model in self.study.predicting if model in self.study.segmenting]
        predicted = [f"{model}/{case}" for model in segmenting for case in drawn]
        of_fusion = {"fused": fused, "edge_profiles": [] if of_pairs else fused}
        if of_pairs or not own:
            return {"fused": fused}
        return {
            "gallery": ["cases"],
            "conditions": [name for name in asked["conditions"] if catalogue[name]],
            "extremes": segmenting,
            "overlays": predicted,
            "uncertainty": predicted,
            **of_fusion,
        }

    def _fusing(self, dataset: str) -> list[str]:
        """The models whose fused images of a dataset's cases are shown together: of the same two images, under clean.

        On a dataset that none of them was trained on, it is those that are tested there.
        """
        blocks = {name: self.study.config["models"][self.study.trained_as(name)] for name in self.study.fusing}
        shown = [name for name in blocks if CLEAN in self.study.conditions_of(name)]
        if dataset not in self.study.datasets:
            trained_on, config = self._trained_on(dataset), self.study.config
            fusers = [name for name in shown if blocks[name]["task"] == "fuse" and self.study.tested_under_all(name)]
            return [name for name in fusers if trained_on and not refusal_elsewhere(name, trained_on, dataset, config)]
        sources = {name: self._sources(name, dataset) for name in shown}
        return [name for name in shown if sources[name] == sources[shown[0]]]

    def _sources(self, model: str, dataset: str) -> dict[str, Any]:
        block, config = self.study.config["models"][self.study.trained_as(model)], self.study.config["datasets"]
        if dataset not in self.study.datasets:
            block = {**block, "input": {"modalities": list(ROLES), "values": "display"}}
        return input_modalities(model, block, dataset, config[dataset])

    def _trained_on(self, dataset: str) -> str | None:
        """The dataset of the study whose fusers are shown on a dataset: itself, else the first that has a pair too."""
        blocks = self.study.config["datasets"]
        own = [name for name in self.study.datasets if name == dataset]
        others = [name for name in self.study.datasets if not refusal(blocks[name], blocks[dataset], task="fuse")]
        return next(iter(own or others), None)

    def cases(self, wildcards: Any) -> list[str]:
        """The cases that a picture shows or chooses from.

        Raises:
            BadInput: there is no such picture of a dataset, as of pairs, or of one that models are tested on besides.
        """
        known = self._subjects(wildcards.dataset)
        if wildcards.picture not in known:
            raise BadInput(f"{wildcards.picture}/{wildcards.dataset}: expected one of the pictures {', '.join(known)}.")
        names = self.study.cohorts[wildcards.dataset].names
        if wildcards.picture == "gallery":
            return evenly_chosen(names)
        if wildcards.picture == "conditions":
            return names[:1]
        if wildcards.picture in OF_FUSION:
            return [str(wildcards.subject)]
        return self.study.all_cases_tested(wildcards) if wildcards.picture == "extremes" else [_case(wildcards)]

    def tests(self, wildcards: Any) -> list[str]:
        """The test runs whose predictions a picture shows, as `{condition}/{trained_on}/{model}/{run}`; first seed.

        Raises:
            BadInput: a picture of masks is asked of a model that predicts none, one of fused images in a study that
                fuses none, or one of a case that no fold tests.
        """
        if wildcards.picture in ("gallery", "conditions"):
            return []
        if wildcards.picture in OF_FUSION:
            return self._tests_of_fusers(wildcards.dataset, str(wildcards.subject))
        model, dataset = _model(wildcards), wildcards.dataset
        self.study.require_segmenting(model)
        shown = self.conditions(model) if wildcards.picture == "overlays" else [CLEAN]
        extremes = wildcards.picture == "extremes"
        runs = [self._run(fold) for fold in self.study.folds] if extremes else [self._tests(dataset, _case(wildcards))]
        return [f"{condition}/{dataset}/{model}/{run}" for condition in shown for run in runs]

    def _tests_of_fusers(self, dataset: str, case: str) -> list[str]:
        trained_on, models = self._trained_on(dataset), self._fusing(dataset)
        if not models:
            raise BadInput(f"{case}: expected a study that fuses images of {dataset}, but none of its models does.")
        run = self._tests(dataset, case) if trained_on == dataset else self._run(self.study.folds[0])
        return [f"{CLEAN}/{trained_on}/{model}/{run}" for model in models]

    def evaluations(self, wildcards: Any) -> list[str]:
        """The test runs by whose Dice a picture ranks cases."""
        return self.tests(wildcards) if wildcards.picture == "extremes" else []

    def test_of_case(self, wildcards: Any) -> str:
        """The run that tests a case.

        Raises:
            BadInput: the model predicts no regions, or the case is tested in no fold.
        """
        self.study.require_segmenting(wildcards.model)
        return self._tests(wildcards.dataset, wildcards.case)

    def settings(self, wildcards: Any) -> dict[str, Any]:
        """What a picture needs beside its cases and predictions: keyword arguments of its function."""
        dataset, picture, block = wildcards.dataset, wildcards.picture, self.study.config["datasets"][wildcards.dataset]
        modalities = self.study.parameters.appearance if picture == "conditions" else self.study.parameters.geometry
        settings = {"dataset": dataset, "modalities": modalities(wildcards)}
        if picture == "gallery":
            return settings | {"labels": block["labels"]}
        if picture in OF_FUSION:
            models = self._fusing(dataset)
            shown = {"case": str(wildcards.subject), "models": models, "sources": self._sources(models[0], dataset)}
            return settings | shown | {"regions": block.get("regions", {})}
        catalogue = {name: condition_of(part, block) for name, part in self.study.config["conditions"].items()}
        seed = {"study_seed": self.study.seed}
        if picture == "conditions":
            return settings | seed | {"condition": catalogue[wildcards.subject], "name": wildcards.subject}
        settings |= {"model": _model(wildcards), "regions": block["regions"]}
        if picture == "overlays":
            settings |= seed | {"conditions": {name: catalogue[name] for name in self.conditions(_model(wildcards))}}
        return settings

    def conditions(self, model: str) -> list[str]:
        """The conditions under which a model's test cases are drawn."""
        asked = self.study.config["study"]
        drawn = asked.get("overlay_conditions", asked["conditions"])
        return [name for name in self.study.conditions_of(model) if name in drawn]

    def _tests(self, dataset: str, name: str) -> str:
        folds = [case.fold for case in self.study.cohorts[dataset].cases if case.name == name]
        if folds in ([], [None]):
            raise BadInput(f"{name}: expected a case of {dataset} that a fold tests; see config/cohorts/{dataset}.tsv.")
        return self._run(folds[0])

    def _run(self, fold: int | None) -> str:
        return f"fold-{fold}_seed-{self.study.seeds[0]}"


def _model(wildcards: Any) -> str:
    return str(wildcards.subject).partition("/")[0]


def _case(wildcards: Any) -> str:
    return str(wildcards.subject).partition("/")[2]
