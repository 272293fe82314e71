"""Which ids verifier and drafter share, and how one's are written in the other's.

Source: ours.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ar_core.errors import ConfigError
from torch import Tensor

__all__ = ["Vocabulary"]


class Vocabulary:
    """A one-to-one map between the ids of two models, with everything else forbidden in drafts.

    An id is shared if both tokenizers give it the same string: the same number is not enough (id 151666 is the mask token of
    Dream and a tool tag of Qwen3), and a bound on the number is no substitute (for Qwen tokenizers `vocab_size` leaves out
    every special token, both stop ids among them).

    Args:
        to_drafter: for each of the verifier's V_t ids the drafter's, -1 where it has none.
        drafter_size: V_d, rows of the drafter's logits.
        filler: the drafter's id for what it does not know in a context.
        forbidden: drafter ids that are never drafted, shared or not (its mask token).
    """

    def __init__(
        self, to_drafter: Sequence[int], drafter_size: int, *, filler: int = 0, forbidden: Iterable[int] = ()
    ) -> None:
        banned = set(forbidden)
        shared = [(mine, theirs) for mine, theirs in enumerate(to_drafter) if theirs >= 0 and theirs not in banned]
        self.shared = len(shared)
        """Ids that may be drafted."""
        # A context shows the drafter its mask token only where something is to be drafted.
        self._written = [theirs if theirs >= 0 and theirs not in banned else filler for theirs in to_drafter]
        self._allowed = torch.zeros(drafter_size, dtype=torch.bool)
        self._allowed[[theirs for _, theirs in shared]] = True
        self._source = torch.tensor([max(theirs, 0) for theirs in to_drafter])
        self._shared = torch.zeros(len(to_drafter), dtype=torch.bool)
        self._shared[[mine for mine, _ in shared]] = True
        self._same = len(to_drafter) == drafter_size and all(mine == theirs for mine, theirs in shared)

    @staticmethod
    def same(size: int, drafter_size: int, *, forbidden: Iterable[int] = (), filler: int = 0) -> "Vocabulary":
        """Two models of one tokenizer: equal ids are equal, as far as both have them."""
        ids = [number if number < drafter_size else -1 for number in range(size)]
        return Vocabulary(ids, drafter_size, filler=filler, forbidden=forbidden)

    @staticmethod
    def align(
        verifier: Any,
        drafter: Any,
        size: int,
        drafter_size: int,
        *,
        forbidden: Iterable[int] = (),
        min_shared: float = 0.9,
    ) -> "Vocabulary":
        """Compare the strings of two Hugging Face tokenizers id by id, and map those that both have.

        Args:
            verifier: tokenizer of the verifier.
            drafter: tokenizer of the drafter.
            size: V_t.
            drafter_size: V_d.
            forbidden: drafter ids that are never drafted.
            min_shared: refuse if less than this share of the verifier's strings is known to the drafter.

        Raises:
            ConfigError: the tokenizers share too little.
        """
        own, other = verifier.get_vocab(), drafter.get_vocab()
        ids = [-1] * size
        for text, number in own.items():
            if number < size and 0 <= (theirs := other.get(text, -1)) < drafter_size:
                ids[number] = theirs
        known = sum(theirs >= 0 for theirs in ids)
        if known < min_shared * len(own):
            raise ConfigError(
                f"the drafter's tokenizer knows {known} of the verifier's {len(own)} tokens, and min_shared asks for "
                f"{min_shared:.0%}; give a drafter with the verifier's tokenizer, or lower min_shared."
            )
        candidates = (getattr(drafter, name, None) for name in ("unk_token_id", "pad_token_id", "eos_token_id"))
        banned = set(forbidden)
        filler = next((number for number in candidates if number is not None and number not in banned), 0)
        return Vocabulary(ids, drafter_size, filler=filler, forbidden=banned)

    def encode(self, ids: Sequence[int]) -> list[int]:
        """The verifier's ids in the drafter's; what the drafter does not know becomes the filler."""
        return [self._written[number] for number in ids]

    def forbid(self, logits: Tensor) -> Tensor:
        """Drafter logits `[..., V_d]` with all that may not be drafted at -inf; float32 or better."""
        self._move(logits.device)
        scores = logits if logits.dtype == torch.float64 else logits.float()
        return scores.masked_fill(~self._allowed, -torch.inf)

    def translate(self, log_probs: Tensor) -> Tensor:
        """Log-probabilities over the drafter's ids `[..., V_d]` as over the verifier's `[..., V_t]`."""
        if self._same:
            return log_probs
        return log_probs.index_select(-1, self._source).masked_fill(~self._shared, -torch.inf)

    def _move(self, device: torch.device) -> None:
        if self._allowed.device != device:
            self._allowed, self._source, self._shared = (
                one.to(device) for one in (self._allowed, self._source, self._shared)
            )
