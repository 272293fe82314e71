"""At a positive temperature the joint distribution of the output is the verifier's own: chi-square over a draft of three."""

from itertools import product

import pytest
import torch
from ar_core.decoding import StopRule
from ar_core.sampling import Sampler
from ar_core.verification import speculative

V, DRAWS = 6, 20_000
# One token of the prefill, three that are drafted, one more of the verifier; the three are examined.
LENGTH, EXAMINED = 5, slice(1, 4)
PROMPT = [2, 5]
SAMPLER = Sampler(temperature=0.7, top_p=0.95)
DRAFT = [1, 4, 0, 2]


class Fixed:
    """Always drafts the same continuation, whatever was accepted."""

    wants_hidden = False

    def begin(self, prompts):
        pass

    def propose(self, rows, contexts, limits):
        return [DRAFT[len(context) - len(PROMPT) :][:limit] for context, limit in zip(contexts, limits, strict=True)]

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
        if len(tokens) == 4:
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


def by_hand(model, draws, rule):
    """Speculative sampling written out, with ``rule(p, d)`` = chance of accepting the draft token d under p."""
    generator = torch.Generator().manual_seed(1)
    outputs = []
    distributions = {}
    for _ in range(draws):
        tokens = []
        for drafted in DRAFT:
            context = (*PROMPT, *tokens)
            if context not in distributions:
                distributions[context] = conditional(model, context)
            p = distributions[context]
            if torch.rand(1, generator=generator) < rule(p, drafted):
                tokens.append(drafted)
                continue
            rest = p.clone()
            rest[drafted] = 0
            tokens.append(int(torch.multinomial(rest, 1, generator=generator)))
        outputs.append(tokens)
    return outputs


def test_the_joint_distribution_is_the_verifiers(model, joint):
    assert sum(joint.values()) == pytest.approx(1)
    stop = StopRule(frozenset(), LENGTH)
    got = speculative(model, [PROMPT] * DRAWS, Fixed(), stop=stop, sampler=SAMPLER, seed=7, fallback=False)
    # Some drafts were accepted in full and some rejected at once, else nothing was tested.
    assert got.stats.accepted[4] > 50
    assert got.stats.accepted[1] - DRAWS > 50
    assert p_value(got.tokens, joint) > 1e-3


def test_comparing_draws_is_the_delta_rule(model, joint):
    outputs = by_hand(model, 4000, lambda p, d: float(p[d]))
    assert p_value(outputs, joint) > 1e-3


@pytest.mark.parametrize(
    "rule",
    [lambda p, d: min(1.0, 1.3 * float(p[d])), lambda p, d: float(p[d] >= p.max())],
    ids=["too generous", "accepts the mode"],
)
def test_a_biased_rule_is_found_out(model, joint, rule):
    assert p_value(by_hand(model, 4000, rule), joint) < 1e-6
