"""Draft trees in the loop: the tokens of autoregressive decoding, ragged, mixed with chains, in one pass each."""

import random

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler
from ar_core.verification import Draft, PassCost, speculative

GREEDY, WARM = Sampler(), Sampler(temperature=0.8, top_p=0.9)


class Trees:
    """The true continuation as one branch of a random tree, right for a random number of tokens; chains in some rows."""

    wants_hidden = False

    def __init__(self, truths, vocab_size=11, nodes=12, seed=0, right=None):
        self.truths, self.vocab_size, self.nodes, self.right = truths, vocab_size, nodes, right
        self.random = random.Random(seed)
        self.deepest = 0

    def begin(self, prompts):
        self.starts = [len(prompt) for prompt in prompts]

    def propose(self, rows, contexts, limits):
        return [self.tree(row, context) for row, context in zip(rows, contexts, strict=True)]

    def tree(self, row, context):
        at = len(context) - self.starts[row]
        right = self.random.randrange(5) if self.right is None else self.right
        truth = list(self.truths[row][at : at + right])
        if row % 3 == 2:
            return [*truth, (self.truths[row][at + right] + 1) % self.vocab_size] if at + right < 20 else truth
        chains = [self.random.choices(range(self.vocab_size), k=self.random.randrange(1, 5)) for _ in range(3)]
        spurs = [[*truth[:i], self.random.randrange(self.vocab_size)] for i in range(len(truth))]
        return Draft.of_chains(self.random.sample([*chains, *spurs, truth], k=4 + len(spurs)))

    def observe(self, row, accepted, rest, hidden=None):
        self.deepest = max(self.deepest, len(accepted))


def sampled(table_model, prompts, sampler, stop):
    return autoregressive(table_model(), prompts, stop=stop, sampler=sampler, seed=3)


@pytest.mark.parametrize("sampler", [GREEDY, WARM, Sampler(temperature=1.3, top_k=4, banned_ids=(0,))])
@pytest.mark.parametrize("seed", range(4))
def test_tokens_equal_autoregressive_with_the_same_seed(table_model, prompts, sampler, seed):
    free = sampled(table_model, prompts, sampler, StopRule(frozenset(), 24)).tokens
    for stop in (StopRule(frozenset({6}), 20), StopRule(frozenset(), 20), StopRule(frozenset(), 2)):
        expected = sampled(table_model, prompts, sampler, stop)
        for fallback in (False, True):
            trees = Trees(free, seed=seed)
            got = speculative(
                table_model(), prompts, trees, stop=stop, sampler=sampler, seed=3, fallback=fallback, trace=True
            )
            assert (got.tokens, got.finish) == (expected.tokens, expected.finish)
        if stop.max_new_tokens == 20 and not stop.stop_ids:
            assert trees.deepest > 3


def test_the_right_branch_is_taken_wherever_it_stands(table_model, prompts):
    """Four right tokens among branches: five a pass, as with the chain alone."""
    stop = StopRule(frozenset(), 21)
    truths = sampled(table_model, prompts, GREEDY, stop).tokens
    for _ in range(3):
        got = speculative(table_model(), prompts[:2], Trees(truths, right=4), stop=stop, sampler=GREEDY, fallback=False)
        assert got.tokens == truths[:2]
        assert got.stats.nfe == 5
        assert got.stats.accepted_at == dict.fromkeys(range(1, 5), 8)


def test_one_host_read_per_pass(table_model, prompts, monkeypatch):
    stop = StopRule(frozenset(), 20)
    truths = {sampler: sampled(table_model, prompts, sampler, stop).tokens for sampler in (GREEDY, WARM)}
    reads = []
    for name in ("tolist", "item", "numpy", "__bool__", "__int__", "__float__", "__index__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor, *args, original=original, name=name, **kwargs):
            reads.append(name)
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    for sampler, truth in truths.items():
        reads.clear()
        got = speculative(
            table_model(), prompts, Trees(truth), stop=stop, sampler=sampler, seed=3, fallback=False, trace=True
        )
        assert reads == ["tolist"] * got.stats.nfe


def test_hidden_states_are_those_of_the_accepted_branch(table_model, prompts):
    model, seen = table_model(), {row: [] for row in range(len(prompts))}
    truths = sampled(table_model, prompts, GREEDY, StopRule(frozenset(), 24)).tokens

    class Curious(Trees):
        wants_hidden = True

        def observe(self, row, accepted, rest, hidden=None):
            seen[row].append(hidden)

    stop = StopRule(frozenset(), 17)
    got = speculative(model, prompts, Curious(truths), stop=stop, sampler=GREEDY, fallback=False)
    for row, prompt in enumerate(prompts):
        states = torch.cat(seen[row])
        assert states.shape[0] == len(prompt) + len(got.tokens[row]) - 1
        assert model.head(states[len(prompt) - 1 :]).argmax(-1).tolist() == got.tokens[row]


def test_rest_follows_the_main_line_behind_the_accepted_token(table_model):
    stop, prompt = StopRule(frozenset(), 8), [1, 2, 3, 4, 5]
    truth = sampled(table_model, [prompt], GREEDY, stop).tokens[0]
    right, wrong = truth[1], (truth[1] + 1) % 11
    off = (truth[2] + 1) % 11
    seen = []

    class Once(Trees):
        def propose(self, rows, contexts, limits):
            return [Draft([wrong, right, off, off], [-1, -1, 0, 1]) if len(seen) == 1 else []]

        def observe(self, row, accepted, rest, hidden=None):
            seen.append((accepted, rest))

    speculative(table_model(), [prompt], Once([truth]), stop=stop, sampler=GREEDY, fallback=False)
    model = table_model()
    expected = sum((t + 1) * (p * 37 + 11) for p, t in enumerate([*prompt, truth[0], right, off]))
    behind = model.head(torch.tensor([float(expected)], dtype=model.dtype)).argmax(-1).item()
    assert seen[1] == ([right, truth[2]], [behind])


def test_a_tree_larger_than_the_cache_is_cut_at_its_end(table_model):
    """Sixty branches beside the right one, which comes first, up to the last token that the context has room for."""
    prompt, stop = [1] * 20, StopRule(frozenset(), 12)
    truth = autoregressive(table_model(context_length=32), [prompt], stop=stop, sampler=GREEDY).tokens[0]

    class Wide(Trees):
        def tree(self, row, context):
            at = len(context) - 20
            others = [[a, b] for a in range(11) for b in range(11) if a != truth[min(at, 11)]]
            return Draft.of_chains([truth[at : at + 3], *others])

    model = table_model(context_length=32)
    got = speculative(model, [prompt], Wide([truth]), stop=stop, sampler=GREEDY, fallback=False)
    assert got.tokens == [truth]
    assert got.stats.nfe == 1 + 3


def test_a_width_that_does_not_pay_is_not_verified(table_model, prompts):
    """At proportional cost no tree pays; where width is free all of it is verified."""
    stop = StopRule(frozenset(), 20)
    truths = sampled(table_model, prompts, GREEDY, StopRule(frozenset(), 26)).tokens

    def run(cost):
        trees = Trees(truths, right=2)
        return speculative(table_model(), prompts[:2], trees, stop=stop, sampler=GREEDY, pass_cost=cost)

    dear, free = run(PassCost((1, 2), (1.0, 2.0))), run(PassCost((1, 99), (1.0, 1.0)))
    assert dear.tokens == free.tokens == [row[:20] for row in truths[:2]]
    assert dear.stats.forwards["verify"] <= 1
    assert free.stats.nfe < 12
