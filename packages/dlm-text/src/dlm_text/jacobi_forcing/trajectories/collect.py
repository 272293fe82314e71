"""Jacobi trajectories of a model's own greedy continuations (arXiv 2512.14681, section 3.1)."""

from collections.abc import Sequence, Set
from itertools import accumulate

import torch
from ar_core.decoding import Backbone, causal_pass, check_prompts, check_sound, pick
from ar_core.sampling import Sampler
from torch import Generator, Tensor

from .trajectory import Trajectory

__all__ = ["collect"]


class _Row:
    """One prompt on its way: finished blocks, and the block being iterated."""

    def __init__(self, prompt: Sequence[int], limit: int, generator: Generator, size: int) -> None:
        self.prompt, self.limit, self.size = list(prompt), limit, size
        self.text: list[int] = []
        self.clean: list[list[int]] = []
        self.states: list[list[list[int]]] = []
        self.draft: list[int] = []
        self._accepted: list[int] = []
        self._generator = generator

    def begin_block(self, certain: int) -> None:
        """Draft a block: its first token is known, the others are drawn from all tokens seen so far."""
        seen = self.prompt + self.text
        drawn = torch.randint(len(seen), (self.size - 1,), generator=self._generator).tolist()
        self.draft, self._accepted = [certain, *(seen[place] for place in drawn)], []
        self.states.append([self.draft])

    def advance(self, picks: Sequence[int], stop_ids: Set[int]) -> tuple[int, bool]:
        """Take the model's picks behind each token of the draft; how many draft tokens are final, and whether all is done."""
        draft = self.draft
        right = 1 + next(
            (place for place, (token, pick) in enumerate(zip(draft[1:], picks)) if token != pick), len(draft) - 1
        )
        self._accepted += draft[:right]
        self.draft = list(picks[right - 1 : len(draft) - 1])
        if len(draft) > 1:
            # A draft of one token is certain before the pass: there was nothing to iterate.
            self.states[-1].append([*self._accepted, *self.draft])
        if self.draft:
            return right, False
        self.clean.append(self._accepted)
        self.text += self._accepted
        if len(self.clean) == self.limit or not stop_ids.isdisjoint(self._accepted):
            return right, True
        self.begin_block(picks[-1])
        return right, False

    def trajectory(self) -> Trajectory:
        return Trajectory(
            torch.tensor(self.prompt), torch.tensor(self.clean), tuple(torch.tensor(states) for states in self.states)
        )


@torch.no_grad()
def collect(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    *,
    block_size: int,
    blocks: Sequence[int],
    stop_ids: Set[int],
    generators: Sequence[Generator],
) -> list[Trajectory]:
    """Iterate blocks to their fixed points, all rows of a batch at once, and keep every state on the way.

    A pass evaluates the draft of every row against the windowed cache. The draft's first token is certain; those that the
    model picks too are final, the next one is corrected, and the model's picks behind it are the new draft, until the
    whole block is final. State 0 is the draft as it was drawn (the published code overwrites it with the fixed point); the
    last two states are equal where the last pass only confirmed guesses.

    Args:
        backbone: the model, in eval mode.
        prompts: B lists of ids, of any lengths >= 1.
        block_size: n.
        blocks: most blocks of each row, >= 1.
        stop_ids: a row ends with the block that holds one; what follows it in the block is whatever the model goes on with.
        generators: of each row's drafts; a row's trajectory does not depend on its batch mates.

    Returns:
        B trajectories.

    Raises:
        DataError: a prompt is empty, has ids outside the vocabulary, or does not fit the context with one block.
        NumericsError: the model's logits are not numbers.
    """
    prompts = check_prompts(backbone, prompts, block_size)
    rows = [
        _Row(prompt, limit, generator, block_size)
        for prompt, limit, generator in zip(prompts, blocks, generators, strict=True)
    ]
    # Short drafts are passed as wide as the widest, hence one block more.
    room = max(len(row.prompt) + row.limit * block_size for row in rows) + block_size
    cache = backbone.new_cache(len(rows), room)

    hidden = causal_pass(backbone, cache, prompts)
    cache.keep([len(row.prompt) for row in rows])
    for row, (first,) in zip(rows, _picks(backbone, hidden, [(len(row.prompt) - 1, len(row.prompt)) for row in rows])):
        row.begin_block(first)

    active = rows
    while active:
        hidden = causal_pass(backbone, cache, [row.draft for row in active])
        picks = _picks(backbone, hidden, [(0, len(row.draft)) for row in active])
        settled = [row.advance(found, stop_ids) for row, found in zip(active, picks, strict=True)]
        cache.keep([count for count, _ in settled])
        running = [slot for slot, (_, over) in enumerate(settled) if not over]
        if 0 < len(running) < len(active):
            cache.rows(running)
        active = [active[slot] for slot in running]
    return [row.trajectory() for row in rows]


def _picks(backbone: Backbone, hidden: Tensor, spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Argmax behind the tokens of a span of each row: one read on the host."""
    asked = torch.cat([hidden[slot, first:last] for slot, (first, last) in enumerate(spans)])
    found: list[int] = pick(backbone, asked, Sampler(), with_confidences=False)[0].tolist()
    check_sound(found)
    ends = list(accumulate(last - first for first, last in spans))
    return [found[end - last + first : end] for end, (first, last) in zip(ends, spans, strict=True)]
