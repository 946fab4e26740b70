"""What DVC is told of a study: `python -m diffufuse.study.vault STUDY` writes `params.yaml`, without STUDY checks it.

DVC can ask neither a study for its datasets nor a dataset for its terms, so its stages take both from that file.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.study.changes import CHANGES, laid_over
from diffufuse.study.read import PARTS, read_study
from diffufuse.study.study import Study
from diffufuse.study.yaml_files import read_yaml

PARAMETERS = "params.yaml"


def vault_parameters(study: Study) -> dict[str, Any]:
    """What `params.yaml` holds of a study.

    Returns:
        `study`, its name; `shared`, its datasets that may be passed on; `kept`, those that may not.
    """
    may = {name: bool(study.config["datasets"][name].get("shareable", False)) for name in study.cohorts}
    return {
        "study": study.name,
        "shared": [name for name in may if may[name]],
        "kept": [name for name in may if not may[name]],
    }


def write_parameters(parameters: Mapping[str, Any], path: Path) -> None:
    """Write `params.yaml`, from `vault_parameters`."""
    study, shared, kept = parameters["study"], ", ".join(parameters["shared"]), ", ".join(parameters["kept"])
    title = f"# What DVC runs, by `make choose STUDY={study}`: a study, and which of its datasets may be passed on."
    with atomic_path(path) as partial:
        partial.write_text(f"{title}\nstudy: {study}\nshared: [{shared}]\nkept: [{kept}]\n", encoding="utf-8")


def require_parameters(path: Path, study: Study) -> None:
    """Check that `params.yaml` has the datasets of its study, as the configuration is now.

    Raises:
        BadInput: it has others, so that DVC would lose a dataset or pass on what must stay.
    """
    told, expected = read_yaml(path), vault_parameters(study)
    if told != expected:
        raise BadInput(
            f"{path}: expected the datasets of the study {study.name}, shared {expected['shared']} and kept "
            f"{expected['kept']}, got {told.get('shared')} and {told.get('kept')}; "
            f"run `make choose STUDY={study.name}`."
        )


def read_named(name: str) -> Study:
    """Read a study of the repository that is the working directory, with the changes of an experiment.

    Args:
        name: of its file in `config/`.

    Raises:
        BadInput: see `read_study`.
    """
    config: dict[str, Any] = {}
    for part in (*(f"config/{part}.yaml" for part in PARTS), f"config/{name}.yaml", CHANGES):
        config = laid_over(config, read_yaml(part))
    return read_study(config, Path.cwd())


def main(arguments: Sequence[str]) -> int:
    """Write the parameters of a study, or check those that are there.

    Args:
        arguments: the name of a study, or nothing.

    Returns:
        Exit status.
    """
    path = Path(PARAMETERS)
    try:
        if arguments:
            write_parameters(vault_parameters(read_named(arguments[0])), path)
        else:
            require_parameters(path, read_named(str(read_yaml(path).get("study"))))
    except BadInput as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
