"""The registry of MLflow: a study's models, each with its trainings as versions that can be loaded."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.entities import LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion

import diffufuse
from diffufuse.files.digests import sha256_of
from diffufuse.track.interface import example_of, signature_of
from diffufuse.track.store import Store

LOADER = "diffufuse.track.loadable"
MOST_NAMES = 1000
# MLflow's room for a description.
LONGEST_CARD = 5000
# The folder of a model that its loader is given; MLflow names it so.
DATA = "data"
TRAINING = "training"


@dataclass(frozen=True)
class Registered:
    """A training as a version of a registered model.

    Attributes:
        name: of the registered model.
        alias: of the version, the same however often it is trained anew.
        study: that it is of.
        run: id of the run that shows the training.
        plan: the content of `plan.json`.
        files: `plan.json`, which is copied.
        weights: files, which are linked where that is possible.
        tags: to filter by.
        card: Markdown.
    """

    name: str
    alias: str
    study: str
    run: str
    plan: Mapping[str, Any]
    files: Sequence[Path]
    weights: Sequence[Path]
    tags: Mapping[str, str]
    card: str

    @property
    def content(self) -> str:
        """Digest of all that it consists of."""
        files = [[file.name, sha256_of(file)] for file in (*self.files, *self.weights)]
        form = [LOADER, diffufuse.__version__, signature_of(self.plan).to_dict()]
        told = [self.name, self.alias, self.study, self.run, dict(self.tags), self.card, files, form]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def register(store: Store, experiment: str, study: str, wanted: Iterable[Registered]) -> None:
    """Register the models of a study. Idempotent.

    A version with the same content stays; one that changed is replaced, and what the study no longer has goes.

    Args:
        store: an open one.
        experiment: id of the study's experiment, which holds the files.
        study: its name.
        wanted: all its trainings.
    """
    contents = {item.content: item for item in wanted}
    kept = _forget_others(store, experiment, study, set(contents))
    for content, item in contents.items():
        if content not in kept:
            _add(store, experiment, item, content)


def _forget_others(store: Store, experiment: str, study: str, wanted: set[str]) -> set[str]:
    """Remove what is not wanted, and what a killed job left half made; returns the contents that stay."""
    kept: dict[str, str] = {}
    for name in _names_of(store, study):
        versions = [(version, _content(store, version)) for version in _versions_of(store, name)]
        if not any(content in wanted for _, content in versions):
            store.client.delete_registered_model(name)
            continue
        for version, content in versions:
            if content in wanted - kept.keys():
                kept[content] = str(version.source)
            else:
                store.client.delete_model_version(name, version.version)
    for model in list(_models_in(store, experiment)):
        if model.artifact_location not in kept.values():
            store.forget_model(model)
    return set(kept)


def _content(store: Store, version: ModelVersion) -> str:
    """The content of a complete version, else nothing."""
    complete = version.aliases or store.client.get_model_version(version.name, version.version).aliases
    return str(version.tags.get("content", "")) if complete else ""


def _names_of(store: Store, study: str) -> list[str]:
    found = store.client.search_registered_models(f"tags.study = '{study}'", max_results=MOST_NAMES)
    return [model.name for model in found if model.tags.get("made_by") == "diffufuse"]


def _versions_of(store: Store, name: str) -> list[ModelVersion]:
    return list(store.client.search_model_versions(f"name = '{name}'"))


def _models_in(store: Store, experiment: str) -> Iterator[Any]:
    """The models of an experiment that were made here."""
    token: str | None = None
    while True:
        page = store.client.search_logged_models([experiment], page_token=token)
        yield from (model for model in page if "content" in model.tags)
        token = page.token
        if not token:
            return


def _add(store: Store, experiment: str, item: Registered, content: str) -> None:
    client, tags = store.client, {**item.tags, "study": item.study, "content": content}
    model = client.create_logged_model(
        experiment, f"{item.name}-{item.alias}", item.run, tags={**tags, "mlflow.note.content": item.card}
    )
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model"
        _write(item, made)
        store.keep_model(model, made, item.weights, f"{DATA}/{TRAINING}")
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    if item.name not in _names_of(store, item.study):
        about = f"The model `{item.plan['model']}` of the study {item.study}; each version is one of its trainings."
        of_model = {"study": item.study, "model": item.plan["model"], "made_by": "diffufuse"}
        client.create_registered_model(item.name, of_model, about)
    version = client.create_model_version(
        item.name,
        model.artifact_location,
        item.run,
        tags,
        description=item.card[:LONGEST_CARD],
        await_creation_for=0,
        model_id=model.model_id,
    )
    client.set_registered_model_alias(item.name, item.alias, version.version)


def _write(item: Registered, folder: Path) -> None:
    """Write a model in MLflow's form, all but its weights."""
    example = example_of(item.plan)
    with tempfile.TemporaryDirectory() as temporary:
        training = Path(temporary) / TRAINING
        training.mkdir()
        for file in item.files:
            (training / file.name).write_bytes(file.read_bytes())
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER,
            data_path=str(training),
            signature=signature_of(item.plan),
            input_example={"images": example.images, "presence": example.presence, "body": example.body},
            pip_requirements=[f"diffufuse=={diffufuse.__version__}"],
        )
    (folder / "card.md").write_text(item.card)
