"""Words that a shell completes."""

from collections.abc import Callable, Iterable, Mapping

import typer

from ..config import described

__all__ = ["Words", "completed", "settings_of", "typed"]

Words = list[tuple[str, str]]
"""Words with what they mean."""


def completed(words: Mapping[str, str] | Iterable[str]) -> Callable[[str], Words]:
    """Return the completion of fixed words, with what they mean where that is given."""
    known = words if isinstance(words, Mapping) else dict.fromkeys(words, "")

    def complete(incomplete: str) -> Words:
        return [(word, meaning) for word, meaning in known.items() if word.startswith(incomplete)]

    return complete


def settings_of(options: str) -> Callable[[str], Words]:
    """Return the completion of ``key=`` for the fields of a dataclass, nested ones by their dotted names.

    Args:
        options: ``"module:Class"``; read from its source when a word is completed, and not imported.
    """

    def complete(incomplete: str) -> Words:
        return completed(
            {
                f"{key}.{one.name}=" if key else f"{one.name}=": one.doc
                for section in described(options)
                for key in section.keys or ("",)
                for one in section.fields
            }
        )(incomplete)

    return complete


def typed(context: typer.Context, name: str, place: int) -> str | None:
    """Return the argument of a command line that is being written, None if it is not there yet.

    Args:
        context: of the completion.
        name: of the argument.
        place: among the arguments, from 0: behind an option without its value, the parser has not told them apart.
    """
    found = context.params.get(name)
    if found is None and place < len(context.args):
        return context.args[place]
    return found
