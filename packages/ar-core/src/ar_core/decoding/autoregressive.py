"""One token per forward: the baseline that every method is measured against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.decoding.backbone import Backbone
from ar_core.decoding.causal_pass import causal_pass
from ar_core.decoding.decoded import Decoded, OnToken
from ar_core.decoding.numerics import check_sound
from ar_core.decoding.pick import pick
from ar_core.decoding.prompts import check_prompts
from ar_core.decoding.stats import DecodeStats
from ar_core.decoding.stop import StopRule
from ar_core.decoding.token_stream import TokenStream
from ar_core.decoding.trace import Trace
from ar_core.sampling import Sampler, row_generators

__all__ = ["autoregressive"]


@torch.no_grad()
def autoregressive(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    *,
    stop: StopRule,
    sampler: Sampler,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Decode a ragged batch one token per row and forward, with the windowed cache.

    All prompts are prefilled in one pass. Nothing is padded in the cache: what a shorter prompt's padding wrote lies behind
    its committed length, where no query sees it and the row's own tokens overwrite it. A row that ends is evicted at once
    (one copy of the cache), so that it costs no further computation. A single row, and rows of equal length, run without
    any mask after the prefill.

    Args:
        backbone: the model.
        prompts: token ids of each row, none empty, of any lengths.
        stop: when a row ends.
        sampler: how a token is chosen.
        seed: for a positive temperature; see `row_generators`: a row's draws never depend on its batch mates.
        on_token: called with each token once it is final and known to be part of the output.
        trace: record which pass fixed which token.

    Returns:
        Tokens, finish reasons, statistics: phases "prefill" (its forward also yields the first token) and "step".

    Raises:
        DataError: a prompt is no sequence of ids, is empty, holds ids outside the vocabulary, or does not fit the context with its new tokens.
        NumericsError: the model's logits are not numbers.
    """
    prompts = check_prompts(backbone, prompts, stop.max_new_tokens)
    stats = DecodeStats()
    recorder = Trace() if trace else None
    generators = None if sampler.greedy else row_generators(seed, len(prompts))
    output: list[list[int]] = [[] for _ in prompts]
    finish = [""] * len(prompts)
    streams = [TokenStream(row, on_token, stop) for row in range(len(prompts))]
    cache = backbone.new_cache(len(prompts), max(map(len, prompts)) + stop.max_new_tokens)
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=backbone.device)
    active = list(range(len(prompts)))
    tokens: Tensor | None = None

    while active:
        phase = "prefill" if tokens is None else "step"
        with stats.forward(phase, len(active), max(map(len, prompts)) if tokens is None else 1):
            if tokens is None:
                hidden = causal_pass(backbone, cache, prompts)
                hidden = hidden[torch.arange(len(prompts), device=backbone.device), ends]
                cache.keep([len(prompt) for prompt in prompts])
            else:
                hidden = causal_pass(backbone, cache, tokens[:, None])[:, 0]
                cache.keep(1)
            tokens, confidences = pick(backbone, hidden, sampler, generators, with_confidences=trace)
            fresh: list[int] = tokens.tolist()
        check_sound(fresh)
        alive = []
        for slot, (row, token) in enumerate(zip(active, fresh)):
            generated = output[row]
            generated.append(token)
            stats.accept(1)
            if recorder is not None and confidences is not None:
                recorder.add(stats.nfe - 1, phase, row, [len(generated) - 1], [token], [float(confidences[slot])])
            end = stop.check(generated, seen=len(generated) - 1)
            if end is None:
                alive.append(slot)
            else:
                del generated[end.length :]
                finish[row] = end.reason
            streams[row].advance(generated, finished=end is not None)
        if alive and len(alive) < len(active):
            cache.rows(alive)
            tokens = tokens[torch.tensor(alive, device=tokens.device)]
            generators = None if generators is None else [generators[slot] for slot in alive]
        active = [active[slot] for slot in alive]
    stats.generated = [len(row) for row in output]
    return Decoded(output, finish, stats, recorder)
