"""Oracles 5, 7, 8 and 14: the path search against brute force; and the tree against a queue."""

import heapq
from itertools import product

import pytest
import torch
from dlm_text.diffuspec.kneser_ney import fit_kneser_ney
from dlm_text.diffuspec.path_search import search
from dlm_text.diffuspec.proxy import UniformProxy
from dlm_text.diffuspec.pruning import prune
from dlm_text.diffuspec.tree import build_trees

V = 12
CONTEXTS = [[1, 2, 3], [4]]


@pytest.fixture(scope="module")
def proxy():
    generator = torch.Generator().manual_seed(0)
    return fit_kneser_ney(torch.randint(V, (40, 12), generator=generator).tolist(), V)


def candidates(seed=0, positions=4, most=3, mass=1.0, stops=(), lengths=(4, 3), **rule):
    generator = torch.Generator().manual_seed(seed)
    log_probs = (1.5 * torch.randn(2, positions, V, generator=generator)).log_softmax(-1)
    return log_probs, prune(log_probs, list(lengths), stops, mass=mass, max_candidates=most, **rule)


def score(path, log_probs, proxy, context, weight):
    """S(π), one token at a time."""
    total, written = 0.0, list(context)
    for position, token in enumerate(path):
        history = proxy.begin([written])
        conditional = float(proxy.score(history[:, None], torch.tensor([[token]])))
        total += weight * float(log_probs[position, token]) + (1 - weight) * conditional
        written.append(token)
    return total


def allowed(found, row):
    return [
        [int(i) for i, ok in zip(ids, valid, strict=True) if ok]
        for ids, valid in zip(found.ids[row], found.valid[row], strict=True)
    ][: int(found.depth[row])]


def path(paths, row):
    return paths.tokens[row, : int(paths.lengths[row])].tolist()


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_wide_beam_finds_the_best_path(proxy, seed, weight):
    """Oracle 5: B ≥ Π |C_i| equals brute force."""
    log_probs, found = candidates(seed)
    paths = search(found, proxy, CONTEXTS, beam=3**4, drafter_weight=weight)
    for row, context in enumerate(CONTEXTS):
        scores = {p: score(p, log_probs[row], proxy, context, weight) for p in product(*allowed(found, row))}
        best = max(scores.values())
        assert float(paths.scores[row]) == pytest.approx(best, abs=1e-6)
        assert scores[tuple(path(paths, row))] == pytest.approx(best, abs=1e-6)


def test_a_beam_of_one_chooses_step_by_step(proxy):
    """Oracle 5."""
    log_probs, found = candidates(2, most=6)
    paths = search(found, proxy, CONTEXTS, beam=1, drafter_weight=0.5)
    for row, context in enumerate(CONTEXTS):
        chosen = []
        for options in allowed(found, row):
            chosen.append(max(options, key=lambda v: score([*chosen, v], log_probs[row], proxy, context, 0.5)))
        assert path(paths, row) == chosen


def test_the_raw_draft(proxy):
    """Oracle 5: λ = 1, B = 1, M_max = 1 gives the argmaxes up to the first stop id, included."""
    log_probs, _ = candidates(3, positions=8)
    raw = log_probs.argmax(-1)
    stop = int(raw[0, 5])
    found = prune(log_probs, [8, 8], {stop}, mass=0.8, max_candidates=1)
    paths = search(found, proxy, CONTEXTS, beam=1, drafter_weight=1.0)
    for row in range(2):
        ids = raw[row].tolist()
        assert path(paths, row) == (ids[: ids.index(stop) + 1] if stop in ids else ids)


@pytest.mark.parametrize("weight", [0.01, 0.2, 0.7, 1.0])
def test_a_uniform_proxy_makes_the_weight_irrelevant(weight):
    """Oracle 7."""
    _, found = candidates(4, most=5)
    paths = search(found, UniformProxy(V), CONTEXTS, beam=3, drafter_weight=weight)
    expected = search(found, UniformProxy(V), CONTEXTS, beam=3, drafter_weight=0.5)
    assert [path(paths, row) for row in range(2)] == [path(expected, row) for row in range(2)]


