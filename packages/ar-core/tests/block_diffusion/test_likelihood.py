"""Likelihoods against the decoder itself, against enumeration, and against one brute-force pass."""

import itertools
import math

import pytest
import torch
from ar_core.block_diffusion import (
    BlockPolicy,
    chain_log_likelihood,
    decode_blocks,
    first_token_log_likelihood,
    nelbo_log_likelihood,
)
from ar_core.decoding import StopRule, autoregressive, causal_log_likelihood, uncached_pass
from ar_core.errors import ConfigError, DataError
from ar_core.sampling import Sampler

MASK = 96
POLICIES = {
    "Fast-dLLM v2": {"grid": "absolute", "context": "block_causal", "shift": True, "first_token": "commit"},
    "Efficient-DLM": {"grid": "prompt", "context": "block_causal", "shift": False, "first_token": "denoise"},
    "bidirectional": {"grid": "prompt", "context": "bidirectional", "shift": False, "first_token": "denoise"},
    "hybrid": {"grid": "prompt", "context": "causal", "shift": False, "first_token": "commit"},
    "DiffusionVL": {"grid": "absolute", "context": "block_causal", "shift": False, "first_token": "denoise"},
}


def policy(name, size, **more):
    return BlockPolicy(block_size=size, mask_id=MASK, threshold=2.0, **POLICIES[name], **more)


@pytest.fixture
def model(tiny):
    """A model that never predicts M, so that probabilities mean the same to decoder and likelihood."""
    built = tiny(dtype=torch.float64)
    assert built.vocab_size == MASK + 1
    head = built.head

    def without_mask(hidden):
        logits = head(hidden).clone()
        logits[..., MASK] = -1e9
        return logits

    built.head = without_mask
    return built


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("prompt", [[5, 9, 2, 44], [7], [3, 8, 1, 60, 2, 11]])
def test_chain_is_the_probability_with_which_left_to_right_decoding_chooses(model, name, size, prompt):
    # Sub-blocks of one token: each pass may only fix the leftmost masked position.
    decoded = decode_blocks(
        model,
        [prompt],
        policy(name, size, sub_block_size=1),
        stop=StopRule(frozenset(), 7),
        sampler=Sampler(),
        trace=True,
    )
    sure = [c for entry in decoded.trace.to_list() for c in entry["confidences"]]
    found = chain_log_likelihood(model, prompt, decoded.tokens[0], policy(name, size))
    assert found.tokens == 7
    assert found.greedy
    # The trace rounds confidences to six places.
    assert found.total == pytest.approx(sum(map(math.log, sure)), abs=1e-4)
    other = [*decoded.tokens[0][:-1], (decoded.tokens[0][-1] + 1) % MASK]
    assert not chain_log_likelihood(model, prompt, other, policy(name, size)).greedy


def test_chain_is_a_distribution(tiny):
    """Over all continuations of two tokens it adds up to one, in one block and across a boundary."""
    small = tiny(vocab=7, dtype=torch.float64)
    for size in (1, 2):
        chosen = BlockPolicy(block_size=size, mask_id=6, **POLICIES["Efficient-DLM"])
        texts = itertools.product(range(7), repeat=2)
        total = sum(math.exp(chain_log_likelihood(small, [5, 1], text, chosen).total) for text in texts)
        assert total == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("name", ["Efficient-DLM", "bidirectional", "DiffusionVL", "Fast-dLLM v2", "hybrid"])
def test_nelbo_at_block_size_one_is_exact(model, name):
    text = [4, 17, 33, 2]
    chain = chain_log_likelihood(model, [5, 9, 2], text, policy(name, 1))
    for samples in (1, 3):
        found = nelbo_log_likelihood(model, [5, 9, 2], text, policy(name, 1), samples=samples)
        assert found.total == pytest.approx(chain.total, abs=1e-9)


