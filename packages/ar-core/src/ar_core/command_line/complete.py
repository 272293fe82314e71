"""Words that a shell completes."""

from collections.abc import Callable, Iterable, Mapping

from ..config import described

__all__ = ["Words", "completed", "settings_of"]

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
