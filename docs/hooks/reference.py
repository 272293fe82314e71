"""Writes the pages of the reference, one for each folder of modules, and puts them into the navigation. For mkdocs."""

import ast
import html
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from modules import SOURCES, Module, modules, page_of

__all__ = ["on_config", "on_files"]


@event_priority(50)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Tell mkdocstrings, before it looks, where the packages are."""
    plugin: Any = config.plugins["mkdocstrings"]
    plugin.config.handlers["python"]["paths"] = [str(path) for path in SOURCES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, which exist in memory alone."""
    rooms = {name: list(group) for name, group in groupby(sorted(modules(), key=_by_room), key=lambda m: m.room)}
    for room, inside in rooms.items():
        files.append(File.generated(config, page_of(room), content=_page(room, inside)))
    section = next(entry["Reference"] for entry in config.nav or [] if "Reference" in entry)
    section += _navigation(sorted(rooms))
    return files


def _by_room(module: Module) -> tuple[str, bool, str]:
    return module.room, module.name != module.room, module.name


def _navigation(rooms: list[str], above: str = "") -> list[dict[str, Any]]:
    """The folders directly below one, each with its own page first and then those below it."""
    found: list[dict[str, Any]] = []
    for room in rooms:
        if room.rpartition(".")[0] == above:
            below = _navigation(rooms, room)
            found.append({room.rpartition(".")[2]: [page_of(room), *below] if below else page_of(room)})
    return found


def _page(room: str, inside: list[Module]) -> str:
    package, *rest = inside
    lines = [f"---\ntitle: {room}\n---\n", *_documented(package, heading=1)]
    if rest:
        lines += ["| module | holds |", "|---|---|"]
        lines += [f"| [`{_short(one, room)}`](#{one.name}) | {_cell(one.summary)} |" for one in rest]
        lines.append("")
    for one in rest:
        lines += _documented(one, heading=2)
    return "\n".join(lines)


def _documented(module: Module, heading: int) -> list[str]:
    lines = [f"::: {module.name}", "    options:", f"      heading_level: {heading}"]
    if module.is_package:
        # What it gathers from its modules is shown there.
        lines.append(
            f"      members: [{', '.join(_defined(module.path))}]" if _defined(module.path) else "      members: false"
        )
    return [*lines, ""]


def _defined(path: Path) -> list[str]:
    """Public names that a file defines itself."""
    names: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def _short(module: Module, room: str) -> str:
    return module.name.removeprefix(f"{room}.")


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|")