def test_nelbo_is_the_mean_over_all_masks(model):
    """One block of two tokens, enumerated: half the weight on both masked, half on twice one of them."""
    chosen = policy("Efficient-DLM", 2)
    context, text = [5, 9, 2], [4, 17]

    def logs(masked):
        ids = [MASK if i in masked else t for i, t in enumerate(text)]
        sequence = torch.tensor([[*context, *ids]])
        visible = torch.ones(5, 5, dtype=torch.bool)
        # Blocks end at the prompt's end: [5] [9 2] [4 17].
        for query, block_end in enumerate((1, 3, 3, 5, 5)):
            visible[query, block_end:] = False
        hidden = model.hidden(sequence, positions=torch.arange(5)[None], mask=_Dense(visible))
        return model.head(hidden)[0, 3:].log_softmax(-1)[torch.arange(2), torch.tensor(text)]

    both = float(logs({0, 1}).sum())
    single = [float(logs({i})[i]) for i in (0, 1)]
    expected = 0.5 * both + 0.5 * 2 * sum(single) / 2
    outcomes = [both, 2 * single[0], 2 * single[1]]
    spread = math.sqrt(0.5 * (both - expected) ** 2 + sum(0.25 * (x - expected) ** 2 for x in outcomes[1:]))
    samples = 100
    found = nelbo_log_likelihood(model, context, text, chosen, samples=samples)
    assert abs(found.total - expected) < 4 * spread / math.sqrt(samples)
    one = nelbo_log_likelihood(model, context, text, chosen, samples=1).total
    assert min(abs(one - outcome) for outcome in outcomes) < 1e-9


class _Dense:
    def __init__(self, visible):
        self._visible = visible

    def dense(self):
        return self._visible


def test_nelbo_repeats_with_its_seed_and_only_then(model):
    chosen = policy("Efficient-DLM", 4)
    found = [nelbo_log_likelihood(model, [5], [4, 17, 33, 2, 8], chosen, samples=2, seed=s).total for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("context", "length"), [([5, 9, 2], 8), ([5, 9, 2, 7], 8), ([5, 9, 2, 7, 1, 3], 12), ([5, 9, 2, 7, 1], 8)]
)
def test_first_token_score_is_that_of_one_block_causal_pass(model, context, length):
    chosen = policy("Fast-dLLM v2", 4)
    found = first_token_log_likelihood(model, context, [11, 12], chosen, end_id=0)
    ids = [*context, MASK, 12, 0]
    ids += [MASK] * (length - len(ids))
    visible = torch.tensor([[k // 4 <= q // 4 for k in range(length)] for q in range(length)])
    hidden = model.hidden(torch.tensor([ids]), positions=torch.arange(length)[None], mask=_Dense(visible))
    expected = model.head(hidden[0, len(context) - 1]).log_softmax(-1)[11]
    assert found.total == pytest.approx(float(expected), abs=1e-9)
    assert found.tokens == 1


def test_causal_likelihood_is_the_chain_rule(model):
    context, text = [5, 9, 2], [4, 17, 33]
    steps = [
        float(model.head(uncached_pass(model, [*context, *text[:i]])[-1]).log_softmax(-1)[text[i]]) for i in range(3)
    ]
    found = causal_log_likelihood(model, context, text)
    assert found.total == pytest.approx(sum(steps), abs=1e-9)
    assert not found.greedy
    own = autoregressive(model, [context], stop=StopRule(frozenset(), 5), sampler=Sampler()).tokens[0]
    assert causal_log_likelihood(model, context, own).greedy


def test_a_likelihood_of_nothing_or_without_a_context_is_refused(model):
    for context, text in itertools.product(([], [5]), ([], [4])):
        if context and text:
            continue
        with pytest.raises(DataError, match="at least one token of each"):
            causal_log_likelihood(model, context, text)
        with pytest.raises(DataError, match="at least one token of each"):
            chain_log_likelihood(model, context, text, policy("Efficient-DLM", 4))


def test_too_long_texts_count_the_filled_block(tiny):
    small = tiny(context=6)
    assert causal_log_likelihood(small, [5] * 4, [4] * 3).tokens == 3
    with pytest.raises(DataError, match="8 positions"):
        chain_log_likelihood(small, [5] * 4, [4], policy("DiffusionVL", 4))
    with pytest.raises(ConfigError, match="at least 1"):
        nelbo_log_likelihood(small, [5], [4], policy("Efficient-DLM", 2), samples=0)


def test_whole_rows_have_no_likelihood_of_blocks(model):
    whole = BlockPolicy(block_size=4, mask_id=MASK, context="whole", shift=False, first_token="denoise")
    for score in (chain_log_likelihood, nelbo_log_likelihood):
        with pytest.raises(ConfigError, match="set context to 'bidirectional'"):
            score(model, [5], [4], whole)
