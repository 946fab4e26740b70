"""The boundaries of the house: who imports whom, and how long things are."""

import ast
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "diffufuse"
MODULES = sorted(LIBRARY.rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SOLE_IMPORTERS = {
    "nibabel": {"volumes.py"},
    "pyarrow": {"tables.py"},
    "pydicom": {"dicom"},
    "mlflow": {"tracking.py"},
    "ants": {"registration"},
    "blosc2": {"slices.py"},
    "yaml": set(),
    "snakemake": set(),
}


def tree_of(path):
    return ast.parse(path.read_text())


def imports_of(path):
    """Full names of the modules that a file imports, at any depth of its code."""
    names = set()
    tree = tree_of(path)
    for_types = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    never_run = {inner for node in for_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in never_run:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def functions_of(path):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]


def body_lines(function):
    body = function.body
    has_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if has_docstring and len(body) > 1 else body[0]
    return function.end_lineno - first.lineno + 1


@pytest.mark.parametrize(("package", "owners"), SOLE_IMPORTERS.items())
def test_only_its_owner_imports_a_package(package, owners):
    importers = {
        path.relative_to(LIBRARY).parts[0]
        for path in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imports_of(path))
    }
    assert importers <= owners


def test_nobody_in_the_library_names_the_workflow_engine_or_its_results():
    for path in MODULES:
        code = ast.dump(tree_of(path))
        assert "Name(id='snakemake'" not in code, path
        assert not re.search(r"value='results/", code), path


def test_models_know_neither_files_nor_config():
    allowed = {"diffufuse.models", "diffufuse.types"}
    for path in sorted((LIBRARY / "models").rglob("*.py")):
        inside = {name for name in imports_of(path) if name.startswith("diffufuse")}
        assert all(any(name.startswith(part) for part in allowed) for name in inside), path


def test_scripts_define_nothing_and_stay_short():
    for path in SCRIPTS:
        tree = tree_of(path)
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)], path
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.If)], path
        assert len(path.read_text().splitlines()) <= 30, path
        assert "snakemake.config" not in path.read_text(), path


def test_functions_keep_their_budget():
    lengths = sorted(body_lines(function) for path in MODULES for function in functions_of(path))
    assert statistics.median(lengths) <= 10
    assert lengths[int(0.9 * len(lengths))] <= 30
    too_long = [(p, f.name) for p in MODULES for f in functions_of(p) if body_lines(f) > 60]
    assert not too_long


def test_modules_keep_their_budget():
    assert not [path for path in MODULES if len(path.read_text().splitlines()) > 300]


def test_rule_files_keep_their_budget():
    for path in RULES:
        limit = 80 if path.stem == "common" else 150
        assert len(path.read_text().splitlines()) <= limit, path
        if path.stem != "common":
            assert "lambda" not in path.read_text(), path


def test_public_functions_and_modules_are_documented():
    for path in MODULES:
        tree = tree_of(path)
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


# Registries list what exists; a rule names the one member that it runs. The rest moves no number of a result.
REGISTRIES = {"models", "corruptions", "fetching", "formats", "figures"}
MOVES_NO_NUMBER = {"__init__.py", "errors.py", "files.py", "logs.py", "types.py", "provenance.py", "tracking.py"}


def reached(path, seen):
    """Library files that a file reaches by its imports, stopping at the registries."""
    for name in imports_of(path):
        parts = name.split(".")[1:] if name.startswith("diffufuse.") else []
        for file in (
            LIBRARY.joinpath(*parts).with_suffix(".py") if parts else None,
            LIBRARY.joinpath(*parts, "__init__.py"),
        ):
            if file and parts and file.is_file() and file not in seen:
                seen.add(file)
                if not (file.name == "__init__.py" and file.parent.name in REGISTRIES):
                    reached(file, seen)
    return seen


def hashed_modules(text):
    """What a rule file passes to source_hash, by script; named tuples of modules are resolved."""
    tuples = {
        node.targets[0].id: [element.value for element in node.value.elts]
        for file in RULES
        for node in ast.walk(ast.parse("\n".join(re.findall(r"^[A-Z_]+ = \((?:.|\n)*?\)$", file.read_text(), re.M))))
        if isinstance(node, ast.Assign)
    }
    for rule in re.split(r"^rule ", text, flags=re.M)[1:]:
        script, call = re.search(r"scripts/(\w+\.py)", rule), re.search(r"source_hash\((.*?)\),", rule, re.S)
        if script and call:
            literal = re.findall(r'"([^"]+)"', call[1])
            yield script[1], literal + [module for name in re.findall(r"\*(\w+)", call[1]) for module in tuples[name]]


def covered(module, patterns):
    name = module.relative_to(LIBRARY).as_posix()
    return any(
        re.fullmatch(re.sub(r"\{\w+\}", r"\\w+", pattern).replace(".py", r"\.py"), name)
        or name.startswith(f"{pattern}/")
        or re.fullmatch(re.sub(r"\{\w+\}", r"\\w+", pattern), name.split("/")[0].removesuffix(".py"))
        for pattern in patterns
    )


SOURCE_HASHES = [pair for path in RULES for pair in hashed_modules(path.read_text())]


@pytest.mark.parametrize(("script", "patterns"), SOURCE_HASHES, ids=[script for script, _ in SOURCE_HASHES])
def test_a_rule_reruns_when_any_library_code_that_it_reaches_changes(script, patterns):
    modules = reached(ROOT / "workflow" / "scripts" / script, set())
    needed = {
        module
        for module in modules
        if module.relative_to(LIBRARY).as_posix() not in MOVES_NO_NUMBER
        and not (module.name == "__init__.py" and module.parent.name in REGISTRIES | {"dicom"})
    }
    missed = sorted(module.relative_to(LIBRARY).as_posix() for module in needed if not covered(module, patterns))
    assert not missed


def test_every_rule_with_a_script_has_a_source_hash():
    scripts = {path.name for path in SCRIPTS}
    assert scripts - {script for script, _ in SOURCE_HASHES} == {"init_tracking.py"}
