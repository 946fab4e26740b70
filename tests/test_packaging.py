"""What is installed is what is used; and what a user is told who cannot install it."""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import diffufuse

ROOT = Path(__file__).parents[1]
PYTHONS = ["3.11", "3.12", "3.13"]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "requirements.in")

STEMS = ("requirements", "requirements-checks")
RUN, CHECKS = ("src", "workflow"), ("tests", "benchmarks")
# Required without an import in our code, and why.
NEVER_IMPORTED = {
    "requirements": {
        "dvc": "a program: the stages of dvc.yaml",
        "python-gdcm": "pydicom decodes compressed images by it",
        "snakemake-executor-plugin-slurm": "Snakemake loads it for the profile slurm",
        "tabulate": "pandas writes Markdown by it",
    },
    "requirements-checks": {
        "codespell": "a program",
        "dvc-s3": "DVC reaches S3 by it",
        "import-linter": "a program",
        "mypy": "a program",
        "pandas-stubs": "types for mypy",
        "pre-commit": "a program",
        "pydeps": "a program",
        "pytest-cov": "a plug-in of pytest",
        "pytest-timeout": "a plug-in of pytest",
        "pytest-xdist": "a plug-in of pytest",
        "ruff": "a program",
        "snakefmt": "a program",
        "types-psutil": "types for mypy",
        "types-pyyaml": "types for mypy",
    },
}
# Other tools of a benchmark, each with an environment of its own.
ELSEWHERE = ROOT / "benchmarks" / "peers"


