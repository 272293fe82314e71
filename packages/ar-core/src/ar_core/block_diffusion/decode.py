"""The block decoder that Fast-dLLM v2, Efficient-DLM and DiffusionVL share."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import torch

from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone, Decoded, DecodeStats, OnToken, StopRule, TokenStream, Trace, check_prompts
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, row_generators

from .passes import run_pass
from .policy import BlockPolicy
from .row import BlockRow, Move

__all__ = ["decode_blocks"]


@torch.no_grad()
def decode_blocks(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    policy: BlockPolicy,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    batch_size: int | None = None,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Generate block by block; inside a block, several masked positions per pass.

    Symbols: B rows, D block size, S sub-block size, P prompt length, N new tokens, M mask token, tau threshold.

    The passes of a row:

    - *prefill* stores the prompt before its first block, `(P // D) * D` tokens on the absolute grid; none if P < D.
    - *denoise* shows the cache and the whole block, D tokens, predicts the masked positions of the leftmost
      sub-block that has any, and accepts those whose confidence reaches tau, but at least the single most confident
      one (`steps`: few). With the sub-block cache, a pass computes only that sub-block's S tokens, once an earlier
      pass has stored the whole block and while the sub-block's first token is known; the other slots keep the keys
      and values of that earlier pass.
    - *commit*, when no mask is left: the finished block once more, its keys and values stored for good. With
      `first_token="commit"` its last logits give the first token of the next block, as in autoregressive decoding,
      by the same sampler and whatever its confidence.
    - *fused* (`commit="fused"`): one pass over `[finished block | next block, all M]`, 2D tokens. The finished block
      does not see the next one; the next one sees everything. It commits D tokens and is the next block's first
      denoise pass. Where every token of a block is denoised (`first_token="denoise"`) this is exactly commit plus
      denoise in one pass. **With `first_token="commit"` it is another algorithm than the published one**: the first
      token of the next block is still the commit's own prediction, from the same logits and always accepted, but the
      other positions of its first sub-block are predicted while that token is still M, and those that reach tau are
      accepted too. With tau >= 1 nothing else is accepted, and the output is that of `commit="separate"`. Where
      there is nothing else to predict (D = 1, S = 1, one token left) the pass is a plain commit.

    With `context="whole"` there are denoise passes alone, each over the prompt and all N tokens to come, the last block
    completed.

    Every row stands at its own block: what a row computes depends on its own tokens only, so a batch gives each row
    what it gets alone, in any order. In one step, rows that need passes of one width share a forward: denoise and
    commit passes are both D tokens wide (of whole rows, those of one length). Sub-block and fused passes are forwards of their own. A forward is counted
    under "denoise" if any of its rows denoises; row-forwards are counted under the phase of each row.

    The stop rule sees the tokens before a row's first mask after every write, those of prefill and commit included; a
    finished row is not committed, and leaves the batch or gives its place to the next prompt. M is banned in every
    draw. The length is exact for any N and P: the last block is computed whole, positions beyond the end stay M and
    are not predicted.

    A pass is read back once: tokens and confidences in one transfer. Acceptance is decided from them on the host.

    Args:
        backbone: the model.
        prompts: token ids of each row, ragged, each at least one.
        policy: block grid, visibility, acceptance, commit.
        stop: stop ids and strings, N, whether the stop is kept.
        sampler: for all tokens, first tokens of blocks included; default greedy.
        seed: of the rows' random streams (`ar_core.sampling.row_generators`).
        batch_size: rows decoded at a time; the other prompts wait, and take the place of rows that finish. None: all.
        on_token: called with a row and its newly final tokens, in order.
        trace: record which pass fixed which token, with its confidence.

    Returns:
        Generated tokens in the order of the prompts, with statistics (phases "prefill", "denoise", "commit", "fused").

    Raises:
        DataError: a prompt is no sequence of ids, is empty, has unknown ids, or does not fit the context with its last block completed.
        ConfigError: the mask id is outside the vocabulary or is a stop id, or `batch_size` is below 1.
        NumericsError: the model's logits are not numbers.
    """
    prompts = check_prompts(backbone, prompts, stop.max_new_tokens, slots=policy.slots)
    if not policy.mask_id < backbone.vocab_size:
        raise ConfigError(
            f"The mask id is {policy.mask_id}, and the model has ids 0 to {backbone.vocab_size - 1}; give the id of "
            f"the mask token that the model was trained with."
        )
    if policy.mask_id in stop.stop_ids:
        raise ConfigError(f"The mask id {policy.mask_id} is among the stop ids, but it is never generated; remove it.")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; decode at least 1 row at a time, or give None for all.")
    sampler = sampler or Sampler()
    sampler = replace(sampler, banned_ids=(*sampler.banned_ids, policy.mask_id))
    generators = row_generators(seed, len(prompts))
    rows = []
    for index, (prompt, generator) in enumerate(zip(prompts, generators)):
        length = policy.last_token(len(prompt), stop.max_new_tokens) - len(prompt)
        if length:
            rows.append(BlockRow(index, prompt, replace(stop, max_new_tokens=length), policy, generator))
    capacity = max(policy.slots(len(prompt), stop.max_new_tokens) for prompt in prompts)
    streams = [TokenStream(index, on_token, stop) for index in range(len(prompts))]
    run = _Run(backbone, policy, sampler, streams, Trace() if trace else None)
    run.decode(rows, batch_size or len(prompts), capacity)
    return Decoded(run.outputs, run.finish, run.stats, run.trace)


