"""What a job is given of the configuration: as little as it needs, so that a change reruns what depends on it alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffufuse.errors import BadInput
from diffufuse.study.inputs import PAIRS, condition_of, fuser_of, fuses, input_modalities, input_names

if TYPE_CHECKING:
    from diffufuse.study.study import Study

# What is read of a modality's block, and by whom.
READING = ("kind", "series", "file", "channel", "fill_gaps", "partial", "follows", "aligned")
GEOMETRY = ("kind", "follows", "bias_correction")
APPEARANCE = ("kind", "normalization")
CONTRAST = ("kind", "like")
OF_VOLUMES = ("format", "reference", "annotation", "labels")
# What is written about a dataset and decides no number.
DESCRIPTION = ("title", "license", "shareable", "terms", "citation", "source")


@dataclass(frozen=True)
class Parameters:
    """Parts of a study's configuration. Methods that take `wildcards` are input functions of rules.

    Attributes:
        study: gives the configuration.
    """

    study: "Study"

    def store(self, wildcards: Any) -> str:
        """Folder of the MLflow store, which is no input: whether it exists decides no result."""
        return "results/track"

    def modalities(self, dataset: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Some keys of the blocks of a dataset's modalities, in channel order."""
        blocks = self.study.config["datasets"][dataset]["modalities"]
        return {name: {key: block[key] for key in keys if key in block} for name, block in blocks.items()}

    def reading(self, wildcards: Any) -> dict[str, Any]:
        """What is read of a dataset's block to find images and labels, and what the labels or the pictures mean."""
        block = self.study.config["datasets"][wildcards.dataset]
        keys = ("format", "pair", "prefix") if block["format"] == PAIRS else OF_VOLUMES
        named = {key: block[key] for key in keys if key in block}
        return {"modalities": self.modalities(wildcards.dataset, READING), **named}

    def parts(self, wildcards: Any) -> dict[str, list[int | None]]:
        """The pairs of a set that take part: in which fold each is tested, and in which it validates.

        Raises:
            BadInput: the dataset is no set of pairs.
        """
        if self.study.config["datasets"][wildcards.dataset]["format"] != PAIRS:
            raise BadInput(f"{wildcards.dataset}: expected a dataset of format {PAIRS}, got one of cases; name a case.")
        return {case.name: [case.fold, case.validates] for case in self.study.cohorts[wildcards.dataset].cases}

    def geometry(self, wildcards: Any) -> dict[str, Any]:
        """How a dataset's modalities lie on each other."""
        return self.modalities(wildcards.dataset, GEOMETRY)

    def appearance(self, wildcards: Any) -> dict[str, Any]:
        """How a dataset's modalities are normalized; those of pairs are gray levels."""
        blocks = self.modalities(wildcards.dataset, (*APPEARANCE, "display"))
        scales = {name: {"method": "display", **block.pop("display", {})} for name, block in blocks.items()}
        return {name: {"normalization": scales[name], **block} for name, block in blocks.items()}

    def read(self, wildcards: Any) -> dict[str, Any]:
        """The images that a model is trained on, and how they are normalized."""
        block, dataset = self.study.config["models"][wildcards.model], wildcards.dataset
        return input_modalities(wildcards.model, block, dataset, self.study.config["datasets"][dataset])

    def learned(self, wildcards: Any) -> dict[str, list[int]]:
        """The regions that a model is trained on; a fuser learns none.

        Raises:
            BadInput: a segmenter is to learn from pairs.
        """
        return self._regions(wildcards) if self.study.task_of(wildcards.model) == "segment" else {}

    def split(self, wildcards: Any) -> list[dict[str, Any]]:
        """The training and validation cases of a fold, with what a training reads of their sheet."""
        fold, cohort = int(wildcards.fold), self.study.cohorts[wildcards.dataset]
        validation = set(cohort.validation(fold))
        return [
            {"name": case.name, "patient": case.patient, "validates": fold if case.name in validation else None}
            for case in cohort.cases
            if case.fold != fold
        ]

    def contrast(self, wildcards: Any) -> dict[str, Any]:
        """Which modality of another dataset a dataset's modalities can stand for."""
        return self.modalities(wildcards.dataset, CONTRAST)

    def registration(self, wildcards: Any) -> dict[str, Any]:
        """How a case is brought onto its grid, and when its registration is refused.

        Raises:
            BadInput: the dataset is a set of pairs.
        """
        block = self.study.config["datasets"][wildcards.dataset]
        if block["format"] == PAIRS:
            raise BadInput(
                f"{wildcards.dataset}: expected a dataset of cases, got pairs, which are prepared as one set; ask for "
                f"results/prepare/{wildcards.dataset}/pairs.json."
            )
        asked = block.get("registration", {})
        grid = {"reference": block["reference"], "spacing_mm": block["spacing_mm"]}
        return grid | {"transform": asked.get("transform", "rigid"), "gate": asked.get("gate", {})}

    def conditions_learned(self, wildcards: Any) -> dict[str, Any]:
        """The conditions that a model's training corrupts images with."""
        names = self.study.config["models"][wildcards.model]["training"]["corruption"]["conditions"]
        dataset = self.study.config["datasets"][wildcards.dataset]
        return {name: condition_of(self.study.config["conditions"][name], dataset) for name in names}

    def test_settings(self, wildcards: Any) -> dict[str, Any]:
        """What differs at test time from the training whose weights are used."""
        block = self.study.config["models"][wildcards.model]
        return {"settings": block.get("settings", {}), "samples": block.get("samples", 1)}

    def condition(self, wildcards: Any) -> dict[str, Any]:
        """The condition that a prediction applies; none where a fuser has applied it already."""
        model = self.study.config["models"][self.study.trained_as(wildcards.model)]
        dataset = self.study.config["datasets"][wildcards.dataset]
        block = condition_of(self.study.config["conditions"][wildcards.condition], dataset)
        return {} if fuser_of(model) else block

    def sources(self, wildcards: Any) -> dict[str, Any] | None:
        """The images with which a model's fused image is compared; None for a model that makes none of its own."""
        block = self.study.config["models"][self.study.trained_as(wildcards.model)]
        if not fuses(block) or self.study.predicted_as(wildcards.model) != wildcards.model:
            return None
        if wildcards.trained_on != wildcards.dataset:
            return self._fused_elsewhere(wildcards) if self.study.task_of(wildcards.model) == "fuse" else None
        dataset = self.study.config["datasets"][wildcards.dataset]
        return input_modalities(wildcards.model, block, wildcards.dataset, dataset)

    def transfer_settings(self, wildcards: Any) -> dict[str, Any] | None:
        """How a case of another dataset is shown to a model; None for a case of its own."""
        if wildcards.trained_on == wildcards.dataset:
            return None
        if self.study.task_of(wildcards.model) == "fuse":
            return {"modalities": self._fused_elsewhere(wildcards)}
        trained, tested = (self.study.config["datasets"][name] for name in (wildcards.trained_on, wildcards.dataset))
        regions = {"learned": trained["lesion"], "lesion": tested["lesion"]}
        return {"modalities": self.contrast(wildcards), "spacing_mm": trained["spacing_mm"], **regions}

    def regions_tested(self, wildcards: Any) -> dict[str, list[int]]:
        """All regions of a dataset; of one that the model was not trained on, the lesion; none for a fuser.

        Raises:
            BadInput: a segmenter is to be tested on pairs.
        """
        if self.study.task_of(wildcards.model) == "fuse":
            return {}
        block, regions = self.study.config["datasets"][wildcards.dataset], self._regions(wildcards)
        own = wildcards.get("trained_on", wildcards.dataset) == wildcards.dataset
        return regions if own else {block["lesion"]: regions[block["lesion"]]}

    def _regions(self, wildcards: Any) -> dict[str, list[int]]:
        regions: dict[str, list[int]] = self.study.config["datasets"][wildcards.dataset].get("regions", {})
        if not regions:
            raise BadInput(
                f"{wildcards.model}: expected a dataset with labels, but {wildcards.dataset} is a set of pairs; ask "
                "for a model with `task: fuse`."
            )
        return regions

    def _fused_elsewhere(self, wildcards: Any) -> dict[str, Any]:
        """The images of a pair on which a fuser was not trained, in its channel order."""
        datasets, block = self.study.config["datasets"], self.study.config["models"][wildcards.model]
        trained_on, tested = datasets[wildcards.trained_on], datasets[wildcards.dataset]
        names = input_names(wildcards.model, block, wildcards.trained_on, trained_on)
        roles = {name: role for role, name in trained_on["pair"].items()}
        asked = {"modalities": [roles[name] for name in names], "values": "display"}
        return input_modalities(wildcards.model, {**block, "input": asked}, wildcards.dataset, tested)

    @property
    def joining(self) -> dict[str, Any]:
        """What it takes of the tables of its runs: its metrics, and its models with those whose weights they use."""
        return {
            "metrics": list(self.study.config["study"]["metrics"]),
            "trained_as": {name: self.study.trained_as(name) for name in self.study.models},
        }

    @property
    def context(self) -> dict[str, Any]:
        """What tables and figures know of the study beside its measurements."""
        asked, config = self.study.config["study"], self.study.config
        transfers = list(asked.get("transfers", []))
        datasets = {name: config["datasets"][name] for name in [*asked["datasets"], *transfers]}
        return {
            "conditions": {name: config["conditions"][name] for name in asked["conditions"]},
            "models": {name: config["models"][name] for name in asked["models"]},
            "datasets": {
                name: {key: value for key, value in block.items() if key not in DESCRIPTION}
                for name, block in datasets.items()
            },
            "asked": list(asked["metrics"]),
            "compare_with": asked.get("compare_with", asked["models"][0]),
            "transfers": transfers,
            "study_seed": self.study.seed,
        }

    @property
    def tracked(self) -> dict[str, Any]:
        """What MLflow shows of its configuration: its block, those of its models, and what its datasets are."""
        asked, config = self.study.config["study"], self.study.config
        return {
            "study": asked,
            "models": {name: config["models"][name] for name in asked["models"]},
            "datasets": {
                name: {key: config["datasets"][name][key] for key in ("title", "license", "citation")}
                for name in asked["datasets"]
            },
        }
