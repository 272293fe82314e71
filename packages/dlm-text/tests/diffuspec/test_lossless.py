"""Oracles 1, 2, 3, 4, 10 (delta), 13, 15: whatever the drafter, the verifier's own output."""

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
    ({"attention": "block_causal", "block_size": 3, "shift": False}, FixedLength(5), {}),
    (
        {"attention": "block_causal", "block_size": 4, "shift": False, "cache": "block", "steps": 2},
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


@pytest.mark.parametrize(
    "drafter",
    [
        {"cache": "prefix", "refresh": 3},
        {"attention": "block_causal", "block_size": 4, "cache": "block"},
        {"attention": "block_causal", "block_size": 4, "cache": "block", "clean": "token"},
    ],
    ids=["prefix", "block", "hybrid"],
)
def test_passes_of_fixed_shapes_draft_the_same(verifier, make_drafter, fixed_models, drafter):
    """Of rows that stand at different places: a batch of all prompts."""
    fixed, model = fixed_models
    stats = []
    for one, settings in ((verifier, drafter), (fixed, {**drafter, "model": model})):
        model.static_passes = 0
        proposer = DiffuSpecProposer(
            make_drafter(**settings), PromptProxy(V), FixedLength(6), stop_ids=STOPS, settings=SearchSettings()
        )
        found = decode(one, proposer)
        stats.append((found.tokens, found.stats.nfe, dict(found.stats.accepted), proposer.stats.forwards))
    assert stats[0] == stats[1]
    assert model.static_passes == proposer.stats.forwards


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


def test_a_stop_inside_a_draft_is_counted_as_far_as_it_is_kept(verifier, greedy):
    """No position is right more often than it was judged."""
    outputs = greedy(24, frozenset())
    stop_id = max(outputs[0], key=outputs[0].index)
    kept = outputs[0].index(stop_id) - 1
    assert kept > 1
    proposer = DiffuSpecProposer(truth(outputs, 0), UniformProxy(V), FixedLength(22))
    got = decode(verifier, proposer, 24, [PROMPTS[0]], frozenset({stop_id}))
    assert got.tokens == [outputs[0][: kept + 1]]
    assert proposer.stats.right_at == proposer.stats.judged_at == dict.fromkeys(range(1, kept + 1), 1)


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


class Informed:
    """In place of a drafter: what the verifier would say if all that it has not been told were most probable."""

    backbone = type("Device", (), {"device": torch.device("cpu")})()
    forwards = tokens = 0
    depth = 5

    def __init__(self, model):
        sampler = Sampler(temperature=1.0)
        first = int(model.conditional((), sampler).argmax())
        self.log_probs = torch.zeros(3, model.vocab_size, self.depth, model.vocab_size, dtype=torch.float64)
        for place, newest in product(range(3), range(model.vocab_size)):
            group = ([], [newest], [first, newest])[place]
            for step in range(self.depth):
                p = model.conditional(group, sampler)
                self.log_probs[place, newest, step] = p.log()
                group = [*group, int(p.argmax())] if len(group) < 2 else []

    def begin(self, prompts):
        pass

    def room(self, committed):
        return self.depth

    def lattice(self, rows, contexts, lengths):
        known = torch.tensor([[len(context) % 3, context[-1]] for context in contexts])
        return self.log_probs[known[:, 0], known[:, 1], : max(lengths)]


SAMPLED = {
    "path": SearchSettings(),
    "tree": SearchSettings(tree_nodes=6),
    "marginal": SearchSettings(draft_temperature=1.5),
}


@pytest.mark.parametrize(
    ("name", "draws"),
    [
        *(pytest.param(name, 200_000, marks=pytest.mark.slow) for name in SAMPLED),
        *((name, 20_000) for name in SAMPLED),
    ],
)
def test_the_joint_distribution_of_three_tokens_is_the_verifiers(renewal_model, compare_with_joint, name, draws):
    """Oracle 10: fifty draws a row."""
    model, sampler, rows = renewal_model(6), Sampler(temperature=0.9, top_p=0.99), 4000
    proposer = DiffuSpecProposer(Informed(model), UniformProxy(6), FixedLength(4), settings=SAMPLED[name], seed=20)
    got = speculative(
        model,
        [list(model.prompt)] * rows,
        proposer,
        stop=StopRule(frozenset(), 3 * draws // rows),
        sampler=sampler,
        seed=20,
        fallback=False,
    )
    assert 0.05 < got.stats.accepted_at[1] / got.stats.drafted_at[1] < 0.95
    seen, p, variation = compare_with_joint(got.tokens, model.joint(sampler))
    assert seen == draws
    assert p > 1e-3
    assert variation <= (0.01 if draws == 200_000 else 0.02)


def test_drawn_drafts_are_the_same_in_a_batch_and_alone_and_end_with_a_stop(renewal_model):
    drafter = Informed(renewal_model(6))

    def drafts(rows):
        settings = SearchSettings(draft_temperature=3.0)
        proposer = DiffuSpecProposer(
            drafter, UniformProxy(6), FixedLength(3), stop_ids={2}, settings=settings, seed=[row + 5 for row in rows]
        )
        proposer.begin([[1]] * len(rows))
        found = [proposer.propose(range(len(rows)), [[1]] * len(rows), [3] * len(rows)) for _ in range(3)]
        return [[list(one[slot].tokens) for one in found] for slot in range(len(rows))]

    together = drafts(range(30))
    assert together[::7] == [drafts([row])[0] for row in range(0, 30, 7)]
    flat = [tokens for row in together for tokens in row]
    assert len(set(map(tuple, flat))) > 20
    assert any(tokens[-1] == 2 for tokens in flat)
    assert all(2 not in tokens[:-1] and (tokens[-1] == 2 or len(tokens) == 3) for tokens in flat)


@pytest.mark.parametrize("settings", SAMPLED.values(), ids=SAMPLED)
def test_one_read_on_the_host_a_draft(renewal_model, settings, monkeypatch):
    proposer = DiffuSpecProposer(
        Informed(renewal_model(6)), PromptProxy(6), FixedLength(3), stop_ids={5}, settings=settings
    )
    proposer.begin([[1, 2], [3]])
    reads = []
    for name in ("tolist", "item", "numpy", "__bool__", "__int__", "__float__", "__index__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor, *args, original=original, name=name, **kwargs):
            reads.append(name)
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    drafts = proposer.propose([0, 1], [[1, 2], [3]], [3, 2])
    assert all(map(len, drafts))
    assert reads == ["tolist"]


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
