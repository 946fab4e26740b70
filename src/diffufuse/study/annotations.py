"""Whether a value of YAML fits the annotation of an argument, as it stands in source."""

import ast
import copy
import math
from typing import Any

from diffufuse.study.code_digest import Code
from diffufuse.study.definitions import definition_of

# Name in an annotation to what one, and what several of it are called.
WORDS = {
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "str": ("a text", "texts"),
    "bool": ("true or false", "true or false"),
}


def expanded(annotation: ast.expr, code: Code, module: str) -> ast.expr:
    """An annotation with the type aliases of the library replaced by what they stand for.

    Args:
        annotation: as written in the module.
        code: of the library.
        module: full name of the module, which defines or imports the aliases.
    """
    expression: ast.expr = _WithoutAliases(code, module).visit(copy.deepcopy(annotation))
    return expression


def fits(value: Any, annotation: ast.expr) -> bool:
    """Whether a value fits an annotation.

    Numbers are finite. An integer is a number, but true and false are neither.

    Args:
        value: as read from YAML.
        annotation: of int, float, str, bool, None, `Sequence`, `Literal` and `|`, without aliases. Another one fits
            every value.
    """
    match annotation:
        case ast.Name(id=name) if name in WORDS:
            return _is(value, name)
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return fits(value, left) or fits(value, right)
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=item):
            return isinstance(value, list | tuple) and all(fits(part, item) for part in value)
        case ast.Subscript(value=ast.Name(id="Literal")):
            return any(type(value) is type(choice) and value == choice for choice in choices(annotation))
    return True


def choices(annotation: ast.expr) -> list[Any]:
    """The values of a `Literal`, in order; none of another annotation."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=values)):
            return [value.value for value in values if isinstance(value, ast.Constant)]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Constant(value=value)):
            return [value]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return choices(left) + choices(right)
    return []


def in_words(annotation: ast.expr, *, many: bool = False) -> str:
    """What an annotation expects, for a message.

    Args:
        annotation: without aliases.
        many: whether several of it are meant.
    """
    match annotation:
        case ast.Name(id=name) if name in WORDS:
            return WORDS[name][many]
        case ast.Constant(value=None):
            return "null"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{in_words(left, many=many)} or {in_words(right, many=many)}"
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=item):
            return f"{'lists' if many else 'a list'} of {in_words(item, many=True)}"
        case ast.Subscript(value=ast.Name(id="Literal")):
            return f"one of {', '.join(map(repr, choices(annotation)))}"
    return ast.unparse(annotation)


def is_number(value: Any) -> bool:
    """Whether a value of YAML is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is(value: Any, name: str) -> bool:
    if name == "float":
        return is_number(value)
    return isinstance(value, {"int": int, "str": str, "bool": bool}[name]) and isinstance(value, bool) == (
        name == "bool"
    )


class _WithoutAliases(ast.NodeTransformer):
    def __init__(self, code: Code, module: str) -> None:
        self.code, self.module = code, module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """What the name stands for, if the library assigns it."""
        module, statement = definition_of(self.code, self.module, node.id) or (self.module, None)
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        return node if value is None else expanded(value, self.code, module)
