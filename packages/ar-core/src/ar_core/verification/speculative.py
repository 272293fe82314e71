"""The lossless loop of proposer and verifier over the windowed cache."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from ar_core.decoding import (
    Backbone,
    Decoded,
    DecodeStats,
    OnToken,
    StopRule,
    TokenStream,
    Trace,
    causal_pass,
    check_prompts,
    check_sound,
    sound_or_negative,
)
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, row_generators
from ar_core.verification.draft_budget import DraftBudget
from ar_core.verification.pass_cost import TYPICAL_PASS_COST, PassCost
from ar_core.verification.proposer import CacheSharing, Proposer
from ar_core.verification.row import Row, rewind

__all__ = ["speculative"]


@torch.no_grad()
def speculative(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    proposer: Proposer,
    *,
    stop: StopRule,
    sampler: Sampler,
    seed: int | Sequence[int] = 0,
    fallback: bool = True,
    pass_cost: PassCost = TYPICAL_PASS_COST,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Decode exactly what :func:`ar_core.decoding.autoregressive` decodes, in fewer passes.

    Every pass feeds each row its newest token and a draft of up to k more, and the verifier picks a token at
    each of these places as the autoregressive loop would. While a draft token equals the pick before it, the
    next pick was made in the right context and is final: a row gains between 1 and k + 1 tokens. What was
    written to the cache behind the first wrong token is overwritten by the next window.

    At temperature 0 the picks are argmaxes and the output is the autoregressive one. At temperature > 0 they
    are draws from the verifier's filtered distribution p, and comparing a draw with a deterministic draft d
    *is* speculative sampling (arXiv 2211.17192, with the point mass at d as draft distribution): d is kept
    with probability min(1, p(d)/1) = p(d), and given that the draw differs it is distributed as p without d,
    renormalised. Moreover a row spends one random number per output token and takes back those spent behind
    the first wrong token; so the very same tokens come out as from the autoregressive loop with this seed,
    whatever the proposer, the fall-back and the batch mates. Both statements hold up to the rounding of
    logits, which may differ between passes of different widths: where the two best are as close as that,
    either may win.

    Drafts are chains. The loop's parts know a window only as tokens, their context and what is kept, so that a
    tree would change three of them: the ids and mask of the pass, the comparison, and ``cache.keep_path`` in
    place of ``cache.keep``.

    Args:
        backbone: the verifier.
        prompts: B lists of ids, of any lengths ≥ 1.
        proposer: drafts the continuations; see :class:`Proposer`.
        stop: stop ids, stop strings, exact limit; evaluated at every token.
        sampler: how a token is picked.
        seed: of the rows' random streams, or one number per row; see :func:`ar_core.sampling.row_generators`.
        fallback: verify no more draft tokens than pay for themselves, none at all if need be (:class:`DraftBudget`);
            ``False`` verifies every draft in full. Changes counters, never the output.
        pass_cost: what passes of several tokens cost on this device, for ``fallback``. Give a measured one
            (:func:`measure_pass_cost`) for speed; the default keeps counters reproducible across devices.
        on_token: called with a row and its newly final tokens.
        trace: record which pass fixed which token.

    Returns:
        The generated ids; passes count as "prefill", "verify" (at least one row had a draft) and "step" (none had).
        One read on the host per pass.

    Raises:
        DataError: see :func:`ar_core.decoding.check_prompts`.
        ConfigError: the proposer drafted an id outside the vocabulary.
        NumericsError: the verifier's logits are not numbers.
    """
    check_prompts(backbone, prompts, stop.max_new_tokens)
    generators = row_generators(seed, len(prompts))
    rows = [
        Row(number, prompt, stop, TokenStream(number, on_token, stop), generator)
        for number, (prompt, generator) in enumerate(zip(prompts, generators, strict=True))
    ]
    stats = DecodeStats()
    recorder = Trace() if trace else None
    budget = DraftBudget(pass_cost, len(rows)) if fallback else None
    cache = backbone.new_cache(len(rows), max(map(len, prompts)) + stop.max_new_tokens)
    proposer.begin(prompts)
    if isinstance(proposer, CacheSharing):
        proposer.share(cache)

    empty: list[list[int]] = [[] for _ in rows]
    active, phase = rows, "prefill"
    while active:
        if phase == "prefill":
            known, drafts = [row.context for row in active], empty
        else:
            known = [row.context[-1:] for row in active]
            drafts = _drafts(proposer, active, cache.capacity - max(cache.lengths) - 1, backbone.vocab_size)
            if budget is not None:
                limit = budget.limit([row.number for row in active], drafts)
                drafts = [draft[:limit] for draft in drafts]
            phase = "verify" if any(drafts) else "step"

        asked = [[*old, *draft] for old, draft in zip(known, drafts, strict=True)]
        with stats.forward(phase, len(active), max(map(len, asked))):
            hidden = causal_pass(backbone, cache, asked)
            logits = backbone.head(hidden.flatten(0, 1)[_places(known, drafts, hidden)])
            states = [row.generator.get_state() for row in active]
            picks, confidences = _pick(sampler, logits, active, drafts, with_confidences=trace)

        counts, running = [], []
        for slot, (row, draft) in enumerate(zip(active, drafts, strict=True)):
            judged, sure = picks[slot], confidences[slot]
            right = _common_prefix(draft, judged)
            fixed = judged[: right + 1]
            if not sampler.greedy and right < len(draft):
                rewind(row.generator, states[slot], right + 1)
            counts.append(len(known[slot]) + right)
            stats.accept(len(fixed))
            if recorder is not None:
                places = range(len(row.output), len(row.output) + len(fixed))
                recorder.add(stats.nfe - 1, phase, row.number, places, fixed, sure[: len(fixed)])
            if budget is not None and draft:
                budget.record(row.number, len(draft), right)
            kept = row.take(fixed)
            settled = hidden[slot, : counts[-1]] if proposer.wants_hidden else None
            proposer.observe(row.number, kept, judged[right + 1 :], settled)
            if not row.finish:
                running.append(slot)
        cache.keep(counts)
        if 0 < len(running) < len(active):
            cache.rows(running)
        active, phase = [active[slot] for slot in running], ""

    stats.generated = [len(row.output) for row in rows]
    return Decoded([row.output for row in rows], [row.finish for row in rows], stats, recorder)


