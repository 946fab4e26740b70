"""The names of the metrics, read from source: importing them is slow."""

import ast

from diffufuse.study.code_digest import Code

CATALOGUES = ("diffufuse.metrics.catalogue", "diffufuse.metrics.fusion.catalogue")


def metric_names(code: Code) -> list[str]:
    """The keys of `metrics.registry.ALL_METRICS`, in order.

    Args:
        code: of the library.

    Raises:
        ValueError: a row is written in another way than all others.
    """
    return [name for catalogue in CATALOGUES for row in _rows(code, catalogue) for name in _names(row, catalogue)]


def _rows(code: Code, catalogue: str) -> list[ast.expr]:
    tree = ast.parse(code.path(catalogue).read_text())
    rows = next(node.value for node in tree.body if isinstance(node, ast.Assign) and _named(node.targets[0], "ROWS"))
    return getattr(rows, "elts", [])


def _names(row: ast.expr, catalogue: str) -> list[str]:
    call = row.value if isinstance(row, ast.Starred) else row
    if not isinstance(call, ast.Call) or not isinstance(call.args[0], ast.Attribute):
        raise ValueError(f"{catalogue}: expected a call with a function first, got {ast.unparse(row)}")
    name = call.args[0].attr
    if _named(call.func, "_of_forecast"):
        return [name, f"{name}_body"]
    reads = next((keyword.value for keyword in call.keywords if keyword.arg == "reads"), None)
    return [f"{name}_body" if isinstance(reads, ast.Constant) and reads.value == "body" else name]


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
