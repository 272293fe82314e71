"""Checks that both forms of the op share."""

from collections.abc import Sequence

__all__ = ["check"]


def check(vocabulary: int, temperature: float, banned_ids: Sequence[int]) -> None:
    """Refuse what has no answer.

    Raises:
        ValueError: in one sentence.
    """
    if not temperature > 0:
        raise ValueError(f"confidence takes a positive temperature, got {temperature}: for greedy decoding use 1")
    outside = [i for i in banned_ids if not 0 <= i < vocabulary]
    if outside:
        raise ValueError(f"banned id {outside[0]} is outside of the vocabulary 0..{vocabulary - 1}: remove it")
    if len(set(banned_ids)) >= vocabulary:
        raise ValueError(f"all {vocabulary} ids are banned: leave at least one to choose from")
