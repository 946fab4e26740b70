"""Which pictures of cases a study asks for, and what each of them shows.

A picture is at `{picture}/{dataset}/{subject}`; its subject is `cases` for a gallery, a condition, a model, or
`{model}/{case}`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffufuse.study.cohorts import evenly_chosen

if TYPE_CHECKING:
    from diffufuse.study.study import Study

CLEAN = "clean"


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
            for dataset in self.study.datasets
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
        cohort = self.study.cohorts[dataset]
        drawn = [case for fold in self.study.folds for case in evenly_chosen(cohort.test(fold), asked["overlays"])]
        predicted = [f"{model}/{case}" for model in self.study.predicting for case in drawn]
        return {
            "gallery": ["cases"],
            "conditions": [name for name in asked["conditions"] if catalogue[name]],
            "extremes": self.study.predicting,
            "overlays": predicted,
            "uncertainty": predicted,
        }

    def cases(self, wildcards: Any) -> list[str]:
        """The cases that a picture shows or chooses from."""
        names = self.study.cohorts[wildcards.dataset].names
        if wildcards.picture == "gallery":
            return evenly_chosen(names)
        if wildcards.picture == "conditions":
            return names[:1]
        return self.study.all_cases_tested(wildcards) if wildcards.picture == "extremes" else [_case(wildcards)]

    def tests(self, wildcards: Any) -> list[str]:
        """The test runs whose predictions a picture shows, as `{condition}/{trained_on}/{model}/{run}`; first seed."""
        if wildcards.picture in ("gallery", "conditions"):
            return []
        model, dataset = _model(wildcards), wildcards.dataset
        shown = self.conditions(model) if wildcards.picture == "overlays" else [CLEAN]
        extremes = wildcards.picture == "extremes"
        runs = [self._run(fold) for fold in self.study.folds] if extremes else [self._tests(dataset, _case(wildcards))]
        return [f"{condition}/{dataset}/{model}/{run}" for condition in shown for run in runs]

    def evaluations(self, wildcards: Any) -> list[str]:
        """The test runs by whose Dice a picture ranks cases."""
        return self.tests(wildcards) if wildcards.picture == "extremes" else []

    def test_of_case(self, wildcards: Any) -> str:
        """The run that tests a case."""
        return self._tests(wildcards.dataset, wildcards.case)

    def settings(self, wildcards: Any) -> dict[str, Any]:
        """What a picture needs beside its cases and predictions: keyword arguments of its function."""
        dataset, picture, block = wildcards.dataset, wildcards.picture, self.study.config["datasets"][wildcards.dataset]
        modalities = self.study.parameters.appearance if picture == "conditions" else self.study.parameters.geometry
        settings = {"dataset": dataset, "modalities": modalities(wildcards)}
        if picture == "gallery":
            return settings | {"labels": block["labels"]}
        catalogue, seed = self.study.config["conditions"], {"study_seed": self.study.seed}
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
        return self._run(next(case.fold for case in self.study.cohorts[dataset].cases if case.name == name))

    def _run(self, fold: int | None) -> str:
        return f"fold-{fold}_seed-{self.study.seeds[0]}"


def _model(wildcards: Any) -> str:
    return str(wildcards.subject).partition("/")[0]


def _case(wildcards: Any) -> str:
    return str(wildcards.subject).partition("/")[2]
