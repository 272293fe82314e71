"""What is public in the workspace's sources and what its docstrings lack, read without importing anything."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PublicName", "Surface", "public_names"]

Function = ast.FunctionDef | ast.AsyncFunctionDef

SHAPE = re.compile(r"\[[^\]\[\n]*\]")
SAME = re.compile(
    r"\b(scalars?|any shape|same( shapes?)?|(whose|its|their) shapes?|shapes? of|shaped (like|as)|broadcasts?)\b",
    re.IGNORECASE,
)
WHOLE = re.compile(
    r"(^|_)(ids|labels|codes|tokens|index|indices|positions?|mask|documents?|counts|lengths|classes|kinds)$"
)
DTYPE = re.compile(
    r"\b(u?int(8|16|32|64)?|bool(ean)?s?|integers?|whole numbers?|True|dtype|float(16|32|64)?|\d+ to \S+|0 or 1)\b"
)
SOURCE = re.compile(r"arXiv|\b[Oo]urs\b|\bpublished\b|\bpaper\b|^Source: \S", re.MULTILINE)
COMPUTES = re.compile(r"^(import torch|from torch)", re.MULTILINE)
REFERENCE = re.compile(r"\b(?:[Ss]ee|[Aa]s|[Ll]ike)\s+:(?:class|meth|func):`~?([\w.]+)`")


@dataclass(frozen=True)
class PublicName:
    """A public name and what is written about it."""

    path: Path
    line: int
    dotted: str
    kind: str
    docstring: str
    around: tuple[str, ...]
    """Docstrings of the module and the classes that hold it."""
    node: ast.AST

    @property
    def name(self) -> str:
        """Its last part."""
        return self.dotted.rsplit(".", 1)[-1]


def public_names(path: Path, module: str) -> Iterator[PublicName]:
    """All public names of a module: itself, what `__all__` lists (else what has no leading underscore), and their public members.

    Fields are the annotated names of a class body; what the class's docstring says of one counts as its own. What the call that makes
    a constant is told in several words, such as a summary or a help, is its docstring: users are shown it.
    """
    tree = ast.parse(path.read_text())
    docstring = ast.get_docstring(tree) or ""
    yield PublicName(path, 1, module, "module", docstring, (), tree)
    exported = _exported(tree)
    for node, following in zip(tree.body, [*tree.body[1:], None]):
        if isinstance(node, Function | ast.ClassDef):
            if node.name in exported if exported is not None else not node.name.startswith("_"):
                yield from _defined(node, path, module, (docstring,))
        else:
            for name in _assigned(node):
                if name in exported if exported is not None else not name.startswith("_"):
                    said = _text(following) or _summary(node)
                    yield PublicName(path, node.lineno, f"{module}.{name}", "constant", said, (docstring,), node)


def _defined(node: Function | ast.ClassDef, path: Path, outer: str, around: tuple[str, ...]) -> Iterator[PublicName]:
    """A function, or a class and its public members."""
    docstring = ast.get_docstring(node) or ""
    dotted = f"{outer}.{node.name}"
    if isinstance(node, Function):
        # A setter and the signatures of an overload are spoken for by what they belong to.
        if not any(ast.unparse(part).endswith(("setter", "overload")) for part in node.decorator_list):
            kind = "function" if len(around) == 1 else "method"
            yield PublicName(path, node.lineno, dotted, kind, docstring, around, node)
        return
    yield PublicName(path, node.lineno, dotted, "class", docstring, around, node)
    around = (*around, docstring)
    for member, following in zip(node.body, [*node.body[1:], None]):
        if isinstance(member, Function | ast.ClassDef):
            if not member.name.startswith("_"):
                yield from _defined(member, path, dotted, around)
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            name = member.target.id
            if not name.startswith("_"):
                said = _text(following) or entry(docstring, name)
                yield PublicName(path, member.lineno, f"{dotted}.{name}", "field", said, around, member)


def _exported(tree: ast.Module) -> set[str] | None:
    """What `__all__` lists, if the module has one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and _assigned(node) == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return None


