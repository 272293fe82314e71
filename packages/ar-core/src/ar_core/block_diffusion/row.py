"""One row of a batch as the block decoder sees it: its tokens, its current block, and its next move.

Source: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Generator

from ar_core.decoding import Finish, StopRule

from .policy import BlockPolicy
from .reveal import reveal

__all__ = ["BlockRow", "Move", "Phase"]

Phase = Literal["prefill", "denoise", "commit", "fused"]
"""What a pass does for a row: reads the prompt, reveals tokens of a block, stores a finished block, or stores one and
begins the next.
"""


@dataclass(frozen=True, slots=True)
class Move:
    """What a row asks of its next pass. Slots of the cache and positions of the sequence are the same numbers."""

    phase: Phase
    """What the pass does."""
    start: int
    """First slot that the pass writes."""
    length: int
    """Tokens of the pass."""
    visible: int
    """End (exclusive) of the slots that the pass sees."""
    keep: int
    """Tokens of the pass that are final, so that their keys and values are stored for good."""
    targets: tuple[int, ...]
    """Positions whose tokens the pass may predict, ascending; empty: no logits are needed."""
    forced: bool
    """Whether the first target is accepted in any case: the first token of a block, given by the pass that commits the
    tokens before it."""
    shows_all: bool
    """Whether every token of the pass sees all visible slots, so that rows alike need no mask."""

    def reads(self, shift: bool) -> list[int]:
        """Tokens of the pass, counted from 0, whose logits predict the targets."""
        offset = self.start + shift
        if self.forced:
            # Autoregressive whatever the alignment of the rest.
            return [self.targets[0] - self.start - 1, *(target - offset for target in self.targets[1:])]
        return [target - offset for target in self.targets]


class BlockRow:
    """State of one row, on the host.

    Which positions are masked is a list of its own; ids are never compared with the mask id, so a prompt may hold it.

    Args:
        index: the row's number among the prompts.
        prompt: P >= 1 ids.
        stop: when it is finished; its `max_new_tokens` is this row's own.
        policy: how it is decoded.
        generator: the row's own random stream.
    """

    def __init__(
        self, index: int, prompt: Sequence[int], stop: StopRule, policy: BlockPolicy, generator: Generator
    ) -> None:
        self.index = index
        self.ids = list(prompt)
        self.prompt_length = len(prompt)
        self.stop = stop
        self.end = policy.denoised_end(len(prompt), len(prompt) + stop.max_new_tokens)
        """Position (exclusive) up to which tokens are predicted."""
        self.policy = policy
        self.generator = generator
        self.finished: Finish | None = None
        self._seen = 0
        self._open(policy.first_block(len(prompt)))
        self._waits_for_prefill = self.start > 0 and policy.context != "whole"

    @property
    def generated(self) -> list[int]:
        """Generated tokens before the first mask, in order; they never change again."""
        known = self.masked[0] if self.masked else min(self.start + self.policy.block_size, self.end)
        return self.ids[self.prompt_length : known]

    def next_move(self) -> Move:
        """The pass that the row needs now: prefill once, denoise while its block has masks, else commit."""
        policy, size, start = self.policy, self.policy.block_size, self.start
        if policy.context == "whole":
            length = policy.slots(self.prompt_length, self.stop.max_new_tokens)
            return Move("denoise", 0, length, length, 0, self._window(self.masked)[1], False, True)
        gives_first = policy.first_token == "commit"
        if self._waits_for_prefill:
            gives_first = gives_first and self.masked[0] == start
            one_block = policy.context == "bidirectional" or (policy.context == "block_causal" and start <= size)
            return Move("prefill", 0, start, start, start, (start,) if gives_first else (), gives_first, one_block)

        end = start + size
        if self.masked:
            first, targets = self._window(self.masked)
            if policy.sub_block_cache and self._stored and targets[0] != first and policy.window < size:
                return Move("denoise", first, policy.window, end, 0, targets, False, True)
            return Move("denoise", start, size, end, 0, targets, False, True)

        if policy.commit == "fused":
            _, targets = self._window(range(end, min(end + size, self.end)))
            if len(targets) > gives_first:
                return Move("fused", start, 2 * size, end + size, size, targets, gives_first, False)
        targets = (end,) if gives_first else ()
        return Move("commit", start, size, end, size, targets, gives_first, policy.context != "causal")

    def input(self, move: Move, length: int) -> list[int]:
        """Ids of the pass; where the row has none yet, M."""
        ids = self.ids[move.start : min(move.start + move.length, len(self.ids))]
        return ids + [self.policy.mask_id] * (length - len(ids))

    def apply(self, move: Move, tokens: Sequence[int], confidences: Sequence[float]) -> list[int]:
        """Take the result of a pass.

        Args:
            move: what was asked.
            tokens: the token picked for each of its targets.
            confidences: their probabilities.

        Returns:
            Indices of the targets that are now fixed.
        """
        policy = self.policy
        if move.phase == "prefill":
            self._waits_for_prefill = False
        elif move.phase != "denoise":
            self._open(self.start + policy.block_size)
        accepted = []
        if move.phase in ("denoise", "fused"):
            certain = [2.0, *confidences[1:]] if move.forced else confidences
            accepted = reveal(
                certain, threshold=policy.threshold, strict=policy.strict, floor=policy.floor(self._passes)
            )
            self._passes += 1
            self._stored = True
        elif move.forced:
            accepted = [0]
        for i in accepted:
            self.ids[move.targets[i]] = tokens[i]
            self.masked.remove(move.targets[i])
        if policy.context == "whole" and not self.masked:
            # Without a commit the next block begins at once.
            self._open(self.start + policy.block_size)
        return accepted

    def settle(self) -> list[int]:
        """Ask the stop rule about the tokens before the first mask; to be called after every write.

        Returns:
            These tokens, cut at the row's end if it is `finished` now.
        """
        generated = self.generated
        self.finished = self.stop.check(generated, self._seen)
        self._seen = len(generated)
        return generated if self.finished is None else generated[: self.finished.length]

    def _open(self, start: int) -> None:
        """Begin the block at `start`: what is not prompt is masked, up to the row's end."""
        self.start = start
        known, block_end = len(self.ids), start + self.policy.block_size
        self.masked = list(range(known, min(block_end, self.end)))
        self.ids += [self.policy.mask_id] * (block_end - known)
        self._passes = 0
        self._stored = False

    def _window(self, masked: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """First position of the sub-block of the first of `masked`, and those of `masked` that lie in it."""
        size = self.policy.window
        first = masked[0] - (masked[0] - self.start) % size
        return first, tuple(position for position in masked if position < first + size)
