"""Where a name of the library is defined, read from source: importing it is slow."""

import ast
import functools

from diffufuse.study.code_digest import PACKAGE, Code


@functools.cache
def tree_of(code: Code, module: str) -> ast.Module:
    """The source of a module, parsed once."""
    return ast.parse(code.path(module).read_text())


def definition_of(code: Code, module: str, name: str) -> tuple[str, ast.stmt] | None:
    """The statement that defines a name, followed through imports within the library.

    Args:
        code: of the library.
        module: full name of a module that defines or imports the name.
        name: of a class, a function or a value there.

    Returns:
        Full name of the defining module, and the statement; None if the name comes from elsewhere.
    """
    for statement in tree_of(code, module).body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if name == (alias.asname or alias.name) and str(statement.module).split(".")[0] == PACKAGE:
                    return definition_of(code, str(statement.module), alias.name)
        elif name in _defined(statement):
            return module, statement
    return None


def fields_of(code: Code, module: str, name: str) -> list[str]:
    """The fields of a dataclass, in order.

    Args:
        code: of the library.
        module: full name of a module that defines or imports the class.
        name: of the class.

    Raises:
        ValueError: there is no such class.
    """
    definition = definition_of(code, module, name)
    if definition is None or not isinstance(definition[1], ast.ClassDef):
        raise ValueError(f"{module}: expected a class {name}")
    statements = (statement for statement in definition[1].body if isinstance(statement, ast.AnnAssign))
    return [statement.target.id for statement in statements if isinstance(statement.target, ast.Name)]


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
