"""What there is to run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ar_core.registry import configs, converters, exporters, recipes
from rich.console import Group
from rich.text import Text

__all__ = ["as_data", "lines", "lines_as_text", "summary"]


def lines() -> Iterator[tuple[str, str]]:
    """Yield (name, summary) of every recipe and, below it, of every config as ``RECIPE/CONFIG``; then of what can be converted, and
    exported for a serving engine."""
    for recipe in recipes().values():
        yield recipe.name, recipe.summary
        for name, path in configs(recipe).items():
            yield f"{recipe.name}/{name}", summary(path)
    for converter in converters().values():
        yield f"convert {converter.name}", converter.summary
    for exporter in exporters().values():
        yield f"export {exporter.name}", exporter.summary


def lines_as_text(found: Sequence[tuple[str, str]]) -> Group:
    """Lines for a terminal, recipes in bold, each cut off at its width."""
    width = max(len(name) for name, _ in found)
    return Group(
        *(
            Text(f"{name:{width}}  {said}", "" if "/" in name else "bold", no_wrap=True, overflow="ellipsis")
            for name, said in found
        )
    )


def as_data() -> dict[str, Any]:
    """The same for programs."""
    return {
        "recipes": [
            {
                "name": recipe.name,
                "summary": recipe.summary,
                "makes": recipe.makes,
                "configs": [{"name": name, "summary": summary(path)} for name, path in configs(recipe).items()],
            }
            for recipe in recipes().values()
        ],
        "converters": [{"name": one.name, "summary": one.summary} for one in converters().values()],
        "exporters": [{"name": one.name, "summary": one.summary} for one in exporters().values()],
    }


def summary(config: Path) -> str:
    """First sentence of the comment that opens a config."""
    comment = []
    for line in config.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        comment.append(line.lstrip("# ").rstrip())
    sentence, stop, _ = " ".join(comment).partition(". ")
    return sentence.removesuffix(".").removesuffix(":") if not stop else sentence
