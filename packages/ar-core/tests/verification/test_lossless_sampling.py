"""At a positive temperature the joint distribution of the output is the verifier's own: chi-square over three tokens."""

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from ar_core.verification import Draft, Jacobi, MultiBlock, NgramLookup, Recycling, speculative

V, ROWS = 6, 4000
# Each row is fifty draws of three tokens, so that there are 2·10⁵.
LENGTH, DRAWS = 150, 200_000
FEWER = 20_000
SAMPLER = Sampler(temperature=0.9, top_p=0.99)
DENSITIES = torch.tensor([[0.3, 0.1, 0.05, 0.15, 0.2, 0.2], [0.3, 0.02, 0.18, 0.1, 0.25, 0.15]], dtype=torch.float64)
TREE = Draft([0, 5, 4, 3, 4, 5, 1], [-1, -1, 0, 0, 1, 1, 3])


class Fixed:
    """Always drafts the same behind a context of that length, whatever it holds."""

    wants_hidden = False

    def __init__(self, kind):
        self.kind = kind
        self.draws = kind == "drawn"
        self.generator = torch.Generator().manual_seed(123)

    def begin(self, prompts):
        pass

    def propose(self, rows, contexts, limits):
        if self.kind == "drawn":
            drawn = torch.multinomial(DENSITIES, len(rows), replacement=True, generator=self.generator).T.tolist()
            return [Draft(tokens, densities=DENSITIES).cut(limit) for tokens, limit in zip(drawn, limits, strict=True)]
        if self.kind == "paper":
            return [Draft([0, 4], left_to_right=DENSITIES)] * len(rows)
        if self.kind == "tree":
            return [TREE if len(context) % 3 < 2 else [0, 5] for context in contexts]
        return [[0, 4]] * len(rows)

    def observe(self, row, accepted, rest, hidden=None):
        pass


class Leaning(Jacobi):
    """Draws from densities that lean on the verifier's guesses of the last pass."""

    draws = True

    def begin(self, prompts):
        super().begin(prompts)
        self.generator = torch.Generator().manual_seed(1)

    def propose(self, rows, contexts, limits):
        chains = super().propose(rows, contexts, limits)
        longest = max(map(len, chains))
        if longest == 0:
            return chains
        guesses = torch.tensor([[*chain, *[0] * (longest - len(chain))] for chain in chains])
        lean = torch.nn.functional.one_hot(guesses, V)
        densities = 0.7 * lean.double() + 0.3 / V
        drawn = torch.multinomial(densities.flatten(0, 1), 1, generator=self.generator).view(guesses.shape).tolist()
        return [
            Draft(tokens, densities=own).cut(len(chain))
            for tokens, own, chain in zip(drawn, densities, chains, strict=True)
        ]


PROPOSERS = {
    "lookup": lambda: NgramLookup(draft_length=6),
    "jacobi": Jacobi,
    "block": lambda: MultiBlock(block_length=3, blocks=1, init="random_vocab", vocab_size=V),
    "multiblock": lambda: MultiBlock(block_length=4, spawn_ratio=0.5),
    "recycling": lambda: Recycling(Jacobi(draft_length=4), pool=2),
    "multiblock and recycling": lambda: Recycling(MultiBlock(block_length=3, init="prompt_sample")),
    "chain": lambda: Fixed("chain"),
    "tree": lambda: Fixed("tree"),
    "drawn": lambda: Fixed("drawn"),
    "leaning": lambda: Leaning(draft_length=3),
}


@pytest.fixture
def model(renewal_model):
    return renewal_model(V)


