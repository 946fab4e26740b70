"""What an experiment changes of a configuration, laid over it as Snakemake lays one file over another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.study.yaml_files import read_yaml

CHANGES = "config/changes.yaml"


def read_changes(folder: Path) -> dict[str, Any]:
    """What is changed of the configuration in a repository, by part.

    Args:
        folder: the repository.

    Raises:
        BadInput: the file is not what it looks like; see `read_yaml`.
    """
    return read_yaml(folder / CHANGES)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with the values of another one; mappings are joined key by key, anything else is replaced.

    Args:
        below: is not changed.
        above: has the values that win.
    """
    joined = dict(below)
    for key, value in above.items():
        beneath = joined.get(key)
        both = isinstance(value, Mapping) and isinstance(beneath, Mapping)
        joined[key] = laid_over(beneath, value) if both else value  # type: ignore[arg-type]
    return joined
