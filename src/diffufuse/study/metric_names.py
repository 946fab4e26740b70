"""The names of the metrics, read from source: importing them is slow."""

import ast

from diffufuse.study.code_digest import Code

CATALOGUE = "diffufuse.metrics.catalogue"


def metric_names(code: Code) -> list[str]:
    """The keys of `metrics.catalogue.METRICS`, in order.

    Args:
        code: of the library.

    Raises:
        ValueError: a row is written in another way than all others.
    """
    tree = ast.parse(code.path(CATALOGUE).read_text())
    rows = next(node.value for node in tree.body if isinstance(node, ast.Assign) and _named(node.targets[0], "ROWS"))
    return [name for row in getattr(rows, "elts", []) for name in _names(row)]


def _names(row: ast.expr) -> list[str]:
    call = row.value if isinstance(row, ast.Starred) else row
    if not isinstance(call, ast.Call) or not isinstance(call.args[0], ast.Attribute):
        raise ValueError(f"{CATALOGUE}: expected a call with a function first, got {ast.unparse(row)}")
    name = call.args[0].attr
    if _named(call.func, "_of_forecast"):
        return [name, f"{name}_body"]
    reads = next((keyword.value for keyword in call.keywords if keyword.arg == "reads"), None)
    return [f"{name}_body" if isinstance(reads, ast.Constant) and reads.value == "body" else name]


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
