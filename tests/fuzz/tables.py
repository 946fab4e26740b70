"""Tables and texts that people edit, through the readers of the study and the report."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from diffufuse.files.sheets import write_sheet
from diffufuse.files.tables import read_table, write_table
from diffufuse.report.published import Release, read_published, write_published
from diffufuse.report.reported import COLUMNS, read_reported
from diffufuse.study.cohorts import Case, Cohort, read_cohort, write_cohort
from diffufuse.study.dataset_values import check_alike, check_dataset
from diffufuse.study.forms import check_form
from diffufuse.study.yaml_files import read_yaml
from diffufuse.train.history import HISTORY
from fuzz import Target

ROOT = Path(__file__).parents[2]
SCHEMA = read_yaml(ROOT / "workflow" / "schemas" / "datasets.schema.yaml")
COHORT = Cohort(
    tuple(Case(f"PH-{n:03d}", f"PH-{n // 2:03d}", n // 2 % 3, (n // 2 + 1) % 3, "Zürich" * (n % 2)) for n in range(12)),
    (Case("PH-100", "PH-100", None, None, "", "T1 ends within the tumor"), Case("PH-101", "PH-002", 2, 0, "", "moved")),
)
VALUES = [
    ["segmentation", "1", "unet2d", "dice", "78.4", "%", "sts", ""],
    ["segmentation", "1", "unet2d", "hd95", "5.4", "mm", "sts", ""],
    ["robustness", "3", "gauss-0.5", "dice change", "-7.9", "points", "sts", "The difference of the printed is -7.8."],
    ["comparison", "8", "transbts", "dice p", "< 0.001", "1", "-", ""],
]


def make_cohort(folder: Path) -> None:
    write_cohort(COHORT, folder / "phantom.tsv")


def read_cases(folder: Path) -> Mapping[str, object]:
    cohort = read_cohort(folder / "phantom.tsv")
    return {"cases": cohort.cases, "excluded": cohort.excluded}


def make_values(folder: Path) -> None:
    write_sheet(folder / "reported.tsv", COLUMNS, VALUES)


def read_values(folder: Path) -> Mapping[str, object]:
    return {"values": read_reported(folder / "reported.tsv").to_dict("records")}


def make_scores(folder: Path) -> None:
    release = Release("harvard_pet_mri", "theirs", "Matched: 3 of 4.")
    values = {"model": "theirs", "pair": ["a", "b", "c"], "metric": "qabf", "value": [0.5, 0.6, 0.7]}
    write_published([(release, pd.DataFrame(values))], folder / "published_images.tsv")


def read_scores(folder: Path) -> Mapping[str, object]:
    return {"scores": read_published(folder / "published_images.tsv").to_dict("records")}


def make_block(folder: Path) -> None:
    lines = (ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("  sts_ibsi:"))
    (folder / "datasets.yaml").write_text("\n".join(lines[:end]) + "\n", encoding="utf-8")


def read_block(folder: Path) -> Mapping[str, object]:
    """As `read_study` checks a catalogue; a value, or a key that may be left out, is guarded by Git alone."""
    content = read_yaml(folder / "datasets.yaml")
    blocks = content.get("datasets")
    check_form(blocks, SCHEMA, where="datasets")
    for name, block in blocks.items():
        check_dataset(name, block)
    check_alike(blocks)
    return {"values": content, "kinds": sorted(set(_kinds(content)))}


def _kinds(content: Mapping[str, Any]) -> list[str]:
    """What only one of a few words can be: format, source, kinds and methods."""
    found = []
    for block in content["datasets"].values():
        found += [block["format"], block["source"]["kind"]]
        found += [
            text for one in block["modalities"].values() for text in (one["kind"], one["normalization"]["method"])
        ]
    return found


def make_table(folder: Path) -> None:
    rows = [{"step": step, "quantity": "loss", "value": 0.5 * step, "unit": "1"} for step in range(40)]
    write_table(pd.DataFrame(rows), folder / "history.parquet", HISTORY)


def read_rows(folder: Path) -> Mapping[str, object]:
    return {"rows": read_table(folder / "history.parquet", HISTORY).to_dict("records")}


def copied(make: Callable[[Path], None], name: str) -> Callable[[Path], None]:
    """Write the file once and copy it from then on: a file that is written safely waits for the disk."""

    @cache
    def content() -> bytes:
        with TemporaryDirectory() as folder:
            make(Path(folder))
            return (Path(folder) / name).read_bytes()

    return lambda folder: (folder / name).write_bytes(content()) and None


TARGETS = [
    Target("cohort sheet", copied(make_cohort, "phantom.tsv"), "phantom.tsv", read_cases),
    Target("values of the paper", copied(make_values, "reported.tsv"), "reported.tsv", read_values),
    Target(
        "scores of published images", copied(make_scores, "published_images.tsv"), "published_images.tsv", read_scores
    ),
    Target("table of results", copied(make_table, "history.parquet"), "history.parquet", read_rows),
    Target(
        "block of a dataset", copied(make_block, "datasets.yaml"), "datasets.yaml", read_block, unprotected=("values",)
    ),
]
