"""The card of a trained model: what it is, what it learned from, how it was tested, and how to load it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diffufuse.study.inputs import FUSED
from diffufuse.track.interface import answers_of, unit_of

CLEAN = "clean"


def card_of(
    name: str,
    alias: str,
    *,
    plan: Mapping[str, Any],
    record: Mapping[str, Any],
    dataset: Mapping[str, str],
    manifest_sha256: str,
    tested: pd.DataFrame,
) -> str:
    """The card of a training's model, as Markdown.

    Args:
        name: of the registered model.
        alias: of its version.
        plan: the content of `plan.json`.
        record: the content of `run.json`.
        dataset: `title`, `license` and `citation` of the dataset that was trained on.
        manifest_sha256: of the manifest of its raw files.
        tested: metrics of the cases that were tested by this training, columns of `METRICS`.
    """
    training, modalities = plan["block"]["training"], plan["modalities"]
    patients = len(set(plan["patients"].values()))
    answers = [_meaning(answer) for answer in answers_of(plan)]
    facts = {
        "Data": f"{plan['dataset']}: {dataset['title']}",
        "License of the data": dataset["license"],
        "Citation of the data": dataset["citation"],
        "Manifest of the data": f"SHA-256 {manifest_sha256}",
        "Learned from": f"{len(plan['training_cases'])} cases of {patients} patients; fold {plan['fold']} is tested",
        "Architecture": f"{plan['block']['architecture']}, {record['parameters']:,} parameters",
        "Training": f"{training.get('steps', 0)} steps, seed {plan['seed']}, {record['device']}",
        "Code": f"diffufuse {record['versions']['diffufuse']}, commit {record['commit']}",
        "Takes": "; ".join(f"{modality['name']} ({unit_of(modality['kind'])})" for modality in modalities),
        "Gives": "; ".join(answers),
    }
    parts = [
        f"# {name}, {alias}",
        f"The model `{plan['model']}` as fold {plan['fold']} and seed {plan['seed']} of a study trained it. It is "
        "research software, not a medical device. Its training's run has all settings.",
        _table(("", ""), facts.items()),
        f"Tested on clean images of {plan['dataset']}, fold {plan['fold']}; mean over the cases where it is defined:",
        _table(("metric", "of", "mean", "cases"), _means(tested, plan["dataset"])),
        "Load it, where diffufuse is installed and `MLFLOW_TRACKING_URI` is the address of the server:",
        f'```python\nmodel = mlflow.pyfunc.load_model("models:/{name}@{alias}")\n'
        'model.predict({"images": ..., "presence": ..., "body": ...})\n```',
        "`images` are (M, X, Y, Z) in the order and the units above, on the grid of the training's cases; `presence` "
        "says where each was acquired, and `body` (X, Y, Z) where the patient is.",
    ]
    return "\n\n".join(parts) + "\n"


def _meaning(answer: str) -> str:
    return "the fused image, gray levels in 0..1" if answer == FUSED else f"the probability of {answer}"


def _means(tested: pd.DataFrame, dataset: str) -> list[tuple[object, ...]]:
    """Metric, region, mean and number of cases."""
    own = tested[(tested["condition"] == CLEAN) & (tested["dataset"] == dataset)].dropna(subset="value")
    values = own.groupby(["metric", "region"])["value"].agg(["mean", "size"]).reset_index()
    return [(metric, region, f"{mean:.3g}", size) for metric, region, mean, size in values.itertuples(index=False)]


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(' '.join(str(cell).split()) for cell in line)} |" for line in lines)
