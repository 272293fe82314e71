"""Oracles 12 and 13: where a drafter's predictions stand, what it sees, and its caches."""

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.masks import Mask, Tokens, bidirectional, block_causal
from ar_core.sampling import Sampler
from ar_core.verification import speculative
from dlm_text.diffuspec.draft_length import FixedLength
from dlm_text.diffuspec.drafter import Drafter
from dlm_text.diffuspec.layout import DraftLayout
from dlm_text.diffuspec.proposer import DiffuSpecProposer
from dlm_text.diffuspec.proxy import UniformProxy
from dlm_text.diffuspec.vocabulary import Vocabulary

from .conftest import MASK, V

CONTEXTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7]]
LENGTHS = [4, 6, 3]


def by_hand(model, ids, *, mask=None):
    """Raw logits of one sequence in one uncached pass."""
    positions = torch.arange(len(ids))
    rule = bidirectional() if mask is None else mask
    tokens = Tokens(position=positions) if mask is None else Tokens(position=positions, block=positions // 4)
    hidden = model.hidden(torch.tensor([ids]), positions=positions[None], mask=Mask.self_attention(rule, tokens))
    return model.head(hidden)[0].detach()


def normalised(logits):
    logits = logits.clone()
    logits[:, MASK] = -torch.inf
    return logits.log_softmax(-1)


@pytest.mark.parametrize("shift", [True, False])
def test_rows_of_the_lattice_are_rows_of_the_logits(make_drafter, drafter_model, shift):
    """Oracle 12: shifted, draft position 1 uses the row of the last committed token; ragged rows in one pass."""
    drafter = make_drafter(shift=shift)
    drafter.begin(CONTEXTS)
    found = drafter.lattice([0, 1, 2], CONTEXTS, LENGTHS)
    assert found.shape == (3, 6, V)
    for row, (context, k) in enumerate(zip(CONTEXTS, LENGTHS, strict=True)):
        logits = by_hand(drafter_model, [*context, *[MASK] * k])
        first = len(context) - shift
        assert torch.allclose(found[row, :k], normalised(logits[first : first + k]), atol=1e-9)
    assert drafter.forwards == 1


def test_one_row_has_exactly_these_logits(make_drafter, drafter_model):
    drafter = make_drafter()
    drafter.begin(CONTEXTS[:1])
    found = drafter.lattice([0], CONTEXTS[:1], [4])
    assert torch.equal(found[0], normalised(by_hand(drafter_model, [*CONTEXTS[0], *[MASK] * 4])[4:8]))


def test_a_block_causal_drafter_sees_no_later_block_and_a_whole_last_one(make_drafter, drafter_model):
    for cache in ("none", "block"):
        drafter = make_drafter(attention="block_causal", block_size=4, cache=cache)
        drafter.begin(CONTEXTS)
        found = drafter.lattice([0, 1, 2], CONTEXTS, LENGTHS)
        for row, (context, k) in enumerate(zip(CONTEXTS, LENGTHS, strict=True)):
            whole = -(-(len(context) + k) // 4) * 4
            logits = by_hand(drafter_model, [*context, *[MASK] * (whole - len(context))], mask=block_causal())
            expected = normalised(logits[len(context) - 1 : len(context) - 1 + k])
            assert torch.allclose(found[row, :k], expected, atol=1e-9)


@pytest.mark.parametrize("shift", [True, False])
def test_a_hybrid_reads_complete_blocks_token_by_token(make_drafter, drafter_model, shift):
    """Mask by hand: who is complete sees up to itself; the others see these, and each other up to their own block."""
    context, complete, k, end = [3, 1, 4, 1, 5, 9, 2, 6, 5], 8, 4, 16
    seen = torch.zeros(end, end, dtype=torch.bool)
    for query in range(end):
        last = query if query < complete else (query // 4 + 1) * 4 - 1
        seen[query, : last + 1] = True
    by_id = Mask.self_attention(
        block_causal(),
        Tokens(position=torch.arange(end), block=seen.sum(1) - 1),
    )
    assert torch.equal(by_id.dense().reshape(end, end), seen)
    ids = torch.tensor([[*context, *[MASK] * (end - len(context))]])
    logits = drafter_model.head(drafter_model.hidden(ids, positions=torch.arange(end)[None], mask=by_id))[0].detach()
    drafter = make_drafter(shift=shift, attention="block_causal", block_size=4, clean="token")
    drafter.begin([context[:3]])
    first = len(context) - shift
    found = drafter.lattice([0], [context], [k])[0]
    assert torch.allclose(found, normalised(logits[first : first + k]), atol=1e-9)


def grow(drafter, rounds=7):
    """Lattices of rows that gain 1 to 4 tokens a round, one of them absent now and then."""
    generator = torch.Generator().manual_seed(0)
    contexts = [list(context) for context in CONTEXTS]
    drafter.begin(contexts)
    found = []
    for number in range(rounds):
        rows = [0, 1, 2] if number % 3 else [0, 2]
        lengths = [2 + (row + number) % 4 for row in rows]
        lattice = drafter.lattice(rows, [contexts[row] for row in rows], lengths)
        found += [lattice[slot, :k] for slot, k in enumerate(lengths)]
        for context in contexts:
            fresh = int(torch.randint(1, 5, (1,), generator=generator))
            context.extend(torch.randint(V - 1, (fresh,), generator=generator).tolist())
    return found


@pytest.mark.parametrize(
    "layout",
    [
        {"block_size": 4, "shift": True},
        {"block_size": 3, "shift": False},
        {"block_size": 4, "shift": False},
        {"block_size": 5, "shift": True},
        {"block_size": 4, "shift": False, "clean": "token"},
        {"block_size": 4, "shift": True, "clean": "token"},
    ],
)
def test_a_block_cache_is_exact(make_drafter, layout):
    layout["attention"] = "block_causal"
    plain, kept = make_drafter(**layout), make_drafter(**layout, cache="block")
    for ours, theirs in zip(grow(kept), grow(plain), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)
    assert kept.tokens < plain.tokens


def test_a_prefix_cache_is_exact_when_refreshed_and_approximate_between(make_drafter):
    plain, always, kept = (
        make_drafter(),
        make_drafter(cache="prefix", refresh=1),
        make_drafter(cache="prefix", refresh=4),
    )
    expected = grow(plain)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(grow(always), expected, strict=True))
    found = grow(kept)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(found[:2], expected[:2], strict=True))
    assert not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
    assert kept.tokens < plain.tokens


def test_a_cache_grows_when_it_is_full(make_drafter, monkeypatch):
    monkeypatch.setattr("dlm_text.diffuspec.drafter.GROWTH", 1)
    layout = {"attention": "block_causal", "block_size": 4}
    plain, kept = make_drafter(**layout), make_drafter(**layout, cache="block")
    for ours, theirs in zip(grow(kept, 14), grow(plain, 14), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize(
    "settings", [{"cache": "prefix"}, {"cache": "block", "attention": "block_causal", "block_size": 4}]
)
@pytest.mark.parametrize("shift", [True, False])
def test_the_same_context_may_be_asked_for_twice(make_drafter, settings, shift):
    """Also where it ends with a block, as a longer draft may be wanted."""
    drafter = make_drafter(shift=shift, **settings)
    context = [3, 1, 4, 1, 5, 9, 2, 6]
    drafter.begin([context])
    first = drafter.lattice([0], [context], [3])
    assert torch.allclose(drafter.lattice([0], [context], [3]), first, atol=1e-9)


def test_steps_reveal_the_most_confident_positions_first(make_drafter, drafter_model):
    context, k = CONTEXTS[0], 5
    drafter = make_drafter(steps=3)
    drafter.begin([context])
    found = drafter.lattice([0], [context], [k])[0]
    ids, expected, masked = [*context, *[MASK] * k], torch.zeros(k, V, dtype=torch.float64), set(range(k))
    for count in (2, 2, 1):
        lattice = normalised(by_hand(drafter_model, ids)[len(context) - 1 : len(context) - 1 + k])
        for position in masked:
            expected[position] = lattice[position]
        for position in sorted(masked, key=lambda i: -float(lattice[i].max()))[:count]:
            ids[len(context) + position] = int(lattice[position].argmax())
            masked.discard(position)
    assert not masked
    assert torch.allclose(found, expected, atol=1e-9)
    assert drafter.forwards == 3


def test_ragged_steps_equal_single_rows(make_drafter):
    drafter = make_drafter(steps=4)
    drafter.begin(CONTEXTS)
    together = drafter.lattice([0, 1, 2], CONTEXTS, LENGTHS)
    for row, (context, k) in enumerate(zip(CONTEXTS, LENGTHS, strict=True)):
        alone = make_drafter(steps=4)
        alone.begin([context])
        assert torch.allclose(together[row, :k], alone.lattice([0], [context], [k])[0], atol=1e-9)


def test_a_wrong_shift_loses_what_the_right_one_accepts(verifier):
    """Oracle 12: the verifier under its own causal mask as a shifted drafter is right about the first token, always."""
    prompts = [[3, 1, 4], [1, 5, 9, 2, 6]]
    layout = {"mask_id": MASK, "attention": "block_causal", "block_size": 1}
    stop = StopRule(frozenset(), 16)
    right = {}
    for shift in (True, False):
        drafter = Drafter(verifier, DraftLayout(shift=shift, **layout), Vocabulary.same(V, V, forbidden={MASK}))
        proposer = DiffuSpecProposer(drafter, UniformProxy(V), FixedLength(1))
        banned = Sampler(banned_ids=(MASK,))
        got = speculative(verifier, prompts, proposer, stop=stop, sampler=banned, fallback=False)
        assert got.tokens == autoregressive(verifier, prompts, stop=stop, sampler=banned).tokens
        right[shift] = proposer.stats.accepted_per_round
    assert right[True] == 1.0
    assert right[False] < 1.0


def test_what_does_not_fit_is_refused(make_drafter):
    with pytest.raises(ConfigError, match="give none or prefix"):
        make_drafter(cache="block")
    with pytest.raises(ConfigError, match="give none or block"):
        make_drafter(cache="prefix", attention="block_causal", block_size=4)
    with pytest.raises(ConfigError, match="block size None"):
        make_drafter(attention="block_causal")
    with pytest.raises(ConfigError, match="steps=0"):
        make_drafter(steps=0)
