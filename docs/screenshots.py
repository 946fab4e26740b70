"""Pictures of MLflow for docs/mlflow.md, taken of a running server that shows a study.

python docs/screenshots.py http://127.0.0.1:5000 phantom diffufusemed_tiny unet2d_tiny

It needs Playwright (`pip install playwright`) and a Chromium, which CHROMIUM names if it is not /usr/bin/chromium. What
stands in a browser of one's own, such as chosen columns, is given to this one as MLflow's pages keep it.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
SIZE = {"width": 1400, "height": 900}
PATIENCE_MS, DRAWING_MS = 120_000, 8_000
COLUMNS = ["tags.`stage`", "tags.`fold`", "tags.`seed`", "metrics.`test/clean.mass.dice`"]
CURVES = "loss|learning_rate|validation"
# Pictures that a study may have, the one to show first.
PICTURES = ("fused", "overlays")
FOR_TRAINING = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}


@dataclass(frozen=True)
class Study:
    """A study on a server.

    Attributes:
        server: its address.
        experiment: id of the study's experiment.
        runs: path → id.
        page: of a browser.
    """

    server: str
    experiment: str
    runs: dict[str, str]
    page: Page

    @classmethod
    def of(cls, server: str, name: str, page: Page) -> "Study":
        """Ask a server for a study."""
        found = _answer(page, f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}")
        experiment = found["experiment"]["experiment_id"]
        asked = {"experiment_ids": [experiment], "max_results": 1000}
        runs = _answer(page, f"{server}/api/2.0/mlflow/runs/search", asked)["runs"]
        tags = {run["info"]["run_id"]: {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs}
        return cls(server, experiment, {tags[run]["path"]: run for run in tags}, page)

    def run(self, start: str) -> str:
        """The id of the first run whose path starts so."""
        return self.runs[min(path for path in self.runs if path.startswith(start))]

    def open(self, address: str) -> None:
        """Open a page of the server, with nothing left of the one before."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.server}/#{address}", wait_until="commit")

    def remember(self, values: dict[str, str]) -> None:
        """Let the browser remember what MLflow's pages keep in it."""
        self.page.goto(f"{self.server}/health")
        self.page.evaluate("all => Object.entries(all).forEach(([k, v]) => localStorage.setItem(k, v))", values)


def experiments(study: Study) -> None:
    """The study's runs as a tree, with tags and test results beside them."""
    above = {run: True for path, run in study.runs.items() if not path.startswith("train/")}
    state = {"selectedColumns": COLUMNS, "runsExpanded": above}
    state |= {"orderByKey": "attributes.start_time", "orderByAsc": True}
    study.remember(
        {f'MLflowLocalStorage-1.1-ExperimentPage-["{study.experiment}"]-ReactComponentState': json.dumps(state)}
    )
    study.open(f"/experiments/{study.experiment}/runs")
    study.page.get_by_text("matching runs").wait_for()
    study.page.wait_for_timeout(DRAWING_MS)
    for edge in study.page.locator(".ag-header-cell-resize").all():
        if edge.is_visible():
            edge.dblclick()  # as wide as what it holds
    study.page.wait_for_timeout(1000)
    study.page.reload(wait_until="commit")
    study.page.get_by_text("matching runs").wait_for()


def study_run(study: Study) -> None:
    """The study's own run: a picture among its artifacts."""
    run, listed = study.run("study/"), f"{study.server}/api/2.0/mlflow/artifacts/list"
    kinds = _files(study.page, f"{listed}?run_id={run}&path=pictures")
    path = next(f"pictures/{kind}" for kind in PICTURES if f"pictures/{kind}" in kinds)
    while not path.endswith(".png"):
        path = _files(study.page, f"{listed}?run_id={run}&path={path}")[0]
    study.open(f"/experiments/{study.experiment}/runs/{run}/artifacts/{path}")
    study.page.locator("img[src*='artifact'], img[src^='blob:']").first.wait_for()


def training(study: Study, model: str) -> None:
    """A training: its curves."""
    [start] = {path.split("/fold-")[0] for path in study.runs if path.startswith("train/") and f"/{model}/" in path}
    study.open(f"/experiments/{study.experiment}/runs/{study.run(start + '/')}/model-metrics")
    study.page.get_by_placeholder("Search metric charts").fill(CURVES)
    study.page.get_by_text("loss").first.wait_for()


def comparison(study: Study, models: list[str]) -> None:
    """Two models: the parameters that differ."""
    ids = json.dumps([study.run(f"model/{path}") for model in models for path in _datasets(study, model)])
    study.open(f"/compare-runs?runs={ids}&experiments={json.dumps([study.experiment])}")
    study.page.get_by_role("button", name="Parameters").wait_for()
    study.page.wait_for_timeout(DRAWING_MS)
    for part in ("Visualizations", "Run details"):
        study.page.get_by_role("button", name=part).click()
    study.page.get_by_role("switch", name="Parameters - Show diff only").click()


def curves(study: Study, models: list[str]) -> None:
    """The curves of two models in the same charts."""
    ids = (study.run(f"model/{path}") for model in models for path in _datasets(study, model))
    asked = f"attributes.run_id IN ({', '.join(map(repr, ids))})"
    study.open(f"/experiments/{study.experiment}/runs?compareRunsMode=CHART&searchFilter={quote(asked)}")
    study.page.get_by_placeholder("Search metric charts").fill(CURVES)


def _datasets(study: Study, model: str) -> list[str]:
    found = [path for path in study.runs if path.startswith("model/") and path.endswith(f"/{model}")]
    return [path.removeprefix("model/") for path in found]


def _answer(page: Page, address: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = page.request.post(address, data=asked) if asked else page.request.get(address)
    if not answer.ok:
        raise SystemExit(f"{address}: expected an answer of an MLflow server, got {answer.status}: {answer.text()}")
    found: dict[str, Any] = answer.json()
    return found


def _files(page: Page, address: str) -> list[str]:
    return [file["path"] for file in _answer(page, address)["files"]]


def _write(picture: bytes, path: Path) -> None:
    """Write a picture in 256 colors, which saves half of its bytes."""
    Image.open(BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Take all pictures."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("server")
    asked.add_argument("study")
    asked.add_argument("models", nargs=2)
    given = asked.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        study = Study.of(given.server, given.study, page)
        study.remember(FOR_TRAINING)
        pages: dict[str, Callable[[], None]] = {
            "experiments": lambda: experiments(study),
            "study": lambda: study_run(study),
            "training": lambda: training(study, given.models[0]),
            "comparison": lambda: comparison(study, given.models),
            "curves": lambda: curves(study, given.models),
        }
        for name, show in pages.items():
            show()
            page.wait_for_timeout(DRAWING_MS)
            page.get_by_role("button", name="MLflow Assistant").evaluate_all("all => all.forEach(one => one.remove())")
            _write(page.screenshot(), FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