def _assigned(node: ast.stmt) -> list[str]:
    """Names that a statement gives a value, but for those of Python itself."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _text(node: ast.stmt | None) -> str:
    """A text that stands alone, which documents what is before it."""
    alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if alone else ""  # type: ignore[union-attr,return-value]  # as `alone` says


def _summary(node: ast.stmt) -> str:
    """What a call in a statement's value is told in several words."""
    for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
        for given in [*call.args, *(word.value for word in call.keywords if word.arg in ("summary", "help"))]:
            text = ast.unparse(given)
            if text.lstrip("f")[:1] in ("'", '"') and text.count(" ") > 1:
                return text
    return ""


def entry(docstring: str, name: str) -> str:
    """What a section of a docstring, such as `Args:`, says of a name; empty if nothing."""
    pattern = re.compile(rf"(\s*)(?:[\w*`]+, )*[*`]*{re.escape(name)}`?(?:, [\w*`]+)*(?: \([^)]*\))?: ?(.*)")
    lines = docstring.splitlines()
    for at, line in enumerate(lines):
        if found := pattern.match(line):
            more = [found[2]]
            for following in lines[at + 1 :]:
                if following.strip() and len(following) - len(following.lstrip()) <= len(found[1]):
                    break
                more.append(following.strip())
            return " ".join(more).strip()
    return ""


