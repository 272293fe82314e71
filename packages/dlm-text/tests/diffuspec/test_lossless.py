"""Oracles 1, 2, 3, 4, 10 (delta), 13, 15: whatever the drafter, the verifier's own output."""

from functools import cache
from itertools import pairwise, product

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import StopRule, autoregressive, uncached_pass
from ar_core.sampling import Sampler
from ar_core.verification import speculative
from dlm_text.diffuspec.adaptive_length import AdaptiveLength
from dlm_text.diffuspec.draft_length import FixedLength
from dlm_text.diffuspec.goodput import Goodput
from dlm_text.diffuspec.prompt_proxy import PromptProxy
from dlm_text.diffuspec.proposer import DiffuSpecProposer, SearchSettings
from dlm_text.diffuspec.proxy import UniformProxy

from .conftest import MASK, PROMPTS, STOPS, LatticeDrafter, V

SETTINGS = [
    ({}, FixedLength(5), {}),
    ({"steps": 3}, FixedLength(4), {"beam": 1, "drafter_weight": 1.0}),
    ({"shift": False}, FixedLength(1), {"mass": 0.0}),
    ({"cache": "prefix", "refresh": 3}, FixedLength(6), {"mass": 1.0, "beam": 5, "max_candidates": 4}),
    ({"attention": "block_causal", "block_size": 4, "cache": "block"}, FixedLength(6), {"eos_rule": "paper"}),
    ({"attention": "block_causal", "block_size": 3, "shift": False, "grid": "prompt"}, FixedLength(5), {}),
    (
        {"attention": "block_causal", "block_size": 4, "shift": False, "grid": "prompt", "cache": "block", "steps": 2},
        AdaptiveLength(minimum=2, maximum=8, growth=2),
        {"eos_rule": "prob", "eos_probability": 0.1},
    ),
    (
        {},
        Goodput(minimum=1, maximum=6, draft_seconds=lambda j, k: 0.01 * k, verify_seconds=lambda k: 1 + 0.1 * k),
        {"drafter_weight": 0.0},
    ),
    ({}, FixedLength(5), {"tree_nodes": 9}),
    ({"shift": False}, AdaptiveLength(minimum=2, maximum=8, growth=2), {"tree_nodes": 1}),
]


def decode(verifier, proposer, max_new_tokens=24, prompts=PROMPTS, stop_ids=STOPS, **settings):
    stop = StopRule(stop_ids, max_new_tokens)
    return speculative(verifier, prompts, proposer, stop=stop, **{"sampler": Sampler(), "fallback": False, **settings})


@pytest.mark.parametrize(("drafter", "length", "search"), SETTINGS)
def test_greedy_output_is_the_verifiers(verifier, make_drafter, greedy, drafter, length, search):
    """Oracles 1 and 13."""
    proposer = DiffuSpecProposer(
        make_drafter(**drafter), PromptProxy(V), length, stop_ids=STOPS, settings=SearchSettings(**search)
    )
    got = decode(verifier, proposer)
    assert got.tokens == greedy()
    assert proposer.stats.forwards > 0
    assert proposer.stats.rounds > 0


def test_a_drafter_of_garbage(verifier, greedy):
    generator = torch.Generator().manual_seed(0)
    noise = LatticeDrafter(lambda row, context, k: 5 * torch.randn(k, V, generator=generator))
    proposer = DiffuSpecProposer(noise, UniformProxy(V), FixedLength(7), stop_ids=STOPS)
    assert decode(verifier, proposer).tokens == greedy()


