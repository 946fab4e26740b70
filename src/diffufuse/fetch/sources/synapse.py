"""Files of Synapse, with its client, for users with an account who have accepted the terms.

The client reads the token from SYNAPSE_AUTH_TOKEN or `~/.synapseConfig`; this package does not access it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import FullDisk, download_folder, full_disk_reported, require_space, staged_folder
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.unpacking import is_archive, unpack
from diffufuse.logs import PROGRESS


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Download the archives and unpack them.

    Args:
        raw: the raw folder, replaced as a whole; several archives are unpacked into one folder per entity id.
        source: `entities`, the Synapse ids of the archives; `folder` and `only` as in `unpack`.
        study_seed: not used.

    Raises:
        BadInput: there is no token, the terms are not accepted, a download fails, or an archive is not valid.
    """
    archives = _downloaded(source["entities"], download_folder(raw))
    choice = {name: source.get(name) for name in ("folder", "only")}
    try:
        if len(archives) == 1:
            unpack(archives[0], raw, **choice)
            return
        with staged_folder(raw) as joined:
            for entity, archive in zip(source["entities"], archives, strict=True):
                unpack(archive, joined / entity, **choice)
    except FullDisk:
        raise
    except BadInput:
        for archive in archives:
            archive.unlink(missing_ok=True)
        raise


def extent(source: Mapping[str, Any]) -> Extent:
    """Size of the data, as configured; Synapse reports it only with an account."""
    return Extent(cases=source.get("cases"), bytes=source.get("bytes"))


def address(source: Mapping[str, Any]) -> str:
    """Source of the data: the entity ids."""
    return "synapse:" + ",".join(source["entities"])


def _downloaded(entities: list[str], folder: Path) -> list[Path]:
    from synapseclient import Synapse
    from synapseclient.core.exceptions import SynapseError

    folder.mkdir(parents=True, exist_ok=True)
    try:
        client = Synapse(
            configPath=str(Path.home() / ".synapseConfig"),
            cache_root_dir=str(folder / "cache"),
            skip_checks=True,
            silent=True,
            cache_client=False,
        )
        client.login(silent=True)
        return [_download(client, entity, folder / entity) for entity in entities]
    except BadInput:
        raise
    except (SynapseError, OSError, ValueError) as error:
        raise BadInput(
            f"Synapse {', '.join(entities)}: expected to download, got {type(error).__name__}; set SYNAPSE_AUTH_TOKEN "
            "(or ~/.synapseConfig) to a token that may view and download, accept the dataset's terms, or name a copy "
            "of your own with --config mirror=FOLDER."
        ) from None


def _download(client: Any, entity: str, folder: Path) -> Path:
    from synapseclient.models import File

    PROGRESS.info("Asking Synapse for %s", entity)
    listed = File(id=entity, download_file=False).get(synapse_client=client)
    handle = listed.file_handle
    size = int(handle.content_size or 0) if handle else 0
    there = folder / (listed.name or entity)
    require_space(folder, 2 * size - (size if there.exists() else 0), what=entity)
    with full_disk_reported(folder):
        got = File(id=entity, path=str(folder), if_collision="overwrite.local").get(synapse_client=client)
    path = Path(str(got.path))
    if not is_archive(path) or (size and path.stat().st_size != size):
        path.unlink(missing_ok=True)
        raise BadInput(
            f"Synapse {entity}: expected an archive (.zip, .tar, .tar.gz) of {size} bytes, got {path.name}; correct "
            "the source in config/datasets.yaml or fetch again."
        )
    return path
