"""The MLflow store: a database in a folder, or a server."""

import fcntl
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.entities import LoggedModel, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.track.address import require_address

LOCK = ".lock"
SECONDS_TO_ANSWER = 5
SQLITE = "sqlite:///"
# An address below this one is found by whichever server has the artifacts, wherever the folder was moved.
PROXIED = "mlflow-artifacts:/"
# So that a browser opens the pages of trained models, not those of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: talks to it.
        folder: of the database and its artifacts.
        served: whether a server has both, in place of the folder.
    """

    client: MlflowClient
    folder: Path
    served: bool

    def experiment(self, name: str) -> str:
        """The id of an experiment, created if there is none."""
        found = self.client.get_experiment_by_name(name)
        try:
            return found.experiment_id if found else self._create_experiment(name)
        except MlflowException:  # another job may have created it meanwhile
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _create_experiment(self, name: str) -> str:
        place = None if self.served else f"{PROXIED}{name}"
        return str(self.client.create_experiment(name, place, KIND))

    def runs(self, experiment: str, path: str) -> list[Run]:
        """The runs of an experiment, by its id, whose tag `path` is that."""
        return list(self.client.search_runs([experiment], f"tags.path = '{path}'"))

    def forget(self, run: Run) -> None:
        """Delete a run and its artifacts; on a server, they are in its trash until `mlflow gc`."""
        self.client.delete_run(run.info.run_id)
        if not self.served:
            # What `mlflow gc` does in a process of its own, for seconds.
            self.client._tracking_client.store._hard_delete_run(run.info.run_id)
            shutil.rmtree(self._artifacts(run).parent, ignore_errors=True)

    def keep(self, run: Run, file: str | os.PathLike[str], folder: str) -> None:
        """Copy a file to a folder of the run's artifacts."""
        if self.served or not run.info.artifact_uri.startswith(PROXIED):
            self.client.log_artifact(run.info.run_id, str(file), folder)
        else:
            target = self._artifacts(run) / folder
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / Path(file).name)

    def keep_model(self, model: LoggedModel, made: Path, weights: Iterable[Path], place: str) -> None:
        """Copy a model to its artifacts.

        Args:
            model: to keep.
            made: its folder, without its weights.
            weights: files, which are linked, not copied, where the store is on their disk.
            place: the folder of the weights in that of the model.
        """
        if self.served or not model.artifact_location.startswith(PROXIED):
            self.client.log_model_artifacts(model.model_id, str(made))
            for file in weights:
                self.client.log_model_artifact(model.model_id, str(file), place)
            return
        target = self._place(model.artifact_location)
        shutil.copytree(made, target, copy_function=shutil.copyfile)
        for file in weights:
            _link(file, target / place / file.name)

    def forget_model(self, model: LoggedModel) -> None:
        """Delete a model and its artifacts; on a server, they are in its trash until `mlflow gc`."""
        self.client.delete_logged_model(model.model_id)
        if not self.served:
            self.client._tracking_client.store._hard_delete_logged_model(model.model_id)
            shutil.rmtree(self._place(model.artifact_location).parent, ignore_errors=True)

    def _artifacts(self, run: Run) -> Path:
        return self._place(run.info.artifact_uri)

    def _place(self, address: str) -> Path:
        return self.folder / "artifacts" / address.removeprefix(PROXIED)


def _link(file: Path, target: Path) -> None:
    """A second name of a file that is only ever replaced, never written to; a copy on another disk."""
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)


@contextmanager
def opened_store(folder: str | os.PathLike[str], *, patience_s: int = SECONDS_TO_ANSWER) -> Iterator[Store]:
    """Open the store, created if there is none: `MLFLOW_TRACKING_URI` if set, else `mlflow.db` in the folder.

    Args:
        folder: of the store's database and artifacts; created if missing.
        patience_s: time for an answer, after a first one within `SECONDS_TO_ANSWER`.

    Raises:
        BadInput: the address holds a user or a password; or MLflow fails, or does not answer, now or while it is used.
    """
    uri, folder = require_address(folder), Path(folder)
    served = urlsplit(uri).scheme in ("http", "https")
    _wait_for_answers(SECONDS_TO_ANSWER)
    try:
        client = _answering(uri) if served else _with_tables(uri, folder)
        _wait_for_answers(patience_s)
        yield Store(client, folder, served)
    except (MlflowException, OSError) as error:
        raise BadInput(
            f"MLflow at {uri}: expected it to take a run, got: {str(error).splitlines()[0]} No result is lost, as all "
            "are in files. When MLflow answers, or with MLFLOW_TRACKING_URI unset, run `snakemake track`."
        ) from None


def _answering(uri: str) -> MlflowClient:
    client = MlflowClient(uri)
    client.search_experiments(max_results=1)
    return client


def _with_tables(uri: str, folder: Path) -> MlflowClient:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:  # two jobs that create the tables of one database at once break it
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_database(uri)
        return _answering(uri)


def _make_database(uri: str) -> None:
    """Make a database that is not there yet, all its tables or none: MLflow cannot go on where a killed job stopped."""
    database = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not database.exists():
        with atomic_path(database) as partial:
            _answering(f"{SQLITE}{partial}")


def _wait_for_answers(seconds: int) -> None:
    """Let each call of MLflow, which tries for a quarter of an hour, wait so long for its answer, once."""
    os.environ.update(MLFLOW_HTTP_REQUEST_TIMEOUT=str(seconds), MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")


def points(step: int, values: Mapping[str, float], started_unix_s: float) -> list[Metric]:
    """MLflow metrics of one step, without undefined values."""
    # The time is derived from the step, so that replaying a curve writes the same points again.
    time_ms = int(started_unix_s * 1000) + int(step)
    return [Metric(key, float(value), time_ms, int(step)) for key, value in values.items() if not math.isnan(value)]
