"""Does a second block in flight ever cost passes? The same drafts with K = 1 and K = 2, on models of short memory."""

import pytest
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler
from ar_core.verification import MultiBlock, Recycling, speculative

GREEDY, STOP, PROMPT = Sampler(), StopRule(frozenset(), 24), [1, 2, 3]


@pytest.fixture
def passes(table_model):
    """Passes of a proposer on the model of a seed; the output is AR's."""

    def run(proposer, seed: int, reach: int) -> int:
        def model():
            return table_model(vocab_size=5, seed=seed, reach=reach)

        got = speculative(model(), [PROMPT], proposer, stop=STOP, sampler=GREEDY, fallback=False)
        assert got.tokens == autoregressive(model(), [PROMPT], stop=STOP, sampler=GREEDY).tokens
        return got.stats.nfe

    return run


def blocks(n: int, count: int) -> MultiBlock:
    return MultiBlock(block_length=n, blocks=count, spawn_ratio=0.5, init="repeat_last")


@pytest.mark.parametrize("reach", [1, 2, 3])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_two_blocks_need_no_more_passes_than_one(passes, n, reach):
    """With a fresh start that lasts for one pass only, a tenth of these models would need more."""
    pairs = [(passes(blocks(n, 1), seed, reach), passes(blocks(n, 2), seed, reach)) for seed in range(12)]
    assert all(two <= one for one, two in pairs)
    assert sum(two < one for one, two in pairs) >= 6


def test_a_model_that_is_misled_by_right_tokens(passes):
    """Why the order above is no theorem: here K = 2 knows more, earlier, and guesses worse for it.

    Its pass over the fresh start has right tokens in the context where K = 1 still has wrong ones, and the wrong ones happen to
    give right picks. Only a second context in which known tokens are replaced by K = 1's errors would bring these.
    """
    assert (passes(blocks(6, 1), 16, 3), passes(blocks(6, 2), 16, 3)) == (19, 20)


def test_recycling_hands_the_branches_on(passes):
    """Each branch of a promoted block goes on with picks along itself, also where the tree holds recycled ones."""

    class Deaf(Recycling):
        def review(self, row, draft, picks):
            pass

    told, untold = (sum(passes(kind(blocks(6, 2)), seed, 2) for seed in range(12)) for kind in (Recycling, Deaf))
    assert told < untold
