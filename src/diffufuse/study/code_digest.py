"""The code that a result follows from: what a rule's script reaches through imports, and the libraries that compute.

Snakemake does not see edits of an imported library, so a digest of its code is a parameter of every rule. The digest is
blind to comments, docstrings and layout, and to modules that only tell of a job. Of a registry, a plain dictionary from
names to members, only those that a job uses count; neither the order of the others nor a new one changes anything.
"""

import ast
import functools
import hashlib
import importlib.metadata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PACKAGE = "diffufuse"
DIGITS = 16
# Libraries that compute voxels: module to distribution. Another version gives other numbers.
COMPUTING = {"ants": "antspyx", "SimpleITK": "SimpleITK", "torch": "torch", "monai": "monai", "torchio": "torchio"}
# They show how a job goes or with what it was made, and nothing of its result depends on them.
DISPLAY = ("diffufuse.logs", "diffufuse.track.live", "diffufuse.study.provenance")
# What a release renumbers, and what `import *` would give.
LABELS = ("__version__", "__all__")

# Registry, by its full name, to the keys that a job uses, or None for all: {"diffufuse.models.MODELS": ["unet2d"]}.
Members: TypeAlias = Mapping[str, Collection[str] | None]
Chosen: TypeAlias = tuple[tuple[str, tuple[str, ...] | None], ...]


@dataclass(frozen=True, eq=False)
class Code:
    """Python files whose imports can be followed; each is read once.

    Attributes:
        library: the folder that holds the package, `src`.
        scripts: the folder of the rules' scripts.
    """

    library: Path
    scripts: Path

    def digest(self, script: str, members: Members) -> str:
        """One number for all code that a script runs and that its result follows from.

        Args:
            script: file name of a rule's script.
            members: every registry of the library, to the keys that count; None for all.

        Returns:
            Hexadecimal, the same on every supported version of Python.
        """
        return self._digest(script, _hashable(members))

    def modules(self, script: str, members: Members) -> list[str]:
        """The modules of the library that a script reaches, sorted."""
        return sorted(name for name, _ in self._reached(script, _hashable(members)) if name != script)

    def path(self, module: str) -> Path:
        """The file of a module of the library."""
        return self._file(module)

    @functools.cache  # noqa: B019 a study is read once, and every block of its catalogues is looked up
    def registry(self, name: str) -> dict[str, ast.expr]:
        """The entries of a registry by its full name, read without importing its members, which may load slowly."""
        module, _, registry = name.rpartition(".")
        return registry_entries(self._file(module), registry)

    @functools.cache  # noqa: B019 a study is read once, and thousands of jobs ask the same
    def _digest(self, script: str, members: Chosen) -> str:
        reached = self._reached(script, members)
        libraries = {name.split(".")[0] for _, part in reached for name in part.imports}
        versions = [f"{name} {version_of(name)}" for module, name in COMPUTING.items() if module in libraries]
        text = "\n".join(f"{name}\n{part.text}" for name, part in sorted(reached, key=lambda pair: pair[0]))
        return hashlib.sha256("\n".join([text, *versions]).encode()).hexdigest()[:DIGITS]

    def _reached(self, script: str, members: Chosen) -> "list[tuple[str, Part]]":
        """The script and all modules that run with it.

        A package runs too where only a module of it is imported; its registries are not used then, and none of their
        members count.
        """
        parts = {script: self._part(self.scripts / script, ())}
        imported: dict[str, bool] = {}
        waiting, followed = list(parts[script].imports), set[str]()
        while waiting:
            full_name = waiting.pop()
            *packages, module = self._modules_of(full_name) or [""]
            if module and full_name not in followed:
                waiting += self._passed_on(module, full_name)
            followed.add(full_name)
            for name, itself in [*((package, False) for package in packages), (module, True)]:
                if not name or imported.get(name) or (name in imported and not itself):
                    continue
                imported[name] = itself
                own = tuple((key.rpartition(".")[2], keys) for key, keys in members if key.rpartition(".")[0] == name)
                parts[name] = self._part(self._file(name), own if itself else tuple((key, ()) for key, _ in own))
                waiting += parts[name].imports
        return list(parts.items())

    def _passed_on(self, module: str, name: str) -> list[str]:
        """Where a name comes from that a module passes on, as a registry's package does with its members."""
        attribute = name.removeprefix(f"{module}.")
        return [origin for origin in self._part(self._file(module), ()).imports if origin.endswith(f".{attribute}")]

    def _modules_of(self, name: str) -> list[str]:
        """The modules that an import of `name` runs: `a.b.c` runs a, a.b, and a.b.c where that is a module."""
        steps = name.split(".")
        if steps[0] != PACKAGE:
            return []
        names = (".".join(steps[:count]) for count in range(1, len(steps) + 1))
        modules = [module for module in names if self._file(module).exists()]
        return [] if modules[-1] in DISPLAY else modules

    @functools.cache  # noqa: B019
    def _file(self, module: str) -> Path:
        path = self.library.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    @functools.cache  # noqa: B019
    def _part(self, path: Path, narrowed: Chosen) -> "Part":
        return part_of(path.read_text(), {key: keys for key, keys in narrowed if keys is not None})


