"""The repository's own studies, whole or changed, and jobs of every rule, as Snakemake asks a study about them."""

import copy
import functools
import re
from pathlib import Path

import yaml
from snakemake.iocontainers import Wildcards

from diffufuse.study.read import read_study

ROOT = Path(__file__).parents[1]
PARTS = ("config", "datasets", "conditions", "models")
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))


@functools.cache
def _read(name):
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


def configuration(file=None, /, **study):
    """The configuration as Snakemake merges it: the default one, a study laid over it, and changes of its block."""
    merged = copy.deepcopy({key: value for part in PARTS for key, value in _read(part).items()})
    merged["study"] |= copy.deepcopy(_read(file)["study"] if file else {}) | study
    return merged


def study_of(file=None, /, *, folder=ROOT, **study):
    """A study of the repository; the working directory must be one with `config/cohorts/`."""
    return read_study(configuration(file, **study), folder)


def job(**wildcards):
    """The wildcards of a job."""
    return Wildcards(fromdict=wildcards)


def codes_of_rules():
    """Rule to the script whose code it asks for, or `source`; None for a rule that does not ask for its code."""
    found = {}
    for block in re.split(r"^rule (?=\w+:)", RULES, flags=re.M)[1:]:
        script, code = re.search(r"\.\./scripts/(\w+\.py)", block), re.search(r"code=STUDY\.code_of(.*),\n", block)
        if script:
            told = {"_source": "source", f'("{script[1]}")': script[1]}
            found[block.split(":")[0]] = code and told[code[1]]
    return found
