"""A run of MLflow that is made of files, and can be made of them again."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from diffufuse.files.digests import sha256_of
from diffufuse.track.store import Store

METRICS_PER_CALL, PARAMETERS_PER_CALL = 1000, 100
LONGEST_PARAMETER = 500
LONGEST_DIGEST = 36


@dataclass(frozen=True)
class Entry:
    """What a run shows.

    Attributes:
        path: identifies it in its experiment.
        name: for readers.
        started_unix_s: when what it shows began.
        duration_s: how long that took.
        tags: to filter by.
        params: settings, nested.
        metrics: points of its curves and single values.
        datasets: that it has learned from.
        artifacts: folder of its artifacts → files.
    """

    path: str
    name: str
    started_unix_s: float
    duration_s: float
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Sequence[Metric]
    datasets: Sequence[DatasetInput] = ()
    artifacts: Mapping[str, Sequence[str | os.PathLike[str]]] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Digest of all that it shows."""
        files = {folder: [sha256_of(file) for file in files] for folder, files in self.artifacts.items()}
        points = [[point.key, point.step, point.timestamp, point.value] for point in self.metrics]
        datasets = [item.to_dictionary() for item in self.datasets]
        shown = [self.name, self.duration_s, dict(self.tags), flatten(self.params), points, datasets, files]
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def show(store: Store, experiment: str, entry: Entry, *, parent: str | None = None) -> str:
    """Show an entry as a run, unless it is shown already.

    A run with the same content, or with the live curves of the same training, is completed. Any other run of this path
    is replaced, as MLflow keeps the parameters and points that it has.

    Args:
        store: an open one.
        experiment: its id.
        entry: what to show.
        parent: id of the run under which it is nested.

    Returns:
        The run's id.
    """
    content = entry.content
    run = _begun(store, experiment, entry, content) or begin(
        store, experiment, entry.path, entry.name, entry.tags, entry.started_unix_s
    )
    identity = str(run.info.run_id)
    nested = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
    tags = {**entry.tags, **nested, "content": content}
    params = [Param(key, value) for key, value in flatten(entry.params).items()]
    store.client.log_batch(identity, tags=[RunTag(key, str(value)) for key, value in tags.items()])
    if run.info.status == "FINISHED" and run.data.tags.get("content") == content:
        return identity
    for first in range(0, len(params), PARAMETERS_PER_CALL):
        store.client.log_batch(identity, params=params[first : first + PARAMETERS_PER_CALL])
    for first in range(0, len(entry.metrics), METRICS_PER_CALL):
        store.client.log_batch(identity, metrics=entry.metrics[first : first + METRICS_PER_CALL])
    store.client.log_inputs(identity, list(entry.datasets))
    for folder, files in entry.artifacts.items():
        for file in files:
            store.keep(run, file, folder)
    store.client.set_terminated(identity, "FINISHED", _ms(entry.started_unix_s + entry.duration_s))
    return identity


def begin(store: Store, experiment: str, path: str, name: str, tags: Mapping[str, str], started_unix_s: float) -> Run:
    """A new run in place of all of that path."""
    for earlier in store.runs(experiment, path):
        store.forget(earlier)
    told = {**tags, "path": path, "started": str(started_unix_s)}
    return store.client.create_run(experiment, _ms(started_unix_s), tags=told, run_name=name)


def _begun(store: Store, experiment: str, entry: Entry, content: str) -> Run | None:
    """The one run of that path, if it can be completed."""
    runs = store.runs(experiment, entry.path)
    if len(runs) != 1:
        return None
    tags = runs[0].data.tags
    live = "content" not in tags and tags.get("started") == str(entry.started_unix_s)
    return runs[0] if live or tags.get("content") == content else None


def training_tags(plan: Mapping[str, Any]) -> dict[str, str]:
    """The tags that tell a training from others."""
    return {"stage": "training", **{key: str(plan[key]) for key in ("dataset", "model", "fold", "seed")}}


def training_name(plan: Mapping[str, Any]) -> str:
    """The name of a training's run."""
    return f"{plan['model']}, fold {plan['fold']}, seed {plan['seed']}"


def dataset_of(name: str, manifest: str | os.PathLike[str], *, license: str) -> DatasetInput:
    """A dataset as the input of a run.

    Args:
        name: of the dataset.
        manifest: of its raw files; the dataset's digest is its SHA-256, of which MLflow has room for the beginning.
        license: of the dataset.
    """
    digest = sha256_of(manifest)
    source = json.dumps({"manifest": str(manifest)})
    dataset = Dataset(name, digest[:LONGEST_DIGEST], "manifest", source, profile=json.dumps({"license": license}))
    tags = {"license": license, "sha256": digest, "mlflow.data.context": "training"}
    return DatasetInput(dataset, [InputTag(key, value) for key, value in tags.items()])


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested settings to dotted names; a list of scalars becomes one string."""
    flat: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            flat |= flatten({str(item.get("name", n)): item for n, item in enumerate(value)}, f"{name}.")
        else:
            flat[name] = str(value)[:LONGEST_PARAMETER]
    return flat


def _ms(unix_s: float) -> int:
    return int(unix_s * 1000)
