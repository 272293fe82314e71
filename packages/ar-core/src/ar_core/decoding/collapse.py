"""Has a text collapsed? The columns that stand beside every tokens-per-forward figure on language."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Collapse", "collapse_columns", "distinct", "longest_repeated_span"]

COLLAPSED_BELOW = 0.9
"""A method whose distinct-3 is below this share of AR's own has collapsed; its speed does not count."""


@dataclass(frozen=True)
class Collapse:
    """Degeneration measures of a set of outputs (token ids, stop token excluded).

    Attributes:
        distinct_3: different trigrams over all trigrams, pooled over the outputs (Li et al., arXiv 1510.03055), in [0, 1].
        longest_repeated_span: tokens of the longest span that occurs twice in one output, the mean over outputs.
        eos_rate: share of outputs that ended with a stop token rather than at the limit.
        mean_length: tokens per output.
    """

    distinct_3: float
    longest_repeated_span: float
    eos_rate: float
    mean_length: float

    def collapsed(self, baseline: "Collapse") -> bool:
        """Whether distinct-3 fell below 0.9 × the baseline's."""
        return self.distinct_3 < COLLAPSED_BELOW * baseline.distinct_3


def collapse_columns(outputs: Sequence[Sequence[int]], finish: Sequence[str]) -> Collapse:
    """Measure ``outputs``, at least one; ``finish[i]`` is ``"length"`` where output i did not end by itself."""
    return Collapse(
        distinct_3=distinct(outputs, 3),
        longest_repeated_span=sum(map(longest_repeated_span, outputs)) / len(outputs),
        eos_rate=sum(reason != "length" for reason in finish) / len(outputs),
        mean_length=sum(map(len, outputs)) / len(outputs),
    )


def distinct(outputs: Sequence[Sequence[int]], n: int) -> float:
    """Distinct-n: different n-grams over all n-grams of all outputs; 0 if no output has n tokens."""
    grams = [tuple(ids[i : i + n]) for ids in outputs for i in range(len(ids) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def longest_repeated_span(ids: Sequence[int]) -> int:
    """Length of the longest span that occurs at least twice (overlaps allowed), by bisection over the length."""
    low, high = 0, max(len(ids) - 1, 0)
    while low < high:
        length = (low + high + 1) // 2
        spans = [tuple(ids[i : i + length]) for i in range(len(ids) - length + 1)]
        if len(set(spans)) < len(spans):
            low = length
        else:
            high = length - 1
    return low