def _drafts(proposer: Proposer, rows: Sequence[Row], room: int, vocab_size: int) -> list[list[int]]:
    """Ask for drafts that fit the rows and the cache; refuse ids that are no tokens."""
    limits = [min(row.limit, room) for row in rows]
    proposed = proposer.propose([row.number for row in rows], [row.context for row in rows], limits)
    drafts = [list(draft[:limit]) for draft, limit in zip(proposed, limits, strict=True)]
    for row, draft in zip(rows, drafts, strict=True):
        for token in draft:
            if not 0 <= token < vocab_size:
                raise ConfigError(
                    f"The proposer {type(proposer).__name__} drafted id {token} for row {row.number}, and the "
                    f"model has ids 0 to {vocab_size - 1}; use a proposer with the model's own vocabulary."
                )
    return drafts


def _places(known: Sequence[Sequence[int]], drafts: Sequence[Sequence[int]], hidden: Tensor) -> Tensor:
    """Indices into [R · n] of the places that predict, row by row: the last known token and each draft token."""
    width = hidden.shape[1]
    places = [
        slot * width + len(old) - 1 + step
        for slot, (old, draft) in enumerate(zip(known, drafts, strict=True))
        for step in range(len(draft) + 1)
    ]
    return torch.tensor(places, device=hidden.device)


def _pick(
    sampler: Sampler, logits: Tensor, rows: Sequence[Row], drafts: Sequence[Sequence[int]], *, with_confidences: bool
) -> tuple[list[list[int]], list[list[float]]]:
    """The verifier's tokens at the places of each row, and their confidences if wanted: one read on the host."""
    lengths = [len(draft) + 1 for draft in drafts]
    generators = [row.generator for row, length in zip(rows, lengths, strict=True) for _ in range(length)]
    if with_confidences:
        tokens, confidences = sampler.pick(logits, generators)
        # Ids are exact in float64, so that both come in one transfer.
        numbers, sure = torch.stack([sound_or_negative(tokens, logits).double(), confidences.double()]).tolist()
    else:
        numbers, sure = sound_or_negative(sampler.choose(logits, generators), logits).tolist(), []
    check_sound(numbers)
    ends = list(accumulate(lengths))
    spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    return [[int(number) for number in numbers[span]] for span in spans], [sure[span] for span in spans]


def _common_prefix(draft: Sequence[int], judged: Sequence[int]) -> int:
    """How many leading draft tokens the verifier picked too."""
    return next((i for i, token in enumerate(draft) if token != judged[i]), len(draft))
