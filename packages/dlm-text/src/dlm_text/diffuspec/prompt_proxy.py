"""A proxy that needs no corpus: n-gram counts of what has been written so far.

Source: ours; hierarchical Dirichlet smoothing (MacKay and Peto, 1995).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["PromptProxy"]


class PromptProxy:
    """Counts of prompt and committed output, smoothed by a hierarchy of Dirichlet priors.

        p(w) = (c(w) + α / V) / (L + α),    p(w | h) = (c(hw) + α p(w | h')) / (c(h) + α),

    h' being h without its first token and c(h) the number of places where h is followed by anything, so that every
    distribution sums to one. Counting is comparing the history with every place of the context, on the device, anew each
    round: nothing is kept.

    Args:
        vocab_size: V.
        device: where scores are computed.
        order: n ≥ 1 of the longest n-grams.
        strength: α > 0, pseudo-counts of the shorter context.
    """

    def __init__(
        self, vocab_size: int, device: torch.device | str = "cpu", *, order: int = 3, strength: float = 1.0
    ) -> None:
        self.history = order - 1
        self._vocab_size, self._device, self._strength = vocab_size, device, strength
        self._windows = torch.empty(0, 0, order, dtype=torch.int64)

    def begin(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """See :class:`Proxy`; keeps the contexts as windows of n tokens, -2 before their beginning and behind their end."""
        longest = max(map(len, contexts))
        pad = [-2] * self.history
        rows = [[*pad, *context, *[-2] * (longest - len(context))] for context in contexts]
        ids = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._windows = ids.unfold(1, self.history + 1, 1)
        last = [[*[-1] * self.history, *context][len(context) :] for context in contexts]
        return torch.tensor(last, dtype=torch.int64, device=self._device).view(len(contexts), self.history)

    def score(self, history: Tensor, candidates: Tensor) -> Tensor:
        """See :class:`Proxy`."""
        follows = self._windows[..., -1]
        real = follows >= 0
        hits = (follows[:, None] == candidates[..., None])[:, None]
        matches = real[:, None].expand(-1, history.shape[1], -1)
        p = torch.full((), 1.0 / self._vocab_size, dtype=torch.float64, device=candidates.device)
        for length in range(self.history + 1):
            if length:
                place = self.history - length
                matches = matches & (self._windows[..., place][:, None] == history[..., place, None])
            counts = (hits & matches[:, :, None]).sum(-1)
            p = (counts + self._strength * p) / (matches.sum(-1)[..., None] + self._strength)
        return p.log()