def test_tokens_behind_the_first_stop_do_not_change_the_path(proxy):
    """Oracle 8."""
    log_probs, _ = candidates(9, positions=8)
    stop = int(log_probs[0].argmax(-1)[2])
    assert stop not in log_probs[0, :2].argmax(-1)
    other = log_probs.clone()
    other[0, 3:] = candidates(5, positions=8)[0][1, 3:]
    found = [prune(one, [8, 8], {stop}, mass=0.8, max_candidates=5) for one in (log_probs, other)]
    ours, theirs = (search(one, proxy, CONTEXTS, beam=3, drafter_weight=0.5) for one in found)
    assert path(ours, 0) == path(theirs, 0)
    assert len(path(ours, 0)) == 3


def test_ties_go_to_the_lower_ids():
    found = prune(torch.zeros(1, 3, V).log_softmax(-1), [3], (), mass=1.0, max_candidates=V)
    assert path(search(found, UniformProxy(V), [[0]], beam=4, drafter_weight=0.5), 0) == [0, 0, 0]


def test_a_short_path_beats_longer_ones_under_the_published_rule(proxy):
    """What the default rule avoids: sums are not normalised, so that a likely stop early on wins."""
    logits = torch.zeros(1, 6, V)
    logits[..., 2] = 3.0
    logits[..., 7] = 2.5
    log_probs = logits.log_softmax(-1)
    lengths = {}
    for rule in ("argmax", "paper"):
        found = prune(log_probs, [6], {7}, mass=0.8, max_candidates=5, eos_rule=rule)
        paths = search(found, UniformProxy(V), [[0]], beam=3, drafter_weight=0.5)
        lengths[rule] = int(paths.lengths[0])
    assert lengths == {"argmax": 6, "paper": 1}


def test_forbidden_ids_never_appear_and_stops_can(proxy):
    """Oracle 14: a stop id is reachable where it is the raw choice."""
    log_probs, _ = candidates(6, positions=5)
    log_probs[..., 3] = -torch.inf
    log_probs = log_probs.log_softmax(-1)
    log_probs[0, 0, 9] = 0.0
    found = prune(log_probs, [5, 5], {9}, mass=1.0, max_candidates=V)
    paths = search(found, proxy, CONTEXTS, beam=8, drafter_weight=1.0)
    assert path(paths, 0) == [9]
    assert 3 not in path(paths, 1)


def by_queue(log_probs, proxy, context, options, nodes, weight):
    """Best-first: take the best open prefix, open its children, until the budget is spent."""
    queue = [(-score([token], log_probs, proxy, context, weight), [token]) for token in options[0]]
    heapq.heapify(queue)
    taken = []
    while queue and len(taken) < nodes:
        _, prefix = heapq.heappop(queue)
        taken.append(tuple(prefix))
        if len(prefix) < len(options):
            for token in options[len(prefix)]:
                longer = [*prefix, token]
                heapq.heappush(queue, (-score(longer, log_probs, proxy, context, weight), longer))
    return taken


@pytest.mark.parametrize("nodes", [1, 4, 12, 200])
def test_a_tree_holds_the_best_prefixes(proxy, nodes):
    log_probs, found = candidates(7, most=4)
    trees = build_trees(found, proxy, CONTEXTS, nodes=nodes, drafter_weight=0.6)
    for row, (tokens, parents, generated) in enumerate(trees):
        assert generated == int(found.generated[row])
        prefixes = []
        for node, (token, parent) in enumerate(zip(tokens, parents, strict=True)):
            assert -1 <= parent < node
            prefixes.append((*(prefixes[parent] if parent >= 0 else ()), token))
        assert len(set(prefixes)) == len(prefixes)
        assert prefixes == by_queue(log_probs[row], proxy, CONTEXTS[row], allowed(found, row), nodes, 0.6)


def test_probabilities_of_one_that_are_rounded_up_still_make_a_tree():
    log_probs = torch.full((1, 3, V), -20.0)
    log_probs[..., 5] = 1e-6
    found = prune(log_probs, [3], (), mass=0.8, max_candidates=3)
    certain = UniformProxy(1)
    assert build_trees(found, certain, [[0]], nodes=3, drafter_weight=1.0) == [([5, 5, 5], [-1, 0, 1], 3)]


def test_nothing_grows_behind_a_stop_in_a_tree(proxy):
    log_probs, _ = candidates(8, positions=5)
    found = prune(log_probs, [5, 5], {2, 4}, mass=1.0, max_candidates=5, eos_rule="paper")
    for tokens, parents, _ in build_trees(found, proxy, CONTEXTS, nodes=60, drafter_weight=0.5):
        assert any(token in (2, 4) for token in tokens)
        assert all(tokens[parent] not in (2, 4) for parent in parents if parent >= 0)
