"""Help texts of configs, from their source."""

import dataclasses
import subprocess
import sys

import pytest
from ar_core import registry
from ar_core.config import described

MODULES = {
    "shapes.py": '''
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Colour = Literal["red", "green"]


@dataclass(frozen=True)
class Base:
    size: int = 3
    """Side,
    in pixels."""
    kind: ClassVar[str] = "base"


@dataclass(frozen=True)
class Inner:
    path: str
    """Where."""
    colours: tuple[Colour, ...] = ("red",)
''',
    "whole.py": '''
raise ImportError("help must not import this")

from dataclasses import dataclass, field
from .shapes import Base, Inner


@dataclass(frozen=True)
class Whole(Base):
    first: Inner | None = None
    second: str | Inner = field(default="a", metadata={})
    many: dict[str, int] = field(default_factory=dict)
    size: int = 4
    """Another."""

    def method(self): ...
''',
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "described_toy"
    (folder / "inside").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "inside" / "__init__.py").write_text("from .whole import Whole\n")
    for name, text in MODULES.items():
        (folder / "inside" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


def test_fields_with_types_defaults_and_docstrings(package):
    whole, inner = described("described_toy.inside:Whole")
    assert [dataclasses.astuple(one) for one in whole.fields] == [
        ("size", "int", "4", "Another."),
        ("first", "Inner", "null", ""),
        ("second", "str | Inner", "a", ""),
        ("many", "dict[str, int]", "{}", ""),
    ]
    assert inner.keys == ("first", "second")
    assert [dataclasses.astuple(one) for one in inner.fields] == [
        ("path", "str", None, "Where."),
        ("colours", "tuple[red | green, ...]", "[red]", ""),
    ]
    (base,) = described("described_toy.inside.shapes:Base")
    assert dataclasses.astuple(base.fields[0]) == ("size", "int", "3", "Side, in pixels.")


def test_nothing_where_there_is_no_source(package):
    assert described("described_toy.inside:Absent") == []
    assert described("described_toy.absent:Whole") == []
    assert described("absent_package.module:Whole") == []


def test_every_announced_command_is_described_as_it_is():
    for record in registry.commands().values():
        options = registry.resolve(record.options)
        found = described(record.options)[0].fields
        fields = [field for field in dataclasses.fields(options) if field.init]
        assert [one.name for one in found] == [field.name for field in fields]
        missing = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
        assert [one.name for one in found if one.default is None] == missing
        assert all(one.doc for one in found), record.name


def test_nothing_heavy_is_imported():
    script = (
        "import sys\nfrom ar_core import registry\nfrom ar_core.config import described\n"
        "found = [described(record.options) for record in registry.commands().values()]\n"
        "assert all(found)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
