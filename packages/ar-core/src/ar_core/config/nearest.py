"""The hint that follows an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean"]


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the part of an error sentence that helps with an unknown ``name``.

    The nearest of the ``valid`` names if one is near, otherwise all of them in order; those with a comma are quoted.
    """
    names = list(dict.fromkeys(valid))
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "there are none to choose from"
    return f"choose one of {', '.join(repr(name) if ',' in name else name for name in names)}"
