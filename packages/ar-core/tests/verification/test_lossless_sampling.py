"""At a positive temperature the joint distribution of the output is the verifier's own: chi-square over three tokens."""

from collections import Counter
from itertools import product

import pytest
import torch
from ar_core.decoding import DecodeStats, StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler, row_seed
from ar_core.verification import Draft, Jacobi, MultiBlock, NgramLookup, Recycling, speculative

V, DRAWS = 6, 200_000
FEWER = 20_000
# One token of the prefill, two that are drafted, one more of the verifier; the last three are examined.
LENGTH, EXAMINED = 4, slice(1, 4)
PROMPT = [2, 5]
SAMPLER = Sampler(temperature=0.7, top_p=0.95)
DRAFT = [1, 4]
TREE = Draft([1, 3, 4, 0, 4, 5], [-1, -1, 0, 0, 1, 1])
DENSITIES = torch.tensor([[0.1, 0.3, 0.05, 0.25, 0.2, 0.1], [0.3, 0.02, 0.18, 0.1, 0.25, 0.15]], dtype=torch.float64)


class Fixed:
    """Always drafts the same for a place, whatever was accepted; a tree only at the first place."""

    wants_hidden = False

    def __init__(self, kind):
        self.kind = kind
        self.generator = torch.Generator().manual_seed(123)

    def begin(self, prompts):
        pass

    def propose(self, rows, contexts, limits):
        begins = [len(context) - len(PROMPT) - 1 for context in contexts]
        if self.kind == "drawn":
            drawn = torch.multinomial(DENSITIES, len(rows), replacement=True, generator=self.generator).T.tolist()
            return [
                Draft(tokens[at:], densities=DENSITIES[at:]).cut(limit)
                for tokens, at, limit in zip(drawn, begins, limits, strict=True)
            ]
        if self.kind == "paper":
            return [Draft(DRAFT[at:], left_to_right=DENSITIES[at:]) for at in begins]
        if self.kind == "tree":
            return [TREE if at == 0 else DRAFT[at:] for at in begins]
        return [DRAFT[at:] for at in begins]

    def observe(self, row, accepted, rest, hidden=None):
        pass


def conditional(model, context):
    """The verifier's filtered distribution [V] behind ``context``, without a cache."""
    mark = sum((token + 1) * (position * 37 + 11) for position, token in enumerate(context))
    logits = model.head(torch.tensor([[float(mark)]], dtype=model.dtype))
    return SAMPLER.filtered(logits).softmax(-1)[0]


@pytest.fixture
def model(table_model):
    return table_model(vocab_size=V, seed=5, scale=1.0)


@pytest.fixture
def joint(model):
    """Exact probability of each of the V³ outcomes of the examined tokens, the first one summed out."""
    probabilities = dict.fromkeys(product(range(V), repeat=3), 0.0)

    def spread(tokens, p):
        if len(tokens) == LENGTH:
            probabilities[tokens[EXAMINED]] += p
            return
        for token, q in enumerate(conditional(model, [*PROMPT, *tokens]).tolist()):
            if q > 0:
                spread((*tokens, token), p * q)

    spread((), 1.0)
    return probabilities


def p_value(outputs, joint):
    """Of Pearson's chi-square; outcomes expected fewer than 5 times are pooled, impossible ones are an error."""
    counts = dict.fromkeys(joint, 0)
    for tokens in outputs:
        counts[tuple(tokens[EXAMINED])] += 1
    assert all(count == 0 for tokens, count in counts.items() if joint[tokens] == 0)
    rare = [t for t, p in joint.items() if 0 < p * len(outputs) < 5]
    cells = [(counts[t], p * len(outputs)) for t, p in joint.items() if p * len(outputs) >= 5]
    cells.append((sum(counts[t] for t in rare), sum(joint[t] for t in rare) * len(outputs)))
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells if expected > 0)
    freedom = torch.tensor((len(cells) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))


def decode(model, kind, draws, **how):
    """Tokens and statistics of all draws, in batches that the memory's collector does not mind."""
    stop, proposer, batch = StopRule(frozenset(), LENGTH), Fixed(kind), 4000
    tokens, stats = [], DecodeStats()
    for begin in range(0, draws, batch):
        seeds = [row_seed(7, begin + i) for i in range(batch)]
        got = speculative(
            model, [PROMPT] * batch, proposer, stop=stop, sampler=SAMPLER, seed=seeds, fallback=False, **how
        )
        tokens += got.tokens
        stats += got.stats
    return tokens, stats


