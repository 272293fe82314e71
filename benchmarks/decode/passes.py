"""One pass of a decoder over a cache that holds a context, and the same in words that another engine understands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from ar_core.hf import HFBackbone
from torch import Tensor

__all__ = ["Build", "Pass", "Stage", "draw_prompts"]


@dataclass(frozen=True)
class Stage:
    """Tokens that the context is made of.

    Attributes:
        ids: `[B][n]`.
        allowed: bool `[n, K]`, who sees whom of all up to here; None: causal.
        keep: how many of them stay.
    """

    ids: list[list[int]]
    allowed: Tensor | None
    keep: int


@dataclass(frozen=True)
class Pass:
    """A pass that can be run again and again.

    Attributes:
        run: as its decoder makes it: input from the host, model, head, choice of tokens, tokens on the host.
        stages: what the cache holds before it.
        ids: `[B][n]` that it computes.
        reads: of the n, whose logits it reads, in order.
        allowed: bool `[n, K]`, who sees whom; None: causal.
        depths: positions of the n behind the context; None: one after the other.
    """

    run: Callable[[], Any]
    stages: Sequence[Stage]
    ids: list[list[int]]
    reads: Sequence[int]
    allowed: Tensor | None = None
    depths: Sequence[int] | None = field(default=None)

    @property
    def length(self) -> int:
        """n."""
        return len(self.ids[0])


Build: TypeAlias = Callable[[HFBackbone, int, int], Pass]
"""(backbone, tokens of context, rows) -> pass."""


def draw_prompts(backbone: HFBackbone, length: int, batch: int) -> list[list[int]]:
    """Random ids `[B][length]`, never the last of the vocabulary, which serves as mask token."""
    generator = torch.Generator().manual_seed(length)
    return torch.randint(backbone.vocab_size - 1, (batch, length), generator=generator).tolist()
