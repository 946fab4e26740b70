"""Where the MLflow store is, and whether that place is one for it."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from diffufuse.errors import BadInput


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
