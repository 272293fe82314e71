"""The lossless loop of proposer and verifier over the windowed cache."""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from ar_core.cache import WindowedKVCache
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
)
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, row_generators
from ar_core.verification.draft import Draft
from ar_core.verification.draft_budget import DraftBudget
from ar_core.verification.judge import Acceptance, densities_used, judge
from ar_core.verification.pass_cost import TYPICAL_PASS_COST, PassCost
from ar_core.verification.proposer import CacheSharing, DraftReviewing, Drawing, Proposer
from ar_core.verification.row import Row
from ar_core.verification.tree_pass import tree_pass

__all__ = ["speculative"]

BRANCH_ROOM = 64
"""Slots of the cache beyond those of a row's own tokens, so that a tree has room for branches up to the end."""


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
    acceptance: Acceptance = "lossless",
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

    A draft tree is verified in the same pass under an ancestor mask; all its tokens of one depth are held against the
    same random number, so the branch that is kept is the autoregressive output again. A chain that was *drawn* from
    densities is judged by the ratio rule, which keeps the distribution, though not the very tokens of a seed; a proposer
    that makes such drafts says so (:class:`Drawing`), and its rows take no number back. The same rule with the left-to-right
    densities of a draft that was chosen, not drawn, is what the DiffuSpec paper states. It is biased, and used only where
    ``acceptance`` says so.

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
        acceptance: "lossless", or "paper_l2r_biased", which judges drafts that have ``left_to_right`` densities by
            min(1, p/q) although their tokens were not drawn from them (arXiv 2510.02358): for reproduction only.
        on_token: called with a row and its newly final tokens.
        trace: record which pass fixed which token.

    Returns:
        The generated ids; passes count as "prefill", "verify" (at least one row had a draft) and "step" (none had), the
        time of the proposer as "draft". One read on the host per pass.

    Raises:
        DataError: see :func:`ar_core.decoding.check_prompts`.
        ConfigError: the proposer drafted an id outside the vocabulary, or gave densities and is not :class:`Drawing`; or
            ``acceptance`` names no rule.
        NumericsError: the verifier's logits are not numbers.
    """
    if acceptance not in get_args(Acceptance):
        raise ConfigError(f"acceptance is {acceptance!r}; it must be one of {', '.join(get_args(Acceptance))}.")
    prompts = check_prompts(backbone, prompts, stop.max_new_tokens)
    rows = [
        Row(number, prompt, stop, TokenStream(number, on_token, stop), generator, once=_draws(proposer))
        for number, (prompt, generator) in enumerate(zip(prompts, row_generators(seed, len(prompts)), strict=True))
    ]
    stats = DecodeStats()
    recorder = Trace() if trace else None
    budget = DraftBudget(pass_cost, len(rows)) if fallback else None
    longest = max(map(len, prompts)) + stop.max_new_tokens
    cache = backbone.new_cache(len(rows), longest + BRANCH_ROOM)
    with stats.timed("draft"):
        proposer.begin(prompts)
        if isinstance(proposer, CacheSharing):
            proposer.share(cache)

    reviewer = proposer if isinstance(proposer, DraftReviewing) else None
    empty = [Draft(()) for _ in rows]
    active, phase = rows, "prefill"
    while active:
        if phase == "prefill":
            known, drafts = [row.context for row in active], empty
        else:
            known = [row.context[-1:] for row in active]
            with stats.timed("draft"):
                drafts = _drafts(proposer, active, longest - max(cache.lengths) - 1, backbone.vocab_size)
                if budget is not None:
                    limit = budget.limit([row.number for row in active], drafts)
                    drafts = [draft.cut(limit) for draft in drafts]
            phase = "verify" if any(map(len, drafts)) else "step"

        with stats.forward(phase, len(active), max(map(len, known)) + max(map(len, drafts))):
            branching = not all(draft.is_chain for draft in drafts)
            if branching:
                hidden = tree_pass(backbone, cache, [row.context[-1] for row in active], drafts)
            else:
                asked = [[*old, *draft.tokens] for old, draft in zip(known, drafts, strict=True)]
                hidden = causal_pass(backbone, cache, asked)
            judged_at = hidden.flatten(0, 1)[_places(known, drafts, hidden)]
            picks, confidences = judge(
                backbone, judged_at, sampler, active, drafts, acceptance=acceptance, with_confidences=trace
            )

        paths, lessons, running = [], [], []
        for slot, (row, draft) in enumerate(zip(active, drafts, strict=True)):
            judged = picks[slot]
            path = draft.accepted(judged)
            places = [0, *(node + 1 for node in path)]
            fixed = [judged[place] for place in places]
            if not sampler.greedy:
                drawn = densities_used(draft, sampler, acceptance) is not None
                row.spend(2 * len(fixed) if drawn else len(fixed))
            paths.append([*range(len(known[slot])), *(len(known[slot]) + node for node in path)])
            stats.accept(len(fixed))
            if recorder is not None:
                positions = range(len(row.output), len(row.output) + len(fixed))
                sure = [confidences[slot][place] for place in places]
                recorder.add(stats.nfe - 1, phase, row.number, positions, fixed, sure)
            if len(draft):
                depth = max(draft.depths())
                stats.judge(depth, len(path))
                if budget is not None:
                    budget.record(row.number, depth, len(path))
            kept = row.take(fixed)
            settled = _settled(hidden[slot], paths[-1]) if proposer.wants_hidden else None
            rest = [judged[node + 1] for node in draft.behind(path[-1] if path else -1)]
            lessons.append((row.number, kept, rest, settled))
            if not row.finish:
                running.append(slot)
        with stats.timed("draft"):
            for lesson, draft, judged in zip(lessons, drafts, picks, strict=True):
                if reviewer is not None:
                    reviewer.review(lesson[0], draft, judged)
                proposer.observe(*lesson)
        _keep(cache, paths, branching=branching)
        if 0 < len(running) < len(active):
            cache.rows(running)
        active, phase = [active[slot] for slot in running], ""

    stats.generated = [len(row.output) for row in rows]
    return Decoded([row.output for row in rows], [row.finish for row in rows], stats, recorder)


def _drafts(proposer: Proposer, rows: Sequence[Row], room: int, vocab_size: int) -> list[Draft]:
    """Ask for drafts that fit the rows and the cache; refuse ids that are no tokens."""
    limits = [min(row.limit, room) for row in rows]
    proposed = proposer.propose([row.number for row in rows], [row.context for row in rows], limits)
    drafts = [Draft.of(draft).cut(limit, room + BRANCH_ROOM) for draft, limit in zip(proposed, limits, strict=True)]
    for row, draft in zip(rows, drafts, strict=True):
        for token in draft.tokens:
            if not 0 <= token < vocab_size:
                raise ConfigError(
                    f"The proposer {type(proposer).__name__} drafted id {token} for row {row.number}, and the "
                    f"model has ids 0 to {vocab_size - 1}; use a proposer with the model's own vocabulary."
                )
        if draft.densities is not None and not _draws(proposer):
            raise ConfigError(
                f"The proposer {type(proposer).__name__} gave densities for row {row.number} without saying that its drafts "
                "are drawn; give it the attribute draws = True, or leave the densities out."
            )
    return drafts


def _draws(proposer: Proposer) -> bool:
    return isinstance(proposer, Drawing) and proposer.draws


def _places(known: Sequence[Sequence[int]], drafts: Sequence[Draft], hidden: Tensor) -> Tensor:
    """Indices into [R · n] of the places that predict, row by row: the last known token and each draft token."""
    width = hidden.shape[1]
    places = [
        slot * width + len(old) - 1 + step
        for slot, (old, draft) in enumerate(zip(known, drafts, strict=True))
        for step in range(len(draft) + 1)
    ]
    return torch.tensor(places, device=hidden.device)


def _settled(hidden: Tensor, path: Sequence[int]) -> Tensor:
    """Hidden states [n, C] of the tokens on a path through the window."""
    if path[-1] == len(path) - 1:
        return hidden[: len(path)]
    return hidden[torch.tensor(path, device=hidden.device)]


def _keep(cache: WindowedKVCache, paths: Sequence[Sequence[int]], *, branching: bool) -> None:
    """Commit each row's accepted tokens."""
    counts = [len(path) for path in paths]
    if not branching:
        cache.keep(counts)
        return
    longest = max(counts)
    cache.keep_path([[*path, *[0] * (longest - len(path))] for path in paths], counts)
