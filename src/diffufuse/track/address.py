"""Where the MLflow store is, and whether that place is one for it."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from diffufuse.errors import BadInput

# Types of file systems, as `/proc/mounts` names them, on which SQLite's locks are slow or do not hold.
NETWORK = {
    *("nfs", "nfs4", "lustre", "beegfs", "beegfs_nodev", "gpfs", "cifs", "smb3", "smbfs"),
    *("ceph", "glusterfs", "afs", "panfs", "pvfs2", "sshfs", "9p"),
}


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


def require_shareable(folder: str | os.PathLike[str], *, cluster: bool, mounts: str = "/proc/mounts") -> None:
    """Check that the jobs of a cluster may write to the store at once.

    Args:
        folder: of the store.
        cluster: whether several machines write to it.
        mounts: the list of mounted file systems; where there is none, nothing is checked.

    Raises:
        BadInput: it is an SQLite database on a network file system; or the address holds a user or a password.
    """
    uri = require_address(folder)
    if not cluster or not uri.startswith("sqlite:") or not Path(mounts).exists():
        return
    database = Path(uri.removeprefix("sqlite:///")).absolute()
    kind = file_system_of(database, Path(mounts).read_text())
    if kind.removeprefix("fuse.") in NETWORK:
        raise BadInput(
            f"{database}: expected MLflow's database on a disk of one machine, got it on {kind}, where the jobs of a "
            "cluster lock each other out; start `make server` where all of them reach it, and set MLFLOW_TRACKING_URI "
            "to its address (docs/mlflow.md)."
        )


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system that a path lies on, which need not exist.

    Args:
        path: absolute; links are followed.
        mounts: in the form of `/proc/mounts`: device, folder, type, options; a later line lies over an earlier one.
    """
    resolved, found, longest = path.resolve(), "", -1
    for line in mounts.splitlines():
        _, folder, kind, *_ = line.split()
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), folder))
        if resolved.is_relative_to(mounted) and len(mounted.parts) >= longest:
            found, longest = kind, len(mounted.parts)
    return found
