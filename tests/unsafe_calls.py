"""What could run code out of a file, found in source by what names stand for and not by how they are written."""

import ast
from collections.abc import Iterator

__all__ = ["unsafe_calls"]

MODULES = frozenset({"_pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"})
"""Modules that unpickle."""
ANYWHERE = frozenset({"eval", "exec", "builtins.eval", "builtins.exec", "__builtins__.eval", "__builtins__.exec"})
"""Names that must not even be mentioned: what is mentioned may be called under another name."""
OF_LIBRARIES = frozenset(
    {
        "joblib.load",
        "pandas.read_pickle",
        "torch.hub.load",
        "torch.jit.load",
        "torch.package.PackageImporter",
        "torch.serialization.load",
        "yaml.Loader",
        "yaml.UnsafeLoader",
        "yaml.full_load",
        "yaml.load",
        "yaml.unsafe_load",
    }
)
REFUSING = {
    "torch.load": ("weights_only", True, False),
    "numpy.load": ("allow_pickle", False, True),
    "numpy.lib.format.read_array": ("allow_pickle", False, True),
}
"""Functions that refuse code if an argument says so: its name, the value that does, and whether that is the default.

The default of ``weights_only`` was another one before torch 2.6.
"""


def unsafe_calls(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that could unpickle, evaluate text, or run code of a checkpoint.

    Imports, also under other names and inside functions, are followed, and so are assignments of a name to another, ``getattr`` with
    a text, ``__import__`` and ``importlib.import_module``. ``torch.load`` may only be called, at once and with ``weights_only=True``
    written there; ``trust_remote_code`` may only be given as ``False``.
    """
    tree = ast.parse(source)
    names = _names(tree)
    fine: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            fine |= set(_refusing(node, names))
    for node in ast.walk(tree):
        yield from ((node.lineno, found) for found in _found(node, names, fine))  # type: ignore[attr-defined]


def _names(tree: ast.Module) -> dict[str, str]:
    """What each name of the source stands for, as far as imports and assignments of names say."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    # Twice, so that a name of a name is known wherever it stands.
    for _ in range(2):
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
                meant = _meant(node.value, names)
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    known = meant is not None and ("." in meant or meant in ANYWHERE or meant in names.values())
                    if isinstance(target, ast.Name) and meant is not None and known:
                        names[target.id] = meant
    return names


def _meant(node: ast.expr, names: dict[str, str]) -> str | None:
    """The dotted name that an expression stands for."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = _meant(node.value, names)
        return None if inner is None else f"{inner}.{node.attr}"
    if isinstance(node, ast.Call) and node.args:
        called = _meant(node.func, names)
        texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if called in ("__import__", "builtins.__import__", "importlib.import_module") and texts:
            return texts[0]
        if called in ("getattr", "builtins.getattr") and texts:
            inner = _meant(node.args[0], names)
            return None if inner is None else f"{inner}.{texts[0]}"
    return None


def _refusing(call: ast.Call, names: dict[str, str]) -> Iterator[int]:
    """The function of a call that refuses code, by identity."""
    rule = REFUSING.get(_meant(call.func, names) or "")
    if rule is None:
        return
    name, wanted, default = rule
    given = [word.value for word in call.keywords if word.arg == name]
    spread = any(word.arg is None for word in call.keywords) or any(isinstance(part, ast.Starred) for part in call.args)
    said = bool(given) and isinstance(given[0], ast.Constant) and given[0].value is wanted
    # Positional arguments might be it.
    if said or (default and not given and not spread and len(call.args) <= 1):
        yield id(call.func)


def _found(node: ast.AST, names: dict[str, str], fine: set[int]) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if isinstance(node, ast.ImportFrom) and not node.level:
            taken = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in taken if name in OF_LIBRARIES | ANYWHERE or name in REFUSING)
            yield from (
                name for name in taken if _everything(name) and node.module in ("torch", "numpy", "builtins", "yaml")
            )
        yield from (name for name in modules if name.split(".")[0] in MODULES)
    elif isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
        if not (isinstance(node.value, ast.Constant) and node.value.value is False):
            yield "trust_remote_code"
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            said = isinstance(key, ast.Constant) and key.value in ("trust_remote_code", "weights_only", "allow_pickle")
            if said and not (isinstance(value, ast.Constant) and value.value is (key.value == "weights_only")):  # type: ignore[union-attr]
                yield str(key.value)  # type: ignore[union-attr]
    elif isinstance(node, (ast.Name, ast.Attribute, ast.Call)) and not isinstance(
        getattr(node, "ctx", None), ast.Store
    ):
        meant = _meant(node, names)
        if meant is None or (isinstance(node, ast.Name) and node.id == meant and meant not in ANYWHERE):
            return
        if (
            meant in ANYWHERE | OF_LIBRARIES
            or (meant in REFUSING and id(node) not in fine)
            or (isinstance(node, ast.Call) and meant.split(".")[0] in MODULES)
        ):
            yield meant


def _everything(name: str) -> bool:
    """Whether an import takes everything, so that no name tells where it is from."""
    return name.endswith(".*")
