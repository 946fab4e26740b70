"""Read and check a configuration."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.study.catalogues import check_catalogues
from diffufuse.study.changes import CHANGES, laid_over, read_changes
from diffufuse.study.check import check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.cohorts import Cohort
from diffufuse.study.forms import check_form
from diffufuse.study.study import Study
from diffufuse.study.yaml_files import read_yaml

PARTS = ("config", "datasets", "conditions", "models")


class Cohorts(dict[str, Cohort]):
    """Dataset to its cases, of the datasets of a study."""

    def __missing__(self, dataset: str) -> Cohort:
        """Refuse a dataset that the study does not have.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"{dataset}: expected a dataset of this study, one of {', '.join(self)}; name the study of "
            f"{dataset} by --configfile."
        )


def read_study(config: Mapping[str, Any], folder: Path) -> Study:
    """Check a configuration and read the cohorts that it names.

    Args:
        config: as Snakemake merged it.
        folder: the repository, with `config/`, `workflow/` and `src/`.

    Raises:
        BadInput: a part has not the form of its schema, a block of a catalogue cannot mean what it says, or the study
            makes no sense; see `check_catalogues` and `check_study`.
    """
    for part in PARTS:
        schema = read_yaml(folder / f"workflow/schemas/{part}.schema.yaml")
        check_form(config if part == "config" else config[part], schema, where=part)
    _require_shared(config, folder)
    # Integers of YAML and of the command line are one; a deep copy keeps Snakemake's own changes out.
    frozen = json.loads(json.dumps(config))
    code = Code(folder / "src", folder / "workflow" / "scripts")
    check_catalogues(frozen, code)
    return Study(frozen, Cohorts(check_study(frozen, Path("config/cohorts"), code=code)), code)


def check_texts(studies: Iterable[str | Path]) -> None:
    """Check the texts of a configuration before Snakemake reads them, as it lets the last of two equal keys win.

    Args:
        studies: files that lie over the default study, as `--configfile` names them.

    Raises:
        BadInput: a file is not what it looks like; see `read_yaml`.
    """
    for path in (*(Path(f"config/{part}.yaml") for part in PARTS), Path(CHANGES), *studies):
        read_yaml(path)


def _require_shared(config: Mapping[str, Any], folder: Path) -> None:
    """What all studies share is as its own file says: no path under results/ names the study that would change it."""
    own = read_yaml(folder / "config/config.yaml").get("seed")
    if config["seed"] != own:
        raise BadInput(
            f"seed: expected {own} as in config/config.yaml, got {config['seed']}; results lie at paths without "
            "it, so a study cannot set its own. For repeated trainings set study.seeds."
        )
    changes = read_changes(folder)
    for part in PARTS[1:]:
        catalogue = laid_over(read_yaml(folder / f"config/{part}.yaml").get(part, {}), changes.get(part, {}))
        for name, block in config[part].items():
            if block != catalogue.get(name):
                raise BadInput(
                    f"{part}.{name}: expected the block of config/{part}.yaml, got another from --config or a study's "
                    "file; results lie at paths that name blocks alone. Put a block of another name into that file."
                )