def decode(model, proposer, draws, **how):
    return speculative(
        model,
        [list(model.prompt)] * ROWS,
        proposer,
        stop=StopRule(frozenset(), 3 * draws // ROWS),
        sampler=SAMPLER,
        fallback=False,
        **{"seed": 7, **how},
    )


@pytest.mark.parametrize(
    ("name", "draws"),
    [
        *(pytest.param(name, DRAWS, marks=pytest.mark.slow) for name in PROPOSERS),
        *((name, FEWER) for name in ("chain", "tree", "drawn", "leaning")),
    ],
)
def test_the_joint_distribution_is_the_verifiers(model, compare_with_joint, name, draws):
    """Every proposer draws other numbers."""
    assert model.joint(SAMPLER).sum() == pytest.approx(1)
    got = decode(model, PROPOSERS[name](), draws, seed=list(PROPOSERS).index(name))
    # Some drafts were right and some wrong, else nothing was tested.
    assert 0.05 < got.stats.accepted_at[1] / got.stats.drafted_at[1] < 0.95
    assert got.stats.accepted_at[2] > 0.01 * draws
    seen, p, variation = compare_with_joint(got.tokens, model.joint(SAMPLER))
    assert seen == draws
    assert p > 1e-3
    assert variation <= (0.01 if draws == DRAWS else 0.02)


@pytest.mark.parametrize("draws", [pytest.param(DRAWS, marks=pytest.mark.slow), FEWER])
def test_the_papers_rule_is_biased_and_used_only_under_its_name(model, compare_with_joint, draws):
    biased = decode(model, Fixed("paper"), draws, acceptance="paper_l2r_biased")
    _, p, variation = compare_with_joint(biased.tokens, model.joint(SAMPLER))
    assert p < 1e-6
    assert variation > 0.05


def test_without_its_name_the_papers_densities_are_not_read(model):
    few = {"stop": StopRule(frozenset(), 9), "sampler": SAMPLER, "seed": 7}
    prompts = [list(model.prompt)] * 300
    lossless = speculative(model, prompts, Fixed("paper"), fallback=False, **few)
    assert lossless.tokens == autoregressive(model, prompts, **few).tokens


def test_an_unknown_rule_is_refused(model):
    with pytest.raises(ConfigError, match="acceptance is 'paper'; it must be one of lossless, paper_l2r_biased"):
        speculative(model, [[1]], Fixed("paper"), stop=StopRule(frozenset(), 3), sampler=SAMPLER, acceptance="paper")


def test_densities_over_another_vocabulary_are_refused(model):
    class Narrow(Fixed):
        def propose(self, rows, contexts, limits):
            return [Draft([1], densities=torch.full((1, 5), 0.2)) for _ in rows]

    with pytest.raises(ConfigError, match="densities over 5 ids, and the model has 6"):
        speculative(model, [[1]], Narrow("drawn"), stop=StopRule(frozenset(), 3), sampler=SAMPLER)


def test_densities_of_a_proposer_that_does_not_say_that_it_draws_are_refused(model):
    undeclared = Fixed("drawn")
    undeclared.draws = False
    with pytest.raises(ConfigError, match=r"proposer Fixed gave densities for row 0 .* draws = True"):
        speculative(model, [[1]], undeclared, stop=StopRule(frozenset(), 4), sampler=Sampler())


@pytest.mark.parametrize("name", [name for name in PROPOSERS if name not in ("drawn", "leaning")])
def test_deterministic_drafts_give_the_very_tokens_of_autoregressive_sampling(model, name):
    common = {"stop": StopRule(frozenset(), 9), "sampler": SAMPLER, "seed": 11}
    prompts = [list(model.prompt)] * 300
    expected = autoregressive(model, prompts, **common).tokens
    got = speculative(model, prompts, PROPOSERS[name](), fallback=False, **common)
    assert got.tokens == expected
    assert got.stats.accepted_at[1] > 0


@pytest.mark.parametrize("kind", ["drawn", "tree", "paper"])
def test_at_temperature_0_every_draft_gives_the_greedy_tokens(table_model, kind):
    """Also as the limit of low temperatures."""
    stop, model = StopRule(frozenset(), 12), table_model(vocab_size=V, seed=5, scale=1.0)
    expected = autoregressive(model, [[2, 5]] * 20, stop=stop, sampler=Sampler()).tokens
    for sampler in (Sampler(), Sampler(temperature=1e-4)):
        got = speculative(model, [[2, 5]] * 20, Fixed(kind), stop=stop, sampler=sampler, acceptance="paper_l2r_biased")
        assert got.tokens == expected


def test_drawn_drafts_in_a_batch_and_alone_give_equal_tokens(model):
    """A row's tokens depend on its own numbers and drafts alone, until the room that the longest row leaves cuts them."""

    class Same(Fixed):
        def propose(self, rows, contexts, limits):
            return [Draft([0, 4], densities=DENSITIES) if row % 2 else [0, 4] for row in rows]

    def run(seeds):
        stop, prompts = StopRule(frozenset(), 30), [list(model.prompt)] * len(seeds)
        got = speculative(model, prompts, Same("drawn"), stop=stop, sampler=SAMPLER, seed=seeds, fallback=False)
        return [tokens[:9] for tokens in got.tokens]

    together = run(list(range(40)))
    assert together == [tokens for i in (0, 10, 20, 30) for tokens in run(list(range(i, i + 10)))]
