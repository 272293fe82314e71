"""Jacobi decoding, recycling and multi-block decoding: what theory says of outputs and passes (jacobi_forcing.md, section 7)."""

from collections import Counter
from copy import deepcopy

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive, uncached_pass
from ar_core.sampling import Sampler
from ar_core.verification import FIRST_GUESSES, FirstGuess, Jacobi, MultiBlock, Recycling, speculative

GREEDY, LENGTH = Sampler(), 24
STOP = StopRule(frozenset(), LENGTH)
INITS = sorted(FIRST_GUESSES)


@pytest.fixture
def expected(table_model, prompts):
    return autoregressive(table_model(), prompts, stop=STOP, sampler=GREEDY).tokens


def run(model, prompts, proposer, stop=STOP, **how):
    return speculative(model, prompts, proposer, stop=stop, sampler=GREEDY, fallback=False, **how)


def right_guesses(truth, prompt):
    """A first guess that knows the continuation."""

    def fill(known, before, count, vocab_size, stream):
        at = len(known) + len(before) - len(prompt)
        return [*truth[at : at + count], *[0] * count][:count]

    return FirstGuess("right", fill)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 32])
def test_output_is_autoregressive_for_every_block_and_init(table_model, prompts, expected, n, init):
    blocks = MultiBlock(block_length=n, blocks=1, init=init, vocab_size=11)
    assert run(table_model(), prompts, blocks).tokens == expected
    if n > 1:
        window = Jacobi(draft_length=n - 1, init=init, vocab_size=11)
        assert run(table_model(), prompts, window).tokens == expected


def test_a_block_of_one_is_one_pass_per_token(table_model, prompts, expected):
    got = run(table_model(), prompts, MultiBlock(block_length=1, blocks=1))
    assert (got.tokens, got.stats.nfe) == (expected, LENGTH)
    assert dict(got.stats.forwards) == {"prefill": 1, "step": LENGTH - 1}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_no_block_takes_more_passes_than_it_has_tokens(table_model, prompts, n, init):
    for prompt in prompts:
        got = run(table_model(), [prompt], MultiBlock(block_length=n, blocks=1, init=init, vocab_size=11), trace=True)
        # A pass belongs to the block that holds the newest token that it was fed.
        passes = Counter((entry["positions"][0] - 1) // n for entry in got.trace.to_list()[1:])
        assert max(passes.values()) <= n


@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_true_continuation_takes_one_pass_a_block(table_model, prompts, expected, n):
    for prompt, truth in zip(prompts, expected, strict=True):
        blocks = MultiBlock(block_length=n, blocks=1, init=right_guesses(truth, prompt))
        # The prefill gives the first token of the first block, and the last pass of a block that of the next.
        assert run(table_model(), [prompt], blocks).stats.nfe == 1 + -(-(LENGTH - 1) // n)


@pytest.mark.parametrize("pool", [1, 2, 4, 16])
@pytest.mark.parametrize("init", INITS)
def test_recycling_never_changes_the_output(table_model, prompts, expected, pool, init):
    for guesser in (
        Jacobi(draft_length=5, init=init, vocab_size=11),
        MultiBlock(block_length=4, blocks=2, spawn_ratio=0.5, init=init, vocab_size=11),
    ):
        assert run(table_model(), prompts, Recycling(guesser, pool=pool)).tokens == expected


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.85, 1.0])
@pytest.mark.parametrize("blocks", [2, 3, 4])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_blocks_ahead_never_change_the_output(table_model, prompts, expected, n, blocks, ratio):
    for init in INITS:
        proposer = MultiBlock(block_length=n, blocks=blocks, spawn_ratio=ratio, init=init, vocab_size=11)
        assert run(table_model(), prompts, proposer).tokens == expected
        if n == 2:
            assert proposer.promoted > 0


@pytest.mark.parametrize("blocks", [2, 3])
def test_blocks_ahead_with_right_guesses_are_promoted_and_save_passes(table_model, prompts, expected, blocks):
    """Two blocks in flight and two blocks a pass, once the second one has been started."""
    n = 4
    for prompt, truth in zip(prompts, expected, strict=True):
        init = right_guesses(truth, prompt)
        proposer = MultiBlock(block_length=n, blocks=blocks, spawn_ratio=0.0, init=init)
        got = run(table_model(), [prompt], proposer)
        single = run(table_model(), [prompt], MultiBlock(block_length=n, blocks=1, init=init))
        assert got.tokens == single.tokens == [truth]
        assert proposer.promoted >= 2
        assert got.stats.nfe < single.stats.nfe
        assert max(got.stats.accepted) > n