def _hashable(members: Members) -> Chosen:
    return tuple(sorted((name, None if keys is None else tuple(sorted(keys))) for name, keys in members.items()))


@dataclass(frozen=True)
class Part:
    """What counts of one file.

    Attributes:
        text: its code in one form.
        imports: full names that it imports, modules or members of modules.
    """

    text: str
    imports: tuple[str, ...]


def part_of(source: str, narrowed: Mapping[str, Collection[str]]) -> Part:
    """What counts of a file's source.

    Args:
        source: Python.
        narrowed: registry in this file to the keys that count.

    Returns:
        The code without comments and docstrings, without the entries of registries that do not count, and without the
        imports that only these needed.
    """
    tree = ast.parse(source)
    dropped: set[str] = set()
    for statement in tree.body:
        registry = _registry(statement)
        if registry and registry[0] in narrowed:
            dropped |= _narrow(registry[1], narrowed[registry[0]])
    unused = dropped - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} if dropped else set()
    imports: list[str] = []
    tree.body = _counted(tree.body, unused, imports)
    return Part(ast.unparse(_WithoutQuotes().visit(tree)), tuple(imports))


def version_of(distribution: str) -> str:
    """The version of an installed distribution without the local part, which names the device it was built for."""
    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def registry_entries(path: Path, registry: str) -> dict[str, ast.expr]:
    """The entries of a registry, read without importing its members, which may load slowly.

    Args:
        path: the file that declares it.
        registry: its name there.

    Raises:
        ValueError: the file has no dictionary of that name whose keys are all texts.
    """
    for statement in ast.parse(path.read_text()).body:
        declared = _registry(statement)
        if declared and declared[0] == registry:
            return {_key(key): value for key, value in zip(declared[1].keys, declared[1].values, strict=True)}
    raise ValueError(f"{path}: expected a dictionary {registry} with texts as keys")


def _key(node: ast.expr | None) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _registry(statement: ast.stmt) -> tuple[str, ast.Dict] | None:
    """Name and dictionary of a statement that assigns one with texts as keys."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    value = statement.value
    if not isinstance(target, ast.Name) or not isinstance(value, ast.Dict) or not all(map(_key, value.keys)):
        return None
    return target.id, value


def _narrow(registry: ast.Dict, keys: Collection[str]) -> set[str]:
    """Keep these keys alone, in the order of their names; the names that the other entries used."""
    entries = sorted(zip(registry.keys, registry.values, strict=True), key=lambda entry: _key(entry[0]))
    gone = [value for key, value in entries if _key(key) not in keys]
    kept = [(key, value) for key, value in entries if _key(key) in keys]
    registry.keys, registry.values = [key for key, _ in kept], [value for _, value in kept]
    return {node.id for value in gone for node in ast.walk(value) if isinstance(node, ast.Name)}


def _counted(statements: list[ast.stmt], unused: Collection[str], imports: list[str]) -> list[ast.stmt]:
    """The statements that count, at every depth; what they import is added to `imports`."""
    kept: list[ast.stmt] = []
    for statement in statements:
        if _is_text(statement) or _is_label(statement):
            continue
        if isinstance(statement, ast.If) and _is_for_type_checkers(statement.test):
            kept += _counted(statement.orelse, unused, imports)
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [alias for alias in statement.names if (alias.asname or alias.name) not in unused]
            imports += _imported(statement)
            kept += [statement] if statement.names else []
            continue
        for block in ("body", "orelse", "finalbody"):
            inner = getattr(statement, block, None)
            if isinstance(inner, list) and inner:
                setattr(statement, block, _counted(inner, unused, imports) or [ast.Pass()])
        for branch in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
            branch.body = _counted(branch.body, unused, imports) or [ast.Pass()]
        kept.append(statement)
    return kept


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text that stands alone: a docstring, or without effect."""
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_label(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id in LABELS for target in targets)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if statement.level:
        raise ValueError("expected absolute imports, got a relative one; write the full name")
    return [f"{statement.module}.{alias.name}" for alias in statement.names]


class _WithoutQuotes(ast.NodeTransformer):
    """Writes f-strings as calls, because versions of Python unparse them with different quotes."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Call:
        """Its texts, joined where they touch, none of them empty, and its values, each with conversion and form."""
        parts: list[ast.expr] = []
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                form = self.visit(value.format_spec) if value.format_spec else ast.Constant(None)
                parts.append(ast.Tuple([self.visit(value.value), ast.Constant(value.conversion), form], ast.Load()))
            elif parts and isinstance(parts[-1], ast.Constant):
                parts[-1] = ast.Constant(_key(parts[-1]) + _key(value))
            elif _key(value):
                parts.append(value)
        return ast.Call(ast.Name("f-string", ast.Load()), parts, [])
