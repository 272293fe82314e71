"""What there is to run."""

from collections.abc import Iterator
from pathlib import Path

from ar_core.registry import configs, converters, exporters, recipes

__all__ = ["lines", "summary"]


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


def summary(config: Path) -> str:
    """First sentence of the comment that opens a config."""
    comment = []
    for line in config.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        comment.append(line.lstrip("# ").rstrip())
    sentence, stop, _ = " ".join(comment).partition(". ")
    return sentence.removesuffix(".").removesuffix(":") if not stop else sentence
