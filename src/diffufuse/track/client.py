"""The MLflow tracking store, and the run of a path in it."""

import fcntl
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from diffufuse.errors import BadInput

LOCK = ".lock"
SECONDS_TO_ANSWER = 5


@contextmanager
def opened_store(folder: str | os.PathLike[str], *, patience_s: int = SECONDS_TO_ANSWER) -> Iterator[MlflowClient]:
    """Open the store, created if there is none: `MLFLOW_TRACKING_URI` if set, else `mlflow.db` in the folder.

    Args:
        folder: of the store's database and artifacts; created if missing.
        patience_s: time for an answer, after a first one within `SECONDS_TO_ANSWER`.

    Raises:
        BadInput: the address holds a user or a password; or MLflow fails, or does not answer, now or while it is used.
    """
    uri, folder = require_address(folder), Path(folder)
    _wait_for_answers(SECONDS_TO_ANSWER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:  # two jobs that create the tables of one database at once break it
            fcntl.flock(lock, fcntl.LOCK_EX)
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
        _wait_for_answers(patience_s)
        yield client
    except (MlflowException, OSError) as error:
        raise BadInput(
            f"MLflow at {uri}: expected it to take a run, got: {str(error).splitlines()[0]} No result is lost, as all "
            "are in files. When MLflow answers, or with MLFLOW_TRACKING_URI unset, run `snakemake track`."
        ) from None


def _wait_for_answers(seconds: int) -> None:
    """Let each call of MLflow, which tries for a quarter of an hour, wait so long for its answer, once."""
    os.environ.update(MLFLOW_HTTP_REQUEST_TIMEOUT=str(seconds), MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")


def ensure_experiment(client: MlflowClient, folder: str | os.PathLike[str], name: str) -> None:
    """Create an experiment, with its artifacts in the store's folder, unless it exists.

    Args:
        client: of the store.
        folder: of the store.
        name: of the experiment.
    """
    if client.get_experiment_by_name(name) is not None:
        return
    artifacts = (Path(folder) / "artifacts" / name).absolute().as_uri()
    try:
        client.create_experiment(name, artifact_location=artifacts)
    except MlflowException:  # another job may have created it meanwhile
        if client.get_experiment_by_name(name) is None:
            raise


def require_address(folder: str | os.PathLike[str]) -> str:
    """The address of the store: `MLFLOW_TRACKING_URI` if set, else the database in the folder.

    Raises:
        BadInput: it holds a user or a password, which logs and error messages would expose.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(Path(folder) / 'mlflow.db').as_posix()}")
    try:
        address = urlsplit(uri)
    except ValueError:
        raise BadInput(
            "MLFLOW_TRACKING_URI: expected an address or a folder, got what is neither; correct it."
        ) from None
    if address.username or address.password or parse_qsl(address.query, keep_blank_values=True):
        raise BadInput(
            "MLFLOW_TRACKING_URI: expected an address without user, password and parameters, which logs would show; "
            f"got one at {address.hostname}. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead, or "
            "PGPASSWORD for a database."
        )
    return uri


def _runs(client: MlflowClient, experiment: str, path: str) -> tuple[str, list[Run]]:
    existing = client.get_experiment_by_name(experiment)
    if existing is None:
        raise MlflowException(f"expected an experiment {experiment}, but there is none")
    identity = existing.experiment_id
    return identity, client.search_runs([identity], f"tags.path = '{path}'")


def forget(client: MlflowClient, experiment: str, path: str) -> None:
    """Delete the runs of a path."""
    for run in _runs(client, experiment, path)[1]:
        client.delete_run(run.info.run_id)


def find_or_create(client: MlflowClient, experiment: str, path: str) -> Run:
    """The run with the tag `path`, created if there is none."""
    identity, runs = _runs(client, experiment, path)
    return runs[0] if runs else client.create_run(identity, run_name=path.split("/", 2)[-1], tags={"path": path})


def points(step: int, values: Mapping[str, float], started_unix_s: float) -> list[Metric]:
    """MLflow metrics of one step, without undefined values."""
    # The time is derived from the step, so that replaying a curve writes the same points again.
    time_ms = int(started_unix_s * 1000) + int(step)
    return [Metric(key, value, time_ms, int(step)) for key, value in values.items() if not math.isnan(value)]
