"""Passes of AR and of the lossless loop: one token, a chain of drafted ones, a tree of them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import causal_pass, check_sound, pick
from ar_core.hf import HFBackbone
from ar_core.sampling import Sampler
from ar_core.verification import Draft
from ar_core.verification.judge import judge
from ar_core.verification.tree_pass import tree_pass
from dlm_text.efficient_dlm.self_speculation import SelfSpeculation
from torch import Tensor

from .passes import Build, Pass, Stage, draw_prompts

__all__ = ["chain", "one_token", "self_speculative_draft", "tree"]

SAMPLER = Sampler()


def one_token(backbone: HFBackbone, context: int, batch: int) -> Pass:
    """The step of AR."""
    cache, stages, newest = _begun(backbone, context, batch)
    tokens = torch.tensor(newest, device=backbone.device)

    @torch.no_grad()
    def run() -> None:
        hidden = causal_pass(backbone, cache, tokens[:, None])[:, 0]
        cache.keep(0)
        check_sound(pick(backbone, hidden, SAMPLER, with_confidences=False)[0].tolist())

    return Pass(run, stages, [[token] for token in newest], [0])


def chain(length: int) -> Build:
    """Verification of a draft: `length` tokens, the newest committed one among them."""
    return partial(_chain, length)


def tree(chains: int, depth: int) -> Build:
    """Verification of some chains of `depth` tokens whose first halves are the same."""
    return partial(_tree, chains, depth)


def self_speculative_draft(length: int) -> Build:
    """The draft of self-speculation: the newest token and masks, which see each other."""
    return partial(_self_speculative_draft, length)


def _chain(length: int, backbone: HFBackbone, context: int, batch: int) -> Pass:
    cache, stages, newest = _begun(backbone, context, batch)
    drafts = [Draft(ids) for ids in draw_prompts(backbone, length - 1, batch)]
    rows = [[token, *draft.tokens] for token, draft in zip(newest, drafts, strict=True)]
    run = _verified(backbone, cache, drafts, lambda: causal_pass(backbone, cache, rows))
    return Pass(run, stages, rows, range(length))


def _tree(chains: int, depth: int, backbone: HFBackbone, context: int, batch: int) -> Pass:
    cache, stages, newest = _begun(backbone, context, batch)
    drawn = draw_prompts(backbone, depth, chains)
    shared = depth // 2
    draft = Draft.of_chains([[*drawn[0][:shared], *own[shared:]] for own in drawn])
    drafts = [draft] * batch
    run = _verified(backbone, cache, drafts, lambda: tree_pass(backbone, cache, newest, drafts))
    parents = range(-1, len(draft) - 1) if draft.parents is None else draft.parents
    # The newest token is the root, and node i stands behind it at i + 1.
    sees = torch.eye(1 + len(draft), dtype=torch.bool)
    for node, parent in enumerate(parents, start=1):
        sees[node] |= sees[parent + 1]
    allowed = torch.cat([torch.ones(len(sees), context, dtype=torch.bool), sees], 1)
    ids = [[token, *draft.tokens] for token in newest]
    return Pass(run, stages, ids, range(len(sees)), allowed, [0, *draft.depths()])


def _self_speculative_draft(length: int, backbone: HFBackbone, context: int, batch: int) -> Pass:
    cache, stages, newest = _begun(backbone, context, batch)
    mask_id = backbone.vocab_size - 1
    proposer = SelfSpeculation(backbone, mask_id=mask_id, block_size=length)
    proposer.share(cache)
    contexts = [[*known, token] for known, token in zip(stages[0].ids, newest, strict=True)]
    asked = (range(batch), contexts, [length - 1] * batch)
    allowed = torch.ones(length, context + length, dtype=torch.bool)
    ids = [[token, *[mask_id] * (length - 1)] for token in newest]
    return Pass(lambda: proposer.propose(*asked), stages, ids, range(1, length), allowed)


@torch.no_grad()
def _begun(backbone: HFBackbone, context: int, batch: int) -> tuple[WindowedKVCache, list[Stage], list[int]]:
    """A cache that holds a prompt, the prompt, and the token behind it of each row."""
    drawn = draw_prompts(backbone, context + 1, batch)
    prompts = [ids[:-1] for ids in drawn]
    cache = backbone.new_cache(batch, 2 * context)
    causal_pass(backbone, cache, prompts)
    cache.keep(context)
    return cache, [Stage(prompts, None, context)], [ids[-1] for ids in drawn]


def _verified(
    backbone: HFBackbone, cache: WindowedKVCache, drafts: Sequence[Draft], forward: Callable[[], Tensor]
) -> Callable[[], Any]:
    @torch.no_grad()
    def run() -> None:
        hidden = forward()
        cache.keep(0)
        places = torch.tensor(list(range(hidden.shape[0] * hidden.shape[1])), device=backbone.device)
        judged_at = hidden.flatten(0, 1)[places]
        judge(backbone, judged_at, SAMPLER, (), drafts, acceptance="lossless", with_confidences=False)

    return run
