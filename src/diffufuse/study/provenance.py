"""Provenance of results: commit and versions."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import diffufuse

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "antspyx", "pydicom", "nibabel", "snakemake")


def commit() -> str:
    """The Git commit of the code that runs, with `-dirty` if it was edited; `unknown` outside a repository."""
    try:
        completed = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return completed.stdout.strip()


def versions() -> dict[str, str]:
    """Version of Python, of this library and of the packages that numbers depend on."""
    return {"python": platform.python_version(), "diffufuse": diffufuse.__version__, **package_versions(PACKAGES)}


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package, by its name in lower case."""
    return {name.lower(): importlib.metadata.version(name) for name in packages}