class Surface:
    """The public names of several source trees, and what each lacks.

    Args:
        roots: folders that hold packages.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.names: list[PublicName] = []
        for root in roots:
            for path in sorted(root.rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                if parts[-1] == "__init__":
                    parts = parts[:-1]
                if not any(part.startswith("_") and part != "__main__" for part in parts):
                    self.names += [name for name in public_names(path, ".".join(parts)) if name.name[:2] != "__"]
        self._by_last: dict[str, list[PublicName]] = {}
        for name in self.names:
            self._by_last.setdefault(name.name, []).append(name)
        self._protocols = {
            name.dotted
            for name in self.names
            if isinstance(name.node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in name.node.bases)
        }
        self._records = {
            name.dotted
            for name in self.names
            if (
                isinstance(name.node, ast.ClassDef)
                and any("dataclass" in ast.unparse(part) for part in name.node.decorator_list)
            )
            or (
                isinstance(name.node, ast.ClassDef)
                and any(ast.unparse(base) == "NamedTuple" for base in name.node.bases)
            )
        }

    def undocumented(self, name: PublicName) -> bool:
        """Whether nothing is said, or nothing but the name over again."""
        if self._overridden(name) is not None and name.kind == "field":
            return False
        own = set(re.findall(r"[a-z]+", name.name.lower())) | {"the", "a", "an", "of", "this", "return", "returns"}
        return not set(re.findall(r"[a-z]+", name.docstring.lower())) - own

    def shapeless(self, name: PublicName) -> list[str]:
        """The tensors of a signature, or the field itself, whose shapes are not said.

        A shape is letters, numbers or dots in brackets, or said to be a scalar's or that of something else. It stands in the
        docstring behind the name of the argument; or the docstring has no section on arguments, is of one argument, and names a shape;
        or the class or the module has a paragraph `Shapes:`; or the docstring refers to another one, by `:class:` or the like; or the
        method overrides one of a public base.
        """
        if any("Shapes:" in text for text in name.around) or self._refers(name.docstring):
            return []
        base = self._overridden(name)
        if base is not None and base.kind == name.kind:
            return self.shapeless(base)
        if name.kind == "field":
            assert isinstance(name.node, ast.AnnAssign)
            return [name.name] if _is_tensor(name.node.annotation) and not _shaped(name.docstring) else []
        if not isinstance(name.node, Function):
            return []
        tensors, returned = _tensors(name.node)
        if len(tensors) <= 1 and "Args:" not in name.docstring and _shaped(name.docstring):
            return []
        lacking = [tensor for tensor in tensors if not self._said(name.docstring, tensor)]
        head, _, _ = name.docstring.partition("Args:")
        _, _, results = name.docstring.partition("Returns:")
        _, _, yielded = name.docstring.partition("Yields:")
        if returned and not (_shaped(head) or _shaped(results) or _shaped(yielded)):
            lacking.append("return")
        return lacking

    def typeless(self, name: PublicName) -> list[str]:
        """The tensors of whole numbers or truth values, told by their names, of which neither a dtype nor a range is said."""
        if self._refers(name.docstring) or self._overridden(name) is not None:
            return []
        if name.kind == "field":
            assert isinstance(name.node, ast.AnnAssign)
            tensors = [name.name] if _is_tensor(name.node.annotation) else []
        else:
            tensors = _tensors(name.node)[0] if isinstance(name.node, Function) else []
        said = any(DTYPE.search(text) for text in (name.docstring, *name.around))
        return [] if said else [tensor for tensor in tensors if WHOLE.search(tensor)]

    def sourceless(self, name: PublicName) -> bool:
        """Whether neither a function or class nor its module names a paper, the published code, or us as what it is from."""
        return name.kind in ("function", "class") and not any(
            SOURCE.search(text) for text in (name.docstring, *name.around)
        )

    def _said(self, docstring: str, tensor: str) -> bool:
        said = entry(docstring, tensor)
        near = re.search(rf"\b{tensor}\b[`*]*[^.;\n]{{0,60}}?\n?[^.;\n]{{0,60}}?\[[^\]\n]*\]", docstring)
        return _shaped(said) or near is not None

    def _refers(self, docstring: str) -> bool:
        """Whether a docstring sends its reader to another public name, which is there."""
        return any(found.rsplit(".", 1)[-1] in self._by_last for found in REFERENCE.findall(docstring))

    def _overridden(self, name: PublicName) -> PublicName | None:
        """The member of a public base of the workspace that has the same name, if there is one; what a class that
        is no record says of a field may be said by any protocol."""
        if name.kind not in ("method", "field"):
            return None
        if name.kind == "field" and name.dotted.rsplit(".", 1)[0] not in self._records:
            for found in self._by_last[name.name]:
                if found is not name and found.docstring and found.dotted.rsplit(".", 1)[0] in self._protocols:
                    return found
        owner = name.dotted.rsplit(".", 1)[0]
        seen: set[str] = set()
        classes = [found for found in self._by_last[owner.rsplit(".", 1)[-1]] if found.dotted == owner]
        while classes:
            node = classes.pop().node
            assert isinstance(node, ast.ClassDef)
            for base in node.bases:
                last = re.split(r"[.\[]", ast.unparse(base))[-1 if "[" not in ast.unparse(base) else 0]
                for found in self._by_last.get(last, []):
                    if found.kind == "class" and found.dotted not in seen:
                        seen.add(found.dotted)
                        classes.append(found)
                        for member in self._by_last[name.name]:
                            if member.dotted == f"{found.dotted}.{name.name}" and member is not name:
                                return member
        return None


def _shaped(text: str) -> bool:
    return bool(SHAPE.search(text) or SAME.search(text))


def _is_tensor(annotation: ast.expr | None) -> bool:
    """Whether an annotation is of a tensor, or of a few; not of a mapping, whose tensors go by names."""
    if annotation is None:
        return False
    text = ast.unparse(annotation).strip("'\"")
    text = re.sub(r"(Mapping|dict|Callable|Iterator\[tuple\[str|Iterable\[tuple\[str)\[.*\]", "", text)
    return re.search(r"\bTensor\b", text) is not None


def _tensors(node: Function) -> tuple[list[str], bool]:
    """The arguments of a signature that are tensors, and whether one is returned."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [one.arg for one in arguments if _is_tensor(one.annotation)], _is_tensor(node.returns)
