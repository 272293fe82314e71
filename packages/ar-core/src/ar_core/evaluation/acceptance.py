"""Acceptance by position: how far into its tokens a pass gets."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DraftAcceptance", "PositionAcceptance", "acceptance_by_position", "draft_acceptance"]


@dataclass(frozen=True)
class PositionAcceptance:
    """What became of the i-th token of the passes.

    Attributes:
        position: i, from 1: the i-th token that a pass of one row fixed. Of a verifier's pass that kept a draft tokens,
            positions 1 to a are the draft's and a + 1 is the verifier's own.
        reached: share of all passes that fixed at least i tokens, in (0, 1].
        given_previous: share of the passes that fixed at least i - 1 tokens, in (0, 1]; at i = 1 the same as ``reached``.
    """

    position: int
    reached: float
    given_previous: float


@dataclass(frozen=True)
class DraftAcceptance:
    """What became of the i-th tokens of a verifier's drafts.

    Attributes:
        position: i, from 1: places behind the newest known token; in a tree, depth.
        drafted: drafts that reached so far.
        accepted: share of these that were right up to there, in [0, 1].
    """

    position: int
    drafted: int
    accepted: float


def draft_acceptance(drafted_at: Mapping[int, int], accepted_at: Mapping[int, int]) -> list[DraftAcceptance]:
    """Acceptance of drafts by position.

    Args:
        drafted_at: ``{place from 1: drafts}``, as ``DecodeStats`` counts them.
        accepted_at: ``{place: drafts that were right up to there}``.

    Returns:
        Positions in order; empty if nothing was drafted.
    """
    return [
        DraftAcceptance(place, drafted, accepted_at.get(place, 0) / drafted)
        for place, drafted in sorted(drafted_at.items())
    ]


def acceptance_by_position(accepted: Mapping[int, int]) -> list[PositionAcceptance]:
    """Survival of positions, from a histogram of tokens per pass.

    Args:
        accepted: ``{tokens: passes}`` with tokens >= 0, as ``DecodeStats.accepted`` counts them (prefill included,
            which fixes one token).

    Returns:
        Positions 1 to the most that a pass fixed; empty if no pass fixed any.
    """
    passes = sum(accepted.values())
    found, previous = [], passes
    for position in range(1, max((n for n, times in accepted.items() if times), default=0) + 1):
        reached = sum(times for tokens, times in accepted.items() if tokens >= position)
        found.append(PositionAcceptance(position, reached / passes, reached / previous))
        previous = reached
    return found