@pytest.mark.parametrize(
    ("kind", "draws"),
    [
        pytest.param("drawn", DRAWS, marks=pytest.mark.slow),
        pytest.param("tree", DRAWS, marks=pytest.mark.slow),
        ("chain", FEWER),
    ],
)
def test_the_joint_distribution_is_the_verifiers(model, joint, kind, draws):
    assert sum(joint.values()) == pytest.approx(1)
    tokens, stats = decode(model, kind, draws)
    # Some drafts were accepted in full and some rejected at once, else nothing was tested.
    assert stats.accepted[3] > draws / 100
    assert stats.accepted_at[1] < 0.9 * stats.drafted_at[1]
    assert p_value(tokens, joint) > 1e-3
    pairs = dict.fromkeys(product(range(V), repeat=2), 0.0)
    for outcome, probability in joint.items():
        pairs[outcome[:2]] += probability
    seen = Counter(tuple(row[1:3]) for row in tokens)
    assert sum(abs(seen[pair] / draws - p) for pair, p in pairs.items()) / 2 <= (0.01 if draws == DRAWS else 0.03)


def test_the_papers_rule_is_biased_and_used_only_under_its_name(model, joint):
    assert p_value(decode(model, "paper", FEWER, acceptance="paper_l2r_biased")[0], joint) < 1e-6
    few = {"stop": StopRule(frozenset(), LENGTH), "sampler": SAMPLER, "seed": 7}
    lossless = speculative(model, [PROMPT] * 500, Fixed("paper"), fallback=False, **few)
    assert lossless.tokens == autoregressive(model, [PROMPT] * 500, **few).tokens


def test_an_unknown_rule_is_refused(model):
    with pytest.raises(ConfigError, match="acceptance is 'paper'; it must be one of lossless, paper_l2r_biased"):
        speculative(model, [PROMPT], Fixed("paper"), stop=StopRule(frozenset(), 3), sampler=SAMPLER, acceptance="paper")


def test_densities_over_another_vocabulary_are_refused(model):
    class Narrow(Fixed):
        def propose(self, rows, contexts, limits):
            return [Draft([1], densities=torch.full((1, 5), 0.2)) for _ in rows]

    with pytest.raises(ConfigError, match="densities over 5 ids, and the model has 6"):
        speculative(model, [PROMPT], Narrow("drawn"), stop=StopRule(frozenset(), 3), sampler=SAMPLER)


PROPOSERS = {
    "lookup": NgramLookup,
    "jacobi": Jacobi,
    "block": lambda: MultiBlock(block_length=3, blocks=1, init="random_vocab", vocab_size=V),
    "multiblock": lambda: MultiBlock(block_length=3, spawn_ratio=0.5, init="prompt_sample"),
    "recycling": lambda: Recycling(Jacobi(draft_length=4)),
    "multiblock and recycling": lambda: Recycling(MultiBlock(block_length=3)),
    "chain": lambda: Fixed("chain"),
    "tree": lambda: Fixed("tree"),
}


@pytest.mark.parametrize("name", PROPOSERS)
def test_deterministic_drafts_give_the_very_tokens_of_autoregressive_sampling(model, name):
    """Hence their joint distribution too, which the chi-square above shows for a chain and a tree."""
    common = {"stop": StopRule(frozenset(), 9), "sampler": SAMPLER, "seed": 11}
    expected = autoregressive(model, [PROMPT] * 300, **common).tokens
    got = speculative(model, [PROMPT] * 300, PROPOSERS[name](), fallback=False, **common)
    assert got.tokens == expected
    assert got.stats.accepted_at[1] > 0


@pytest.mark.parametrize("kind", ["drawn", "tree", "paper"])
def test_at_temperature_0_every_draft_gives_the_greedy_tokens(model, kind):
    """Also as the limit of low temperatures."""
    stop = StopRule(frozenset(), LENGTH)
    expected = autoregressive(model, [PROMPT] * 20, stop=stop, sampler=Sampler()).tokens
    for sampler in (Sampler(), Sampler(temperature=1e-4)):
        got = speculative(model, [PROMPT] * 20, Fixed(kind), stop=stop, sampler=sampler, acceptance="paper_l2r_biased")
        assert got.tokens == expected


def test_drawn_drafts_in_a_batch_and_alone_give_equal_tokens(model):
    """A row's tokens depend on its own numbers and drafts alone."""

    class Same(Fixed):
        def propose(self, rows, contexts, limits):
            at = [len(context) - len(PROMPT) - 1 for context in contexts]
            return [Draft([3, 4][i:], densities=DENSITIES[i:]) if row % 2 else [3, 4][i:] for row, i in zip(rows, at)]

    common = {"stop": StopRule(frozenset(), LENGTH), "sampler": SAMPLER}
    together = speculative(model, [PROMPT] * 40, Same(""), seed=list(range(40)), **common).tokens
    halves = [
        token
        for i in (0, 10, 20, 30)
        for token in speculative(model, [PROMPT] * 10, Same(""), seed=list(range(i, i + 10)), **common).tokens
    ]
    assert together == halves
