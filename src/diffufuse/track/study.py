"""A study as a tree of runs in MLflow: the study, its models, their trainings; all can be made of files again."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import DatasetInput, Metric

from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.track.card import card_of
from diffufuse.track.registry import Registered, register
from diffufuse.track.runs import Entry, dataset_of, show, training_name, training_tags
from diffufuse.track.store import Store, opened_store, points
from diffufuse.train.history import HISTORY

PATIENCE_S = 60
# A training's cases are in the files that its run keeps; as parameters they would hide what models differ in.
CASES = ("patients", "training_cases", "validation_cases")
COST = ("duration_s", "seconds_per_step", "parameters", "macs_per_sample")


@dataclass(frozen=True)
class Training:
    """A finished training, as its files tell.

    Attributes:
        plan: the content of `plan.json`.
        record: the content of `run.json`.
        history: the curves, columns of `HISTORY`.
        files: that its run keeps.
        weights: that its model is made of.
    """

    plan: Mapping[str, Any]
    record: Mapping[str, Any]
    history: pd.DataFrame
    files: Sequence[Path]
    weights: Sequence[Path]

    @property
    def version(self) -> tuple[str, str, int, int]:
        """Its place among the versions of the study's models."""
        plan = self.plan
        return plan["model"], plan["dataset"], plan["fold"], plan["seed"]

    def is_of(self, dataset: str, model: str) -> bool:
        """Whether this model was trained on this dataset in it."""
        return (self.plan["dataset"], self.plan["model"]) == (dataset, model)


def read_training(folder: str | os.PathLike[str]) -> Training:
    """Read a training from its folder."""
    files = [Path(folder) / name for name in ("plan.json", "run.json")]
    plan, record = map(read_record, files)
    history = read_table(Path(folder) / "history.parquet", HISTORY)
    return Training(plan, record, history, files, sorted((Path(folder) / "weights").iterdir()))


