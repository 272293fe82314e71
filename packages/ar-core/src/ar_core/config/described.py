"""What can be set in a config, for help texts: read from the source of its dataclass, so that nothing is imported for it."""

import ast
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["DescribedField", "DescribedSection", "described"]


@dataclass(frozen=True)
class DescribedField:
    """A setting.

    Attributes:
        name: its key.
        type: as the source writes it, but for the choices of a ``Literal`` and a None that is the default.
        default: as the command line takes it; None where it must be given.
        doc: its docstring, in one line.
    """

    name: str
    type: str
    default: str | None
    doc: str


@dataclass(frozen=True)
class DescribedSection:
    """The settings of a dataclass.

    Attributes:
        keys: dotted paths under which it stands; empty for the config itself.
        fields: in order, those of its bases first.
    """

    keys: tuple[str, ...]
    fields: tuple[DescribedField, ...]


@dataclass(frozen=True)
class _Named:
    """The statement that defines a class or value, and the module in which its names mean something."""

    module: str
    node: ast.ClassDef | ast.Assign


def described(reference: str) -> list[DescribedSection]:
    """Describe a config and the dataclasses inside it, each once.

    Args:
        reference: ``"module:Class"`` of a dataclass with attribute docstrings, in an installed package.

    Returns:
        The config first, then what is nested in it, in the order in which it is met; nothing where there is no source.
    """
    module, _, name = reference.partition(":")
    paths: dict[_Named, list[str]] = {}
    waiting = [("", _find(module, name))]
    while waiting:
        path, found = waiting.pop(0)
        if found is None:
            continue
        met_before = found in paths
        paths.setdefault(found, []).append(path)
        if not met_before:
            waiting += [(f"{path}.{key}" if path else key, inner) for key, inner in _nested(found)]
    return [
        DescribedSection(
            tuple(path for path in keys if path), tuple(_field(key, *parts) for key, parts in _fields(found).items())
        )
        for found, keys in paths.items()
    ]


def _nested(found: _Named) -> Iterator[tuple[str, _Named]]:
    """The dataclasses that annotations name, with the keys of their fields."""
    for key, (statement, _, module) in _fields(found).items():
        for part in ast.walk(statement.annotation):
            inner = _find(module, part.id) if isinstance(part, ast.Name) else None
            if inner is not None and _fields(inner):
                yield key, inner


def _fields(found: _Named) -> dict[str, tuple[ast.AnnAssign, str, str]]:
    """Statement, docstring and module of each field, those of bases first; none of what is no class."""
    if not isinstance(found.node, ast.ClassDef):
        return {}
    fields: dict[str, tuple[ast.AnnAssign, str, str]] = {}
    for base in found.node.bases:
        inner = _find(found.module, base.id) if isinstance(base, ast.Name) else None
        fields |= {} if inner is None else _fields(inner)
    body = found.node.body
    for statement, after in zip(body, [*body[1:], None]):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if ast.unparse(statement.annotation).startswith("ClassVar"):
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            text = " ".join(inspect.cleandoc(after.value.value).split())
        fields[statement.target.id] = (statement, text, found.module)
    return fields


def _field(name: str, statement: ast.AnnAssign, doc: str, module: str) -> DescribedField:
    annotation = _Written(module).visit(ast.parse(ast.unparse(statement.annotation), mode="eval")).body
    default = _default(statement.value)
    # Choices as the command line takes them.
    text = re.sub(
        r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | ").replace("'", ""), ast.unparse(annotation)
    )
    parts = text.split(" | ")
    # That null is allowed, its being the default says.
    kept = [part for part in parts if part != "None" or default != "null"]
    return DescribedField(name, " | ".join(kept), default, doc)


class _Written(ast.NodeTransformer):
    """Puts the choices of a ``Literal`` in the place of the name that a module gives them."""

    def __init__(self, module: str) -> None:
        self._module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the choices, or the name as it is."""
        found = _find(self._module, node.id)
        named = None if found is None or isinstance(found.node, ast.ClassDef) else found.node.value
        return named if named is not None and ast.unparse(named).startswith("Literal[") else node


def _default(value: ast.expr | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "field":
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        if "default" in given:
            return _default(given["default"])
        if "default_factory" not in given:
            return None
        return {"dict": "{}", "list": "[]", "tuple": "[]"}.get(ast.unparse(given["default_factory"]), "its defaults")
    try:
        return _typed(ast.literal_eval(value))
    except ValueError:
        return ast.unparse(value)


def _typed(value: Any) -> str:
    """A default as the command line takes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(_typed(item) for item in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def _find(module: str, name: str) -> _Named | None:
    """The class or value of that name, defined in a module or imported into it; None if there is none."""
    parsed = _parsed(module)
    if parsed is None:
        return None
    package, statements = parsed
    for statement in statements:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return _Named(module, statement)
        if isinstance(statement, ast.Assign) and any(ast.unparse(target) == name for target in statement.targets):
            return _Named(module, statement)
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return _find(_absolute(package, statement), alias.name)
    return None


def _absolute(package: str, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    above = package.split(".")[: len(package.split(".")) - statement.level + 1]
    return ".".join([*above, *([statement.module] if statement.module else [])])


@cache
def _parsed(module: str) -> tuple[str, list[ast.stmt]] | None:
    """The package of a module, and its statements; None where there is no source in a package.

    The file is looked for from the folder of the outermost package: to find it by import would run the packages on the way.
    """
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top) if top else None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    for file, package in ((path.with_suffix(".py"), module.rpartition(".")[0]), (path / "__init__.py", module)):
        if file.is_file():
            return package, ast.parse(file.read_text(encoding="utf-8")).body
    return None