def truth(outputs, offset):
    """A lattice peaked on the true continuation, each id moved by `offset`."""

    def rule(row, context, k):
        at = len(context) - len(PROMPTS[row])
        ids = [(token + offset) % V for token in outputs[row][at : at + k]]
        logits = torch.zeros(k, V)
        logits[torch.arange(len(ids)), torch.tensor(ids, dtype=torch.long)] = 20.0
        return logits

    return LatticeDrafter(rule)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_an_oracle_drafter_has_everything_accepted(verifier, greedy, k):
    """Oracle 2: rounds = ceil(N / (k + 1)), the prefill's token being no round."""
    n = 21
    outputs = greedy(n + 1, frozenset())
    proposer = DiffuSpecProposer(truth(outputs, 0), UniformProxy(V), FixedLength(k))
    got = decode(verifier, proposer, n + 1, stop_ids=frozenset())
    assert got.tokens == outputs
    passes = got.stats.nfe - got.stats.forwards["prefill"]
    assert passes == -(-n // (k + 1))
    assert proposer.stats.accepted == sum(proposer.stats.judged_at.values())


def test_an_adversarial_drafter_gives_one_token_a_round(verifier, greedy):
    """Oracle 3."""
    outputs = greedy(12, frozenset())
    proposer = DiffuSpecProposer(truth(outputs, 1), UniformProxy(V), FixedLength(4))
    got = decode(verifier, proposer, 12, stop_ids=frozenset())
    assert got.tokens == outputs
    assert got.stats.nfe == 12
    assert proposer.stats.accepted == 0


def test_a_tree_holds_what_the_best_path_misses(verifier, greedy):
    """The right token is always the drafter's second choice: no path is right, every tree of depth 2 is."""
    n = 12
    outputs = greedy(n + 1, frozenset())

    def second(row, context, k):
        at = len(context) - len(PROMPTS[row])
        logits = torch.zeros(k, V)
        for place, token in enumerate(outputs[row][at : at + k]):
            logits[place, token], logits[place, (token + 1) % V] = 19.9, 20.0
        return logits

    def passes(nodes):
        settings = SearchSettings(tree_nodes=nodes)
        proposer = DiffuSpecProposer(LatticeDrafter(second), UniformProxy(V), FixedLength(2), settings=settings)
        got = decode(verifier, proposer, n + 1, stop_ids=frozenset())
        assert got.tokens == outputs
        return got.stats.nfe - got.stats.forwards["prefill"], proposer.stats

    assert passes(None)[0] == n
    assert passes(6)[0] == n // 3
    assert passes(6)[1].accepted == 2 * n // 3 * len(PROMPTS)


def test_sampling_with_trees_gives_the_tokens_of_the_seed(verifier, make_drafter):
    sampler, stop = Sampler(temperature=0.8, top_p=0.95), StopRule(STOPS, 24)
    expected = autoregressive(verifier, PROMPTS, stop=stop, sampler=sampler, seed=3)
    proposer = DiffuSpecProposer(
        make_drafter(), PromptProxy(V), FixedLength(5), stop_ids=STOPS, settings=SearchSettings(tree_nodes=12)
    )
    assert decode(verifier, proposer, sampler=sampler, seed=3).tokens == expected.tokens
    assert proposer.stats.accepted > 0


def test_the_verifiers_cache_is_exact_and_one_short_of_what_is_committed(verifier, make_drafter, monkeypatch):
    """Oracle 4."""
    kept, logits = [], []
    keep, head = WindowedKVCache.keep, verifier.head
    proposer = DiffuSpecProposer(make_drafter(), PromptProxy(V), FixedLength(4), stop_ids=STOPS)
    committed = [len(PROMPTS[1])]
    observe = proposer.observe

    def watched_keep(cache, counts):
        keep(cache, counts)
        kept.append((cache.lengths, committed[-1]))

    def watched_observe(row, accepted, rest, hidden=None):
        committed.append(committed[-1] + len(accepted))
        observe(row, accepted, rest, hidden)

    def watched_head(hidden):
        logits.append(head(hidden))
        return logits[-1]

    monkeypatch.setattr(proposer, "observe", watched_observe)
    monkeypatch.setattr(WindowedKVCache, "keep", watched_keep)
    monkeypatch.setattr(type(verifier), "head", lambda self, hidden: watched_head(hidden))
    # The drafter shares the class and keeps no cache here; its logits are told apart by the lists' order.
    monkeypatch.setattr(proposer.drafter.backbone, "head", proposer.drafter.backbone.projection, raising=False)
    got = decode(verifier, proposer, 16, [PROMPTS[1]], frozenset())
    assert kept
    assert all(lengths == [total - 1] for lengths, total in kept)
    monkeypatch.undo()
    whole = verifier.head(uncached_pass(verifier, [*PROMPTS[1], *got.tokens[0]]))
    at = len(PROMPTS[1]) - 1
    for rows, (before, after) in zip(logits, pairwise(committed), strict=True):
        for step in range(after - before):
            assert (rows[step] - whole[at + step]).abs().max() < 1e-5
        at += after - before


def test_requests_are_independent(verifier, make_drafter):
    """Oracle 15: batch mates change neither ids nor rounds nor drafts."""

    def run(prompts):
        length = AdaptiveLength(minimum=2, maximum=6, growth=2)
        proposer = DiffuSpecProposer(make_drafter(), PromptProxy(V), length, stop_ids=STOPS)
        got = decode(verifier, proposer, prompts=prompts)
        return got.tokens, proposer.stats

    together, stats = run(PROMPTS)
    alone = [run([prompt]) for prompt in PROMPTS]
    assert together == [tokens[0] for tokens, _ in alone]
    assert stats.rounds == sum(one.rounds for _, one in alone)
    assert stats.judged_at == sum((one.judged_at for _, one in alone), start=type(stats.judged_at)())


def test_a_second_batch_knows_nothing_of_the_first(verifier, make_drafter):
    length = AdaptiveLength(minimum=1, maximum=6, growth=1)
    proposer = DiffuSpecProposer(make_drafter(cache="prefix"), PromptProxy(V), length, stop_ids=STOPS)
    first = decode(verifier, proposer)
    rounds = proposer.stats.rounds
    assert decode(verifier, proposer).tokens == first.tokens
    assert proposer.stats.rounds == rounds


def test_context_limits_of_both_models(verifier, make_drafter, greedy):
    prompt = [int(i * 7 % 38) for i in range(90)]
    outputs = autoregressive(verifier, [prompt], stop=StopRule(frozenset(), 6), sampler=Sampler()).tokens
    for settings in ({}, {"cache": "prefix"}, {"attention": "block_causal", "block_size": 10, "cache": "block"}):
        proposer = DiffuSpecProposer(make_drafter(**settings), PromptProxy(V), FixedLength(30))
        assert decode(verifier, proposer, 6, [prompt], frozenset()).tokens == outputs


class TestSampling:
    """Oracle 10, the delta rule: the joint of three tokens over six ids is the verifier's, and a biased rule is found out."""

    draws = 8_000
    sampler = Sampler(temperature=0.9, top_p=0.95)
    prompt = (2, 5)

    @pytest.fixture
    def model(self, verifier):
        """Logits are a row of a table, chosen by the sum of marks of all visible tokens."""
        table = torch.randn(997, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

        class Model:
            vocab_size, context_length, device, dtype = 6, 64, torch.device("cpu"), torch.float64

            def new_cache(self, batch, capacity):
                return WindowedKVCache(1, batch, 1, 1, capacity, self.dtype)

            def hidden(self, ids, *, embeds=None, positions, mask, cache):
                marks = ((ids + 1) * (positions * 37 + 11)).double()
                keys = cache.update(0, marks[:, None, :, None], marks[:, None, :, None])[0][:, 0, :, 0]
                if mask is None:
                    return keys.sum(-1)[:, None, None].expand(-1, ids.shape[1], 1)
                return torch.where(mask.dense()[:, 0], keys[:, None], 0.0).sum(-1, keepdim=True)

            def head(self, hidden):
                return table[hidden[..., 0].long() % 997]

        return Model()

    def conditional(self, model, context):
        mark = sum((token + 1) * (position * 37 + 11) for position, token in enumerate(context))
        return self.sampler.filtered(model.head(torch.tensor([[float(mark)]]))).softmax(-1)[0]

    def joint(self, model):
        found = {}
        for tokens in product(range(6), repeat=3):
            p = 0.0
            for first in range(6):
                q = 1.0
                for i, token in enumerate((first, *tokens)):
                    q *= float(self.conditional(model, (*self.prompt, *(first, *tokens)[:i]))[token])
                p += q
            found[tokens] = p
        return found

    def lattice(self, row, context, k):
        return self.noise(sum(context))[:k]

    @staticmethod
    @cache
    def noise(seed):
        return torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))

    def p_value(self, outputs, joint):
        """Of Pearson's chi-square; outcomes expected fewer than 5 times are pooled."""
        counts = dict.fromkeys(joint, 0)
        for tokens in outputs:
            counts[tuple(tokens[1:4])] += 1
        assert all(count == 0 for tokens, count in counts.items() if joint[tokens] == 0)
        rare = [t for t, p in joint.items() if p * len(outputs) < 5]
        cells = [(counts[t], p * len(outputs)) for t, p in joint.items() if p * len(outputs) >= 5]
        cells.append((sum(counts[t] for t in rare), sum(joint[t] for t in rare) * len(outputs)))
        statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells if expected > 0)
        freedom = torch.tensor((len(cells) - 1) / 2, dtype=torch.float64)
        return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))

    def test_delta(self, model):
        proposer = DiffuSpecProposer(LatticeDrafter(self.lattice), UniformProxy(6), FixedLength(3))
        got = speculative(
            model,
            [list(self.prompt)] * self.draws,
            proposer,
            stop=StopRule(frozenset(), 5),
            sampler=self.sampler,
            seed=1,
            fallback=False,
        )
        joint = self.joint(model)
        assert sum(joint.values()) == pytest.approx(1)
        # Some drafts were accepted and some not, else nothing was tested.
        assert 0.05 < proposer.stats.right_at[1] / proposer.stats.judged_at[1] < 0.95
        assert self.p_value(got.tokens, joint) > 1e-3
        assert self.p_value(self.paper(model, 4000), joint) < 1e-6

    def paper(self, model, draws):
        """The paper's rule, min(1, p / q) with q the drafter's probability, for a draft that was searched and not drawn."""
        generator = torch.Generator().manual_seed(1)
        known = {}
        outputs = []
        for _ in range(draws):
            tokens = []
            while len(tokens) < 4:
                context = (*self.prompt, *tokens)
                if context not in known:
                    q = self.lattice(0, context, 1).softmax(-1)[0].double()
                    known[context] = self.conditional(model, context), q
                p, q = known[context]
                drafted = int(q.argmax())
                if torch.rand(1, generator=generator) < min(1.0, float(p[drafted] / q[drafted])):
                    tokens.append(drafted)
                else:
                    rest = (p - q).clamp(min=0)
                    tokens.append(int(torch.multinomial(rest, 1, generator=generator)))
            outputs.append(tokens)
        return outputs


def test_the_same_seed_draws_the_same_tokens_as_the_baseline(verifier, make_drafter):
    sampler, stop = Sampler(temperature=0.8, top_k=20), StopRule(STOPS, 20)
    proposer = DiffuSpecProposer(make_drafter(), PromptProxy(V), FixedLength(4), stop_ids=STOPS)
    got = speculative(verifier, PROMPTS, proposer, stop=stop, sampler=sampler, seed=3)
    assert got.tokens == autoregressive(verifier, PROMPTS, stop=stop, sampler=sampler, seed=3).tokens


def test_masks_are_never_drafted(verifier, make_drafter, monkeypatch):
    """Oracle 14, end to end."""
    seen = []
    proposer = DiffuSpecProposer(make_drafter(), PromptProxy(V), FixedLength(6), settings=SearchSettings(mass=1.0))
    propose = proposer.propose

    def watched(rows, contexts, limits):
        drafts = propose(rows, contexts, limits)
        seen.extend(token for draft in drafts for token in draft.tokens)
        return drafts

    monkeypatch.setattr(proposer, "propose", watched)
    decode(verifier, proposer)
    assert len(seen) > 50
    assert MASK not in seen
