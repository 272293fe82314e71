"""One row of a batch as the verifier sees it.

Source: ours.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ar_core.decoding import StopRule, TokenStream

__all__ = ["Row"]


class Row:
    """What a row has generated, whether it goes on, and its random stream.

    Args:
        number: index among the prompts.
        prompt: P ≥ 1 ids.
        stop: when the row ends.
        stream: receives tokens as they become final.
        generator: the row's random numbers.
        once: whether a number that was looked at never comes again, spent or not.
    """

    def __init__(
        self,
        number: int,
        prompt: Sequence[int],
        stop: StopRule,
        stream: TokenStream,
        generator: Generator,
        *,
        once: bool = False,
    ) -> None:
        self.number = number
        self.context = list(prompt)
        """All ids known so far, prompt included."""
        self.output: list[int] = []
        """Generated ids; after the end, without what lies behind it."""
        self.finish = ""
        """Why the row has ended; empty while it runs."""
        self._generator = generator
        self._once = once
        self._numbers: list[Tensor] = []
        self._stop = stop
        self._stream = stream

    @property
    def limit(self) -> int:
        """Longest useful draft: with one more token of the verifier, it fills the row."""
        return self._stop.max_new_tokens - len(self.output) - 1

    def numbers(self, count: int) -> list[Tensor]:
        """The row's next ``count`` uniform numbers, float64 [1] each, drawn as a Sampler draws them; not yet spent."""
        while len(self._numbers) < count:
            self._numbers.append(torch.rand(1, dtype=torch.float64, generator=self._generator))
        return self._numbers[:count]

    def spend(self, count: int) -> None:
        """Go on behind the next ``count`` numbers; what was looked at and not spent comes again, unless ``once``."""
        del self._numbers[: None if self._once else count]

    def take(self, tokens: Sequence[int]) -> list[int]:
        """Append final tokens, end the row if one of them ends it, and return those that stay in the output."""
        seen = len(self.output)
        self.context.extend(tokens)
        self.output.extend(tokens)
        end = self._stop.check(self.output, seen)
        if end is not None:
            del self.output[end.length :]
            self.finish = end.reason
        self._stream.advance(self.output, finished=end is not None)
        return self.output[seen:]
