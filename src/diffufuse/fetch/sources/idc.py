"""Collections of the Imaging Data Commons, with the downloader and the index of its client."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch import tether
from diffufuse.fetch.disk import hidden_near, require_space
from diffufuse.fetch.extent import Extent
from diffufuse.logs import PROGRESS, Progress, bytes_text

BATCH_BYTES = 500_000_000
ROUNDS = 3
SECONDS_BETWEEN_LOOKS = 2.0
COLUMNS = {
    "PatientID": "patient",
    "Modality": "modality",
    "SeriesInstanceUID": "uid",
    "series_aws_url": "address",
    "instanceCount": "files",
    "series_size_MB": "bytes",
    "license_short_name": "license",
}


@dataclass(frozen=True)
class Series:
    """One series of the index.

    Attributes:
        patient: PatientID, used as folder name.
        modality: DICOM modality.
        uid: SeriesInstanceUID; not used in paths and messages.
        identifier: of this version of the series in the commons; used as folder name.
        files: number of instances.
        bytes: total size of the instances.
        license: short name of the license.
        address: of its files in the public bucket, with a wildcard.
    """

    patient: str
    modality: str
    uid: str
    identifier: str
    files: int
    bytes: int
    license: str
    address: str

    @property
    def folder(self) -> str:
        """Path of the series below the raw folder."""
        return f"{self.patient}/{self.modality}_{self.identifier}"


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Download all series that are missing or incomplete, many files at once.

    Batches are downloaded into a hidden folder beside the raw folder; series with the number of files and bytes of the
    index are then moved to `{PatientID}/{Modality}_{identifier}`.

    Args:
        raw: the raw folder.
        source: `collection`, and `filters`, column of the index → values to select.
        study_seed: not used.

    Raises:
        BadInput: the collection is not in the index, the disk is too small, or series are incomplete.
    """
    series = _listed(source)
    missing = [one for one in series if not _whole(one, raw / one.folder)]
    if not missing:
        return
    PROGRESS.info("Fetching %d of %d series of %s", len(missing), len(series), source["collection"])
    require_space(raw, sum(one.bytes for one in missing), what=f"{len(missing)} series")
    left = _downloaded(raw, missing)
    if left:
        raise BadInput(
            f"{raw}: expected {len(missing)} series of {source['collection']}, but {len(left)} did not come whole, "
            f"{left[0].folder} for one; see in the log what the downloader said, and fetch again, which goes on from "
            "what is whole."
        )


def extent(source: Mapping[str, Any]) -> Extent:
    """Size of the collection, from the index in `idc-index-data`; the network is not used."""
    series = _listed(source)
    licenses = ", ".join(sorted({one.license for one in series}))
    return Extent(len({one.patient for one in series}), len(series), sum(one.bytes for one in series), licenses)


def address(source: Mapping[str, Any]) -> str:
    """Source of the data, with the filters."""
    chosen = [f"{column}={','.join(map(str, values))}" for column, values in sorted(source.get("filters", {}).items())]
    return "idc:" + "?".join([source["collection"], *chosen])


def _listed(source: Mapping[str, Any]) -> list[Series]:
    import idc_index_data
    import pandas as pd

    filters = {"collection_id": [source["collection"]]} | dict(source.get("filters", {}))
    table = pd.read_parquet(
        str(idc_index_data.IDC_INDEX_PARQUET_FILEPATH),
        columns=list(COLUMNS),
        filters=[(column, "in", values) for column, values in filters.items()],
    )
    if table.empty:
        raise BadInput(
            f"Imaging Data Commons: expected series of {address(source)} in the index of idc-index-data "
            f"{idc_index_data.__version__}, got none; correct the source in config/datasets.yaml."
        )
    rows = table.rename(columns=COLUMNS).sort_values(["patient", "address"]).to_dict("records")
    return [_series(row) for row in rows]


def _series(row: Mapping[Any, Any]) -> Series:
    """A series from a row of the index; sizes in MB have six decimals, so they are exact in bytes."""
    facts = {name: row[name] for name in ("patient", "modality", "uid", "license", "address")}
    identifier = row["address"].split("/")[3]
    return Series(identifier=identifier, files=int(row["files"]), bytes=round(float(row["bytes"]) * 1e6), **facts)


def _whole(series: Series, folder: Path) -> bool:
    sizes = [path.stat().st_size for path in folder.glob("*.dcm")] if folder.is_dir() else []
    return len(sizes) == series.files and sum(sizes) == series.bytes


def _downloaded(raw: Path, missing: list[Series]) -> list[Series]:
    """Download in batches, repeating incomplete series, and return those still missing."""
    staging = hidden_near(raw, "partial")
    progress, total = Progress("Download", sum(one.bytes for one in missing), unit="bytes"), len(missing)
    done = 0
    for _ in range(ROUNDS):
        left: list[Series] = []
        for batch in _batches(missing):
            received = _download_batch(batch, staging, raw, progress, done)
            done += sum(one.bytes for one in received)
            left += [one for one in batch if one not in received]
            if not received:
                return [one for one in missing if not _whole(one, raw / one.folder)]
        PROGRESS.info("%d of %d series are whole, %s", total - len(left), total, bytes_text(done))
        if not left:
            return []
        missing = left
    return missing


def _batches(series: list[Series]) -> Iterator[list[Series]]:
    batch: list[Series] = []
    for one in series:
        batch.append(one)
        if sum(other.bytes for other in batch) >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _download_batch(batch: list[Series], staging: Path, raw: Path, progress: Progress, done: int) -> list[Series]:
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with _watched(staging, progress, done):
            _run_downloader(batch, staging)
        received = [one for one in batch if _whole(one, staging / one.identifier)]
        for one in received:
            shutil.rmtree(raw / one.folder, ignore_errors=True)
            (raw / one.folder).parent.mkdir(parents=True, exist_ok=True)
            (staging / one.identifier).replace(raw / one.folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return received


def _run_downloader(batch: list[Series], staging: Path) -> None:
    """Download the series of a batch into `staging/{identifier}`; errors of the downloader go to the log.

    The client is not used for this, as its downloader continues after a job is killed.
    """
    from idc_index import index

    commands = staging / "commands"
    lines = [f"cp {_quoted(one.address)} {_quoted(f'{staging / one.identifier}/')}\n" for one in batch]
    commands.write_text("".join(lines))
    arguments = ["--no-sign-request", "--endpoint-url", index.aws_endpoint_url, "run", str(commands)]
    with_job = [sys.executable, "-I", str(tether.__file__), str(os.getpid()), _downloader(), *arguments]
    subprocess.run(with_job, stdout=subprocess.DEVNULL, check=False)
    commands.unlink()


def _quoted(text: str) -> str:
    """The text quoted for a command file of s5cmd."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _downloader() -> str:
    """Path of the s5cmd program that is installed with the client, not of its wrapper script."""
    files = distribution("s5cmd").files or []
    executables = [str(file.locate()) for file in files if file.as_posix().startswith("s5cmd/bin/s5cmd")]
    return (executables or [shutil.which("s5cmd") or "s5cmd"])[0]


@contextmanager
def _watched(folder: Path, progress: Progress, done: int) -> Iterator[None]:
    """Report the progress of a download from the size of its folder."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            progress.step(done + sum(path.stat().st_size for path in folder.rglob("*.dcm")))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