def show_study(
    folder: str | os.PathLike[str],
    study: Mapping[str, Any],
    *,
    models: Mapping[str, Any],
    datasets: Mapping[str, Mapping[str, str]],
    trainings: Sequence[Training],
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    manifests: Iterable[str],
    artifacts: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """Show a study as an experiment of its name: the study, under it its models, under each its trainings. Idempotent.

    What is shown already stays, with whatever was noted about it in MLflow; what the study no longer has goes.

    Args:
        folder: of the MLflow store.
        study: its block of the configuration.
        models: the blocks of its models.
        datasets: dataset → its `title`, `license` and `citation`.
        trainings: of the study.
        metrics: of every case, columns of `METRICS`.
        summary: statistics over patients, columns of `SUMMARY`.
        manifests: of the datasets' raw files.
        artifacts: folder of the study's artifacts → files; below `report/` they keep their folders.

    Returns:
        A record: the ids of all runs by their paths.

    Raises:
        BadInput: MLflow fails or does not answer.
    """
    names = {Path(file).name.removesuffix(".manifest.tsv"): file for file in manifests}
    data = {name: dataset_of(name, file, license=datasets[name]["license"]) for name, file in names.items()}
    ids: dict[str, str] = {}
    with opened_store(folder, patience_s=PATIENCE_S) as store:
        experiment = store.experiment(study["name"])
        top = _study_entry(study, trainings, list(data.values()), artifacts)
        ids[top.path] = show(store, experiment, top)
        trained = {(item.plan["dataset"], item.plan["model"]): item.plan["block"] for item in trainings}
        for dataset in dict.fromkeys(dataset for dataset, _ in trained):
            blocks = {**models, **{model: block for (on, model), block in trained.items() if on == dataset}}
            for model, block in blocks.items():
                own = [item for item in trainings if item.is_of(dataset, model)]
                entry = _model_entry(dataset, model, block, own, summary, data[dataset], begun=top.started_unix_s)
                ids[entry.path] = show(store, experiment, entry, parent=ids[top.path])
                for item in own:
                    below = _training_entry(item, metrics, data[dataset])
                    ids[below.path] = show(store, experiment, below, parent=ids[entry.path])
        _forget_others(store, experiment, ids)
        register(
            store,
            experiment,
            study["name"],
            [
                _registered(study["name"], item, metrics, ids[item.plan["path"]], datasets, names)
                for item in sorted(trainings, key=lambda item: item.version)
            ],
        )
    return {"runs": ids}


def _forget_others(store: Store, experiment: str, ids: Mapping[str, str]) -> None:
    for run in store.client.search_runs([experiment], "tags.content != ''"):
        if run.info.run_id not in ids.values():
            store.forget(run)


def _study_entry(
    study: Mapping[str, Any],
    trainings: Sequence[Training],
    datasets: Sequence[DatasetInput],
    artifacts: Mapping[str, Iterable[str]],
) -> Entry:
    begun = min(item.record["started_unix_s"] for item in trainings)
    ended = max(item.record["started_unix_s"] + item.record["duration_s"] for item in trainings)
    commits = sorted({item.record["commit"] for item in trainings})
    return Entry(
        path=f"study/{study['name']}",
        name=study["name"],
        started_unix_s=begun,
        duration_s=ended - begun,
        tags={"stage": "study", "study": study["name"], "commit": " ".join(commits)},
        params=study,
        metrics=[],
        datasets=datasets,
        artifacts=_in_folders(artifacts),
    )


def _in_folders(artifacts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Pictures stay in their folders below that of the study's report."""
    placed: dict[str, list[str]] = {}
    for folder, files in artifacts.items():
        for file in files:
            parts = Path(file).parts
            below = parts[parts.index("report") + 2 : -1] if folder == "pictures" else ()
            placed.setdefault("/".join([folder, *below]), []).append(file)
    return placed


def _model_entry(
    dataset: str,
    model: str,
    block: Mapping[str, Any],
    trainings: Sequence[Training],
    summary: pd.DataFrame,
    data: DatasetInput,
    *,
    begun: float,
) -> Entry:
    """A model: its settings, the mean curves of its trainings, and its means over patients.

    One without trainings of its own is shown as begun when the study was, as MLflow takes 0 for now; its values have no
    time, so that it is the same run when another model is trained anew.
    """
    started = min((item.record["started_unix_s"] for item in trainings), default=0.0)
    means = summary[(summary["trained_on"] == dataset) & (summary["model"] == model)]
    histories = pd.concat([HISTORY.empty_table().to_pandas(), *(item.history for item in trainings)])
    average = histories.groupby(["step", "quantity"], as_index=False)["value"].mean()
    return Entry(
        path=f"model/{dataset}/{model}",
        name=f"{model} on {dataset}",
        started_unix_s=started or begun,
        duration_s=sum(item.record["duration_s"] for item in trainings),
        tags={"stage": "model", "dataset": dataset, "model": model},
        params={"dataset": dataset, "model": model, "block": block},
        metrics=_curve(average, started) + points(0, _named(means, "mean", dataset), started),
        datasets=[data],
    )


def _training_entry(training: Training, metrics: pd.DataFrame, data: DatasetInput) -> Entry:
    plan, record = training.plan, training.record
    tested = metrics[_tested_by(training, metrics)]
    single = {f"cost/{name}": float(record[name]) for name in COST} | _named(tested, "value", plan["dataset"])
    return Entry(
        path=plan["path"],
        name=training_name(plan),
        started_unix_s=record["started_unix_s"],
        duration_s=record["duration_s"],
        tags=training_tags(plan)
        | {"commit": record["commit"], "version": record["versions"]["diffufuse"], "device": record["device"]},
        params={key: value for key, value in plan.items() if key not in CASES},
        metrics=_curve(training.history, record["started_unix_s"]) + points(0, single, record["started_unix_s"]),
        datasets=[data],
        artifacts={"": training.files},
    )


def _registered(
    study: str,
    training: Training,
    metrics: pd.DataFrame,
    run: str,
    datasets: Mapping[str, Mapping[str, str]],
    manifests: Mapping[str, str],
) -> Registered:
    plan, record = training.plan, training.record
    name, alias = f"{study}-{plan['model']}", f"{plan['dataset']}_fold-{plan['fold']}_seed-{plan['seed']}"
    dataset = datasets[plan["dataset"]]
    card = card_of(
        name,
        alias,
        plan=plan,
        record=record,
        dataset=dataset,
        manifest_sha256=sha256_of(manifests[plan["dataset"]]),
        tested=metrics[_tested_by(training, metrics)],
    )
    tags = training_tags(plan) | {"path": plan["path"], "commit": record["commit"], "license": dataset["license"]}
    return Registered(name, alias, study, run, plan, training.files[:1], training.weights, tags, card)


def _tested_by(training: Training, metrics: pd.DataFrame) -> "pd.Series[bool]":
    """The rows of the cases that a training was tested on."""
    own = metrics["trained_on"] == training.plan["dataset"]
    for key in ("model", "fold", "seed"):
        own &= metrics[key] == training.plan[key]
    return own


def _curve(history: pd.DataFrame, started_unix_s: float) -> list[Metric]:
    return [
        point
        for step, rows in history.groupby("step")
        for point in points(int(str(step)), dict(zip(rows["quantity"], rows["value"], strict=True)), started_unix_s)
    ]


def _named(rows: pd.DataFrame, column: str, dataset: str) -> dict[str, float]:
    """Means of a column, named by dataset (`test` for that of the training), condition, region and metric.

    MLflow shows what is named alike before the stroke as one group of charts.
    """
    where = rows["dataset"].where(rows["dataset"] != dataset, "test")
    names = where + "/" + rows["condition"] + "." + rows["region"] + "." + rows["metric"]
    return {str(name): float(value) for name, value in rows[column].groupby(names).mean().items()}