class _Run:
    """One call of `decode_blocks`: what it works with and what came of its rows."""

    def __init__(
        self,
        backbone: Backbone,
        policy: BlockPolicy,
        sampler: Sampler,
        streams: list[TokenStream],
        trace: Trace | None,
    ) -> None:
        self.backbone = backbone
        self.policy = policy
        self.sampler = sampler
        self.streams = streams
        self.trace = trace
        self.stats = DecodeStats(generated=[0] * len(streams))
        self.outputs: list[list[int]] = [[] for _ in streams]
        self.finish = ["length"] * len(streams)

    def decode(self, rows: list[BlockRow], batch_size: int, capacity: int) -> None:
        live, waiting = rows[:batch_size], deque(rows[batch_size:])
        if not live:
            return
        cache = self.backbone.new_cache(len(live), capacity)
        cache.prompts = [row.index for row in live]
        while live:
            # Rows whose passes have one width and one kind of mask share a forward.
            groups: dict[tuple[int | str, bool], dict[int, Move]] = {}
            for slot, row in enumerate(live):
                move = row.next_move()
                width = "prefill" if move.phase == "prefill" else move.length
                alone = self.policy.context == "causal" and move.phase == "commit"
                groups.setdefault((width, alone), {})[slot] = move
            for moves in groups.values():
                self._forward(cache, live, moves)

            live = [waiting.popleft() if row.finished and waiting else row for row in live]
            cache.prompts = [row.index for row in live]
            staying = [slot for slot, row in enumerate(live) if not row.finished]
            if staying and len(staying) < len(live):
                cache.rows(staying)
            live = [live[slot] for slot in staying]

    def _forward(self, cache: WindowedKVCache, live: list[BlockRow], moves: dict[int, Move]) -> None:
        """One call of the model and what follows from it; `moves` maps rows of the cache, hence of `live`, to moves."""
        rows = [live[slot] for slot in moves]
        phases = [move.phase for move in moves.values()]
        phase = "denoise" if "denoise" in phases else phases[0]
        number = self.stats.nfe
        with self.stats.forward(phase, phases.count(phase), max(move.length for move in moves.values())):
            tokens, confidences = run_pass(self.backbone, cache, rows, moves, self.policy, self.sampler)
        if phases.count(phase) < len(phases):
            self.stats.row_forwards["commit"] += phases.count("commit")

        begin = 0
        for row, move in zip(rows, moves.values()):
            end = begin + len(move.targets)
            accepted = row.apply(move, tokens[begin:end], confidences[begin:end])
            self.stats.accept(len(accepted))
            if self.trace is not None:
                self.trace.add(
                    number,
                    move.phase,
                    row.index,
                    [move.targets[i] - row.prompt_length for i in accepted],
                    [tokens[begin + i] for i in accepted],
                    [confidences[begin + i] for i in accepted],
                )
            output = row.settle()
            self.streams[row.index].advance(output, finished=row.finished is not None)
            if row.finished is not None:
                self.outputs[row.index] = output
                self.finish[row.index] = row.finished.reason
                self.stats.generated[row.index] = len(output)
            begin = end
