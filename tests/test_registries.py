"""A name in the config has its code, and a piece of code has its place in the config: both ways."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.fetch.sources import SOURCES
from diffufuse.ingest.formats import FORMATS
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.models import MODELS
from diffufuse.report.figures import FIGURES
from diffufuse.report.tables import TABLES
from diffufuse.study.check import check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.cohorts import read_cohort

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
CATALOG = {
    part: yaml.safe_load((CONFIG / f"{part}.yaml").read_text())[part] for part in ("datasets", "conditions", "models")
}
STUDY = yaml.safe_load((CONFIG / "config.yaml").read_text())["study"]
NO_STUDIES = {"changes.yaml", *(f"{part}.yaml" for part in CATALOG)}
STUDIES = sorted({"config.yaml", *(path.name for path in CONFIG.glob("*.yaml"))} - NO_STUDIES)

SHEETS = {path.stem for path in (CONFIG / "cohorts").glob("*.tsv")}


def study_of(name):
    """A study as Snakemake sees it: laid over the default one."""
    return STUDY | yaml.safe_load((CONFIG / name).read_text())["study"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_makes_sense(name):
    study = study_of(name)
    check_study(CATALOG | {"study": study}, CONFIG / "cohorts", code=Code(ROOT / "src", ROOT / "workflow" / "scripts"))
    assert set(study["metrics"]) <= set(ALL_METRICS)
    assert set(study["figures"]) <= set(FIGURES)
    assert set(study["tables"]) <= set(TABLES)
    assert name in ("config.yaml", f"{study['name']}.yaml")


def test_datasets_have_a_format_and_a_source_and_the_other_way_round():
    assert {block["format"] for block in CATALOG["datasets"].values()} == set(FORMATS)
    assert {block["source"]["kind"] for block in CATALOG["datasets"].values()} == set(SOURCES)


def test_cohort_sheets_are_those_of_the_studies_and_of_transfers_that_can_be_scored():
    studies = [study_of(name) for name in STUDIES]
    studied = {name for study in studies for name in study["datasets"]}
    transferred = {name for study in studies for name in study.get("transfers", ())}
    assert studied | transferred <= set(CATALOG["datasets"])
    scored = {name for name in transferred if "lesion" in CATALOG["datasets"][name]}
    pictures = {name for name, block in CATALOG["datasets"].items() if block["format"] == "pairs"}
    assert studied | scored | pictures == SHEETS


def test_models_and_corruptions_have_a_block_and_the_other_way_round():
    blocks = CATALOG["models"].values()
    assert {block["architecture"] for block in blocks if "architecture" in block} == set(MODELS)
    others = {block.get("weights_of") or block.get("predictions_of") for block in blocks if "architecture" not in block}
    assert all("architecture" in CATALOG["models"][name] for name in others)
    used = {block["corruption"] for block in CATALOG["conditions"].values() if "corruption" in block}
    assert used == set(CORRUPTIONS | REMOVALS)


def test_regions_join_labels_that_exist_and_references_are_modalities():
    for name, block in CATALOG["datasets"].items():
        if block["format"] == "pairs":
            continue
        for values in block["regions"].values():
            assert set(values) <= set(block["labels"].values()), name
        assert block["reference"] in block["modalities"], name
        named = {*block["annotation"].get("rois", ()), *block["annotation"].get("values", {}).values()}
        assert named == set(block["labels"]), name
        assert {*block["annotation"].get("optional", ())} < named, name
        assert block["annotation"].get("drawn_on", block["reference"]) in block["modalities"], name
        for modality in block["modalities"].values():
            assert modality.get("follows", block["reference"]) in block["modalities"], name


def test_every_metric_and_architecture_names_its_source():
    assert all(metric.source for metric in ALL_METRICS.values())
    assert all(name == metric.name for name, metric in ALL_METRICS.items())
    for model in MODELS.values():
        assert re.search("arXiv|doi", inspect.getmodule(model).__doc__ or ""), model


def test_every_figure_has_a_caption():
    captions = (CONFIG.parent / "workflow" / "report" / "figure.rst").read_text()
    assert all(f'"{name}":' in captions for name in FIGURES)


@pytest.mark.parametrize("name", sorted(SHEETS))
def test_no_fold_tests_what_it_learned_from(name):
    cohort = read_cohort(CONFIG / "cohorts" / f"{name}.tsv")
    patients = {case.name: case.patient for case in cohort.cases}
    for fold in cohort.folds:
        tested = {patients[case] for case in cohort.test(fold)}
        learned = {patients[case] for case in cohort.training(fold) + cohort.validation(fold)}
        assert not tested & learned
