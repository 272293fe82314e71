"""How long a draft is worth its price."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from ar_core.verification.draft import Draft
from ar_core.verification.pass_cost import PassCost

__all__ = ["DraftBudget"]

_PRIOR_ACCEPTED, _PRIOR_REJECTED = 4.0, 1.0
_MEMORY = 0.9
_PROBE_EVERY = 16


class DraftBudget:
    """Chooses the draft length of each pass from what drafts were worth so far and what longer passes cost.

    A row's drafted tokens are taken to be right with one probability α each, until the first wrong one, so k of them
    bring E(k) = α (1 − α^k) / (1 − α) tokens beyond the one that every pass brings. α is the share of right
    ones among the judged, forgetting a tenth per pass, from an optimistic start of 4 right to 1 wrong. The
    budget is the k ≥ 0 with the largest

        mean over rows of (1 + E(min(k, drafted)))  /  cost of a pass over 1 + n(k) tokens,

    where n(k) is the largest number of tokens that any row's draft has within k places: k itself for chains, more for
    trees, whose branches show in α. It is the shortest such k; 0 is plain one-token decoding. So that a proposer that has become useful is noticed,
    every 16th pass in a row that had a draft but no budget for it verifies the draft in full.

    The choice is a function of the tokens and the given cost curve alone, never of a clock: runs are reproducible.

    Args:
        cost: cost curve of the device.
        rows: rows of the batch.
    """

    def __init__(self, cost: PassCost, rows: int) -> None:
        self._cost = cost
        self._accepted = [_PRIOR_ACCEPTED] * rows
        self._rejected = [_PRIOR_REJECTED] * rows
        self._withheld = 0

    def limit(self, rows: Sequence[int], drafts: Sequence[Draft | Sequence[int]]) -> int:
        """How many tokens ahead to verify in this pass, ≤ the depth of the deepest of ``drafts``."""
        widths = [list(accumulate(_level_sizes(Draft.of(draft)))) for draft in drafts]
        longest = max(map(len, widths))
        if longest == 0:
            return 0
        best = max(
            range(longest + 1), key=lambda k: self._tokens(rows, widths, k) / self._cost.ratio(_width(widths, k))
        )
        if best == 0:
            self._withheld += 1
            best = longest if self._withheld % _PROBE_EVERY == 0 else 0
        else:
            self._withheld = 0
        return best

    def record(self, row: int, drafted: int, accepted: int) -> None:
        """Note that a row's draft of depth ``drafted`` > 0 was right for ``accepted`` tokens."""
        self._accepted[row] = _MEMORY * self._accepted[row] + accepted
        self._rejected[row] = _MEMORY * self._rejected[row] + (accepted < drafted)

    def _tokens(self, rows: Sequence[int], widths: Sequence[Sequence[int]], k: int) -> float:
        total = 0.0
        for row, own in zip(rows, widths, strict=True):
            right = self._accepted[row] / (self._accepted[row] + self._rejected[row])
            total += 1.0 + sum(right**i for i in range(1, min(k, len(own)) + 1))
        return total


def _level_sizes(draft: Draft) -> list[int]:
    """Tokens at each depth, from depth 1."""
    sizes = Counter(draft.depths())
    return [sizes[depth] for depth in range(1, len(sizes) + 1)]


def _width(widths: Sequence[Sequence[int]], k: int) -> int:
    """Tokens of a pass that verifies k places ahead."""
    return 1 + max(own[min(k, len(own)) - 1] if own and k else 0 for own in widths)
