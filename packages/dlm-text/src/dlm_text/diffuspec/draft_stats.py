"""What drafting cost and what came of it, by the definitions that all methods share.

Source: ours.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["DraftStats", "mark", "seconds_between"]


@dataclass
class DraftStats:
    """Counts of one batch.

    A *round* is a row of a verifying pass that had a draft. Tokens per round: `accepted_draft` leaves the verifier's own
    token out (the paper's L^acc), `committed` counts it (as Spec-Bench does for several methods).
    """

    forwards: int = 0
    """Passes of the drafter."""
    tokens: int = 0
    """Tokens that these computed."""
    rounds: int = 0
    """Drafts that were verified."""
    accepted: int = 0
    """Draft tokens that the verifier kept."""
    judged_at: Counter[int] = field(default_factory=Counter)
    """How often a draft had a token at position i (from 1) whose beginning was right: {i: times}."""
    right_at: Counter[int] = field(default_factory=Counter)
    """How often that token was kept."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Wall-clock time by phase: "draft" and "search"."""

    def record(self, judged: int, accepted: int) -> None:
        """Note a round in which `accepted` of `judged` draft tokens were kept."""
        self.rounds += 1
        self.accepted += accepted
        self.judged_at.update(range(1, min(judged, accepted + 1) + 1))
        self.right_at.update(range(1, accepted + 1))

    @property
    def accepted_per_round(self) -> float:
        """Mean accepted draft tokens; 0 if nothing was drafted."""
        return self.accepted / self.rounds if self.rounds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All counts and the rates derived from them, JSON-able."""
        return {
            "drafter_forwards": self.forwards,
            "drafter_tokens": self.tokens,
            "rounds": self.rounds,
            "accepted_draft_per_round": self.accepted_per_round,
            "committed_per_round": self.accepted_per_round + 1 if self.rounds else 0.0,
            "acceptance_at": {str(i): self.right_at[i] / times for i, times in sorted(self.judged_at.items())},
            "seconds": {phase: float(s) for phase, s in self.seconds.items()},
        }


def mark(device: torch.device) -> Any:
    """A point in time of a device that may run behind the host."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(begin: Any, end: Any) -> float:
    """Seconds between two marks of one device, of which a result has been read since."""
    return float(end - begin if isinstance(begin, float) else begin.elapsed_time(end) / 1000)