def test_agreed_guesses_of_a_block_ahead_stay_until_it_is_promoted_with_a_fresh_start_beside_it():
    proposer = MultiBlock(block_length=3, blocks=2, spawn_ratio=1 / 3, init="repeat_last")
    proposer.begin([[9]])
    proposer.observe(0, [5], [])
    # One token of three is known: the second block has been started.
    assert list(proposer.propose([0], [[9, 5]], [20])[0].tokens) == [5, 5, 5, 5, 5]
    # The active block is wrong at once; of the block ahead two guesses agree with the verifier, the third becomes 3.
    proposer.observe(0, [6], [1, 5, 5, 3, 2])
    assert list(proposer.propose([0], [[9, 5, 6]], [20])[0].tokens) == [1, 5, 5, 3]
    # Now the verifier would change all three: the two that had agreed stay.
    proposer.observe(0, [2], [8, 8, 7, 4])
    assert list(proposer.propose([0], [[9, 5, 6, 2]], [20])[0].tokens) == [5, 5, 7]
    assert proposer.promoted == 0
    # The block is done; the verifier's token is the first of the next block.
    proposer.observe(0, [4], [6, 1, 1])
    assert proposer.promoted == 1
    context = [9, 5, 6, 2, 4]
    draft = proposer.propose([0], [context], [20])[0]
    # Its second guess, still the one that had agreed, the verifier's third, a new block behind; then the fresh start.
    assert draft.chains() == [[5, 1, 1, 1, 1], [4, 4]]
    lucky = deepcopy(proposer)
    # The fresh start is right at first: the guesses still go on with what the verifier picked along them.
    lucky.review(0, draft, [4, 9, 3, 3, 3, 3, 8, 2])
    lucky.observe(0, [4, 8], [2])
    assert list(lucky.propose([0], [[*context, 4, 8]], [20])[0].tokens) == [3, 3, 3]
    # Neither is right: so does each of them.
    proposer.review(0, draft, [7, 3, 3, 3, 3, 3, 8, 2])
    proposer.observe(0, [7], [3, 3, 3, 3])
    draft = proposer.propose([0], [[*context, 7]], [20])[0]
    assert draft.chains() == [[3, 3, 3, 3], [8]]


def test_of_three_blocks_only_the_next_is_promoted():
    proposer = MultiBlock(block_length=2, blocks=3, spawn_ratio=0.0, init="repeat_last")
    proposer.begin([[9]])
    context = [9]
    for gained, length in ((5, 1 + 2), (5, 0 + 4), (6, 1 + 4)):
        context.append(gained)
        proposer.observe(0, [gained], [1] * 3 if len(context) > 2 else [])
        draft = proposer.propose([0], [context], [20])[0]
        assert max(draft.depths()) == length
    assert proposer.promoted == 1


def test_recycled_branches_share_beginnings_and_follow_the_guesses(table_model):
    proposer = Recycling(Jacobi(draft_length=3), pool=4)
    proposer.begin([[9]])
    proposer.observe(0, [5], [])
    assert list(proposer.propose([0], [[9, 5]], [9])[0].tokens) == [5, 5, 5]
    # Rejected: 5 5 5 behind 5; the verifier's line is 6, then 5 7 8.
    proposer.observe(0, [6], [5, 7, 8])
    assert proposer.propose([0], [[9, 5, 6]], [9])[0].is_chain, (
        "its own guesses, which are in the pool too, add nothing"
    )
    proposer.observe(0, [5], [1, 2, 3])
    draft = proposer.propose([0], [[9, 5, 6, 5]], [9])[0]
    # Behind a 5 came: [1 2 3] now; 7 8 in both earlier lines, and 5 5, completed by the own draft's last token.
    assert draft.chains()[0] == [1, 2, 3]
    assert {tuple(chain) for chain in draft.chains()} == {(1, 2, 3), (7, 8, 3), (5, 5, 3), (5, 2, 3)}
    assert [chain[:1] for chain in draft.chains()].count([5]) == 2
    assert len(draft) == 11


def test_cache_holds_all_committed_tokens_but_the_newest(table_model, prompts, expected):
    """Before every pass, whatever was drafted: chains, trees, promoted blocks."""
    made = []

    class Watched(type(table_model())):
        def new_cache(self, batch, capacity):
            made.append(super().new_cache(batch, capacity))
            return made[-1]

    class Watching(Recycling):
        def propose(self, rows, contexts, limits):
            lengths.append((made[-1].lengths, [len(context) - 1 for context in contexts]))
            return super().propose(rows, contexts, limits)

    lengths: list = []
    for guesser in (Jacobi(draft_length=5), MultiBlock(block_length=4, spawn_ratio=0.0)):
        assert run(Watched(), prompts, Watching(guesser)).tokens == expected
    assert len(lengths) > 20
    assert all(cached == committed for cached, committed in lengths)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("backend", ["sdpa", "segments", "flex_uncompiled"])
def test_cached_logits_are_those_of_an_uncached_pass(backend):
    transformers = pytest.importorskip("transformers")
    from ar_core.hf import HFBackbone, use_backend

    config = transformers.Qwen2Config(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=96,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = transformers.Qwen2ForCausalLM(config).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    backbone = HFBackbone(model)
    use_backend(model, backend)
    prompts, states = [[5, 6, 5, 6, 5], list(range(20, 33))], {0: [], 1: []}

    class Curious(Recycling):
        def observe(self, row, accepted, rest, hidden=None):
            states[row].append(hidden)
            super().observe(row, accepted, rest)

    stop = StopRule(frozenset(), 12)
    curious = Curious(MultiBlock(block_length=4, spawn_ratio=0.25))
    curious.wants_hidden = True
    got = run(backbone, prompts, curious, stop=stop)
    assert max(got.stats.accepted) > 1
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            cached = backbone.head(torch.cat(states[row]))
            full = backbone.head(uncached_pass(backbone, [*prompt, *got.tokens[row][:-1]]))
        assert (cached - full).abs().max() <= 1e-5 * full.abs().max().clamp(max=1)
