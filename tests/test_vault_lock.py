"""`dvc.lock` in Git: it has the stages of dvc.yaml, and was computed by the sources of the commit that wrote it.

Later commits change sources and not results, so they leave it as it is; what would have to run again, Snakemake says.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
LOCK = "dvc.lock"
SUMMARY = "results/report/phantom/summary.json"
CODE = ("config", "Snakefile", "workflow", "src/diffufuse")


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout


def locked(folder):
    return yaml.safe_load((folder / LOCK).read_text())["stages"]


def asked(folder):
    """Stage to its commands, dependencies, files of parameters and outputs, as dvc.yaml asks for them now."""
    with Repo(str(folder)) as repo:
        return {
            stage.name: {
                "cmd": stage.cmd,
                "deps": {dep.def_path for dep in stage.deps if not hasattr(dep, "params")},
                "params": {dep.def_path for dep in stage.params},
                "outs": {out.def_path for out in stage.outs},
            }
            for stage in repo.index.stages
        }


def noted(folder):
    """The same as dvc.lock has it; the file that chooses the study is in dvc.yaml already."""
    return {
        name: {
            "cmd": stage["cmd"],
            "deps": {dep["path"] for dep in stage.get("deps", [])},
            "params": set(stage.get("params", {})),
            "outs": {out["path"] for out in stage.get("outs", [])},
        }
        for name, stage in locked(folder).items()
    }


def md5_of(path):
    """The hash that DVC gives a file or a folder."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listed = [{"md5": hashlib.md5(file.read_bytes()).hexdigest(), "relpath": name} for name, file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"


def sources_of(folder, commit, where):
    """The hash of every source as a commit has it."""
    with tarfile.open(fileobj=io.BytesIO(git(folder, "archive", commit, *CODE))) as archive:
        archive.extractall(where, filter="data")
    return {name: md5_of(where / name) for name in CODE}


def writer_of_lock(folder):
    """The commit that wrote dvc.lock last."""
    if git(folder, "rev-parse", "--is-shallow-repository").strip() == b"true":
        pytest.skip("the history is not there: `git fetch --unshallow`")
    return git(folder, "log", "-1", "--format=%H", "--", LOCK).decode().strip()


def stale(folder, commit, where):
    """Stage to the sources that its results do not come from, of those of a commit."""
    hashes = sources_of(folder, commit, where)
    found = {
        name: [
            dep["path"] for dep in stage.get("deps", []) if dep["path"] in hashes and dep["md5"] != hashes[dep["path"]]
        ]
        for name, stage in locked(folder).items()
    }
    return {name: sources for name, sources in found.items() if sources}


def test_the_lock_has_the_stages_of_the_pipeline_with_their_commands_dependencies_parameters_and_outputs():
    assert noted(ROOT) == asked(ROOT)


def test_the_lock_was_computed_by_the_commit_that_wrote_it(tmp_path):
    assert stale(ROOT, writer_of_lock(ROOT), tmp_path) == {}


def test_the_summary_in_git_is_that_of_the_lock():
    [out] = [out for out in locked(ROOT)["report"]["outs"] if out["path"] == SUMMARY]
    assert out["md5"] == md5_of(ROOT / SUMMARY)


def test_what_changed_since_is_told(tmp_path):
    changed = stale(ROOT, "HEAD", tmp_path)
    if changed:
        sources = ", ".join(sorted({source for group in changed.values() for source in group}))
        pytest.skip(f"told, no fault: dvc.lock is of {writer_of_lock(ROOT)[:8]}, since when these changed: {sources}")
    assert not changed


@pytest.fixture
def vault(tmp_path, monkeypatch):
    """A repository with a pipeline of one stage, run by DVC and committed."""
    folder = tmp_path / "vault"
    for name in ("config", "workflow", "src/diffufuse"):
        (folder / name).mkdir(parents=True)
        (folder / name / "b.txt").write_text(name)
        (folder / name / "a").mkdir()
        (folder / name / "a" / "c.txt").write_text(f"{name} below")
    (folder / "Snakefile").write_text("rules")
    stage = {"cmd": "cat config/b.txt > out", "deps": list(CODE), "outs": ["out"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"report": stage}}))
    git(tmp_path, "init", "-q", "vault")
    monkeypatch.chdir(folder)
    with Repo.init(str(folder)) as repo:
        repo.reproduce()
    commit(folder, "A study and its results")
    return folder


def commit(folder, message):
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", message)


def test_a_lock_that_dvc_wrote_is_right_by_these_checks(vault, tmp_path):
    assert noted(vault) == asked(vault)
    assert stale(vault, writer_of_lock(vault), tmp_path / "then") == {}


def test_later_edits_leave_it_right_and_are_told(vault, tmp_path):
    (vault / "src/diffufuse/b.txt").write_text("edited")
    commit(vault, "An edit")
    assert stale(vault, writer_of_lock(vault), tmp_path / "then") == {}
    assert stale(vault, "HEAD", tmp_path / "now") == {"report": ["src/diffufuse"]}


def test_a_lock_of_other_sources_than_its_commit_has_is_found(vault, tmp_path):
    kept = shutil.copy(vault / LOCK, tmp_path)
    (vault / "config/b.txt").write_text("edited")
    with Repo(str(vault)) as repo:
        repo.reproduce()
    (vault / "config/b.txt").write_text("config")
    commit(vault, "A lock of what is not committed")
    assert Path(kept).read_text() != (vault / LOCK).read_text()
    assert stale(vault, writer_of_lock(vault), tmp_path / "then") == {"report": ["config"]}


@pytest.mark.parametrize(
    ("old", "new"), [("cat config/b.txt", "cat config/a/c.txt"), ("- Snakefile\n", ""), ("- out", "- other")]
)
def test_a_pipeline_that_changed_since_is_found(vault, old, new):
    text = (vault / "dvc.yaml").read_text()
    assert old in text
    (vault / "dvc.yaml").write_text(text.replace(old, new))
    assert noted(vault) != asked(vault)