def required(stem):
    """Requirements of one file, by canonical name."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / f"{stem}.in").read_text().splitlines())
    return {canonicalize_name(found.name): found for found in map(Requirement, filter(None, lines))}


def locked(stem):
    """Pinned version and hashes of each package in a lock."""
    entries = re.split(r"\n(?=\S)", (ROOT / f"{stem}.lock").read_text().replace("\\\n", ""))
    found = {}
    for entry in entries:
        pin, *hashes = re.split(r"\s+--hash=", entry.strip())
        requirement = Requirement(pin)
        found[canonicalize_name(requirement.name)] = (str(requirement.specifier), hashes)
    return found


def modules_of(path):
    """Top-level modules that a file imports, at any depth of its code."""
    text = path.read_text()
    if path.suffix == ".py":
        nodes = list(ast.walk(ast.parse(text)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    else:
        names = set(re.findall(r"^ *(?:import|from) ([\w.]+)", text, re.M))
    return {name.partition(".")[0] for name in names}


def imported(folders):
    """Modules of others that some folders import: which packages provide each, and a file that imports it."""
    owners, found = packages_distributions(), {}
    files = [file for name in folders for file in (ROOT / name).rglob("*") if file.suffix in {".py", ".smk"}]
    files = [file for file in files if ELSEWHERE not in file.parents]
    ours = {"diffufuse"} | {file.stem for file in files} | {file.parent.name for file in files}
    for file in files:
        for module in modules_of(file) - ours - set(sys.stdlib_module_names):
            assert module in owners, f"{file.relative_to(ROOT)} imports {module}, which nothing installed provides"
            found[module] = {canonicalize_name(owner) for owner in owners[module]}, file.relative_to(ROOT)
    return found


@pytest.mark.parametrize(
    ("folders", "stems"), [(RUN, ["requirements"]), (CHECKS, ["requirements", "requirements-checks"])]
)
def test_every_import_is_required_by_name(folders, stems):
    known = {name for stem in stems for name in required(stem)}
    assert not {module: file for module, (owners, file) in imported(folders).items() if not owners & known}


@pytest.mark.parametrize(("stem", "folders"), [("requirements", RUN), ("requirements-checks", CHECKS)])
def test_every_requirement_is_imported_or_has_a_reason(stem, folders):
    used = {owner for owners, _ in imported(folders).values() for owner in owners}
    assert set(required(stem)) - used == set(NEVER_IMPORTED[stem])


def test_nothing_is_required_or_locked_twice():
    for read in (required, locked):
        assert not set.intersection(*(set(read(stem)) for stem in STEMS))


def test_the_locks_pin_what_is_required_and_leave_torch_to_the_machine():
    pins = {name: pin for stem in STEMS for name, (pin, _) in locked(stem).items()}
    for name, requirement in {name: found for stem in STEMS for name, found in required(stem).items()}.items():
        assert (name == "torch") != (name in pins), name
        assert name == "torch" or requirement.specifier.contains(pins[name].removeprefix("==")), name
    assert not [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("stem", STEMS)
def test_every_pin_has_its_hashes(stem):
    for name, (pin, hashes) in locked(stem).items():
        assert re.fullmatch(r"==[\w.]+", pin), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), name


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs" / "diffufuse.yaml").read_text())
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r ../requirements.lock"]
    [torch] = [entry for entry in environment["dependencies"] if str(entry).startswith("pytorch=")]
    assert torch.replace("pytorch=", "==") == str(required("requirements")["torch"].specifier)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as `pip install .` would build it, without touching the checkout."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", folder]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    [path] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(wheel.read(name).decode())


def test_the_package_asks_for_what_it_runs_with(metadata):
    asked = {r for r in map(Requirement, metadata.get_all("Requires-Dist")) if "extra" not in str(r.marker)}
    assert asked == set(required("requirements").values())


def test_the_package_brings_its_types_and_all_of_its_modules(wheel):
    names = set(wheel.namelist())
    assert "diffufuse/py.typed" in names
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "diffufuse").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_package_names_the_pythons_that_make_accepts(metadata):
    classifiers = metadata.get_all("Classifier")
    prefix = "Programming Language :: Python :: "
    assert [name.removeprefix(prefix) for name in classifiers if name.startswith(prefix)] == PYTHONS
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    first, last = (int(version.removeprefix("3.")) for version in (PYTHONS[0], PYTHONS[-1]))
    assert asked == f">=3.{first},<3.{last + 1}"
    assert f"(3, {first}) <= sys.version_info < (3, {last + 1})" in (ROOT / "Makefile").read_text()


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages(diffufuse.__path__, "diffufuse."):
        importlib.import_module(module.name)


def stand_in(folder, version):
    """A python that claims to be of some version."""
    path = folder / "python that claims"
    path.write_text(f'#!/bin/sh\necho {version}\ncase "$*" in *sys.exit*) exit 1;; *) touch "{folder}/built";; esac\n')
    path.chmod(0o755)
    return path


def make(folder, *arguments):
    for name in ("Makefile", "pyproject.toml", *(f"{stem}.{end}" for stem in STEMS for end in ("in", "lock"))):
        shutil.copy(ROOT / name, folder)
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    answer = subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    return answer.returncode, answer.stdout, answer.stderr


@pytest.mark.parametrize("target", ["test", "demo"])
def test_make_says_which_python_it_needs_and_which_it_found(tmp_path, target):
    python = stand_in(tmp_path, "3.8.18")
    status, said, refused = make(tmp_path, target, f"PYTHON={python}")
    assert status
    assert not said
    assert f"needs Python 3.11, 3.12 or 3.13, and {python} is 3.8.18:" in refused
    assert not (tmp_path / "built").exists()
    assert not (tmp_path / ".venv").exists()


def test_make_says_which_python_it_needs_and_that_there_is_none(tmp_path):
    status, said, refused = make(tmp_path, "test", "PYTHON=python3.0")
    assert status
    assert not said
    assert "needs Python 3.11, 3.12 or 3.13, and python3.0 is not there:" in refused
    assert not (tmp_path / ".venv").exists()


def test_make_refuses_a_path_with_a_space(tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    status, said, refused = make(folder, "test", "PYTHON=python3.0")
    assert status
    assert not said
    assert f'whose path has a space: move this folder, now "{folder}"' in refused


@pytest.fixture(scope="module")
def jobs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    return workflow["jobs"]


def test_ci_runs_every_part_of_make_test_and_only_targets_that_exist(jobs):
    makefile = (ROOT / "Makefile").read_text()
    asked = {step["run"].split()[1] for job in jobs.values() for step in job["steps"] if "make " in step.get("run", "")}
    assert asked <= set(re.findall(r"^(\w+):", makefile, re.M))
    [parts] = re.findall(r"^test: (.+)$", makefile, re.M)
    assert set(parts.split()) <= asked


def test_ci_tries_the_pythons_that_the_package_names_and_has_an_end(jobs):
    assert jobs["lint"]["strategy"]["matrix"]["python"] == PYTHONS
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())


def test_ci_takes_every_action_by_the_commit_of_its_tag():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    uses = re.findall(r"uses: (.+)", text)
    assert uses
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses)


def test_ci_keeps_the_report_of_the_phantom_study(jobs):
    [kept] = [step["with"]["path"] for step in jobs["workflow"]["steps"] if "upload" in step.get("uses", "")]
    assert kept == "results/report/phantom/report.html"
    assert "make demo" in [step.get("run") for step in jobs["workflow"]["steps"]]
