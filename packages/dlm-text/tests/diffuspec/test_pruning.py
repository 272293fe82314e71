"""Oracles 6 and 8: candidate sets, and what lies behind the first stop id of the raw draft."""

import pytest
import torch
from dlm_text.diffuspec.path_search import search
from dlm_text.diffuspec.proxy import UniformProxy
from dlm_text.diffuspec.pruning import prune

V = 30


def lattice(rows, positions, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(rows, positions, V, generator=generator)).log_softmax(-1)


def sets(found, row=0):
    return [
        [int(i) for i, ok in zip(ids, valid, strict=True) if ok]
        for ids, valid in zip(found.ids[row], found.valid[row], strict=True)
    ]


@pytest.mark.parametrize("mass", [0.0, 1e-9, 0.3, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("most", [1, 5, 15, 50])
def test_the_smallest_set_with_the_mass(mass, most):
    """Oracle 6, by sorting every row in Python."""
    for scale in (0.1, 1.0, 8.0):
        log_probs = lattice(2, 6, scale=scale).double()
        found = prune(log_probs, [6, 6], (), mass=mass, max_candidates=most)
        for row in range(2):
            for position, kept in enumerate(sets(found, row)):
                ranked = sorted(range(V), key=lambda v: (-float(log_probs[row, position, v]), v))
                total, smallest = 0.0, 0
                while smallest < min(most, V) and (smallest == 0 or total < mass or mass == 1):
                    total += float(log_probs[row, position, ranked[smallest]].exp())
                    smallest += 1
                assert kept == sorted(ranked[:smallest])


def test_log_probabilities_stay_with_their_ids():
    log_probs = lattice(2, 4)
    found = prune(log_probs, [4, 4], (), mass=0.9, max_candidates=7)
    assert torch.equal(log_probs.gather(-1, found.ids).double(), found.log_probs)
    assert (found.ids.diff(dim=-1) > 0).all()


def test_equal_probabilities_keep_the_lower_ids():
    found = prune(torch.zeros(1, 1, V).log_softmax(-1), [1], (), mass=0.05, max_candidates=V)
    assert sets(found) == [[0, 1]]


def test_a_mass_that_is_reached_exactly_is_enough():
    log_probs = torch.tensor([[[0.5, 0.25, 0.25]]], dtype=torch.float64).log()
    assert float(log_probs[0, 0, 0].exp()) == 0.5
    assert sets(prune(log_probs, [1], (), mass=0.5, max_candidates=3)) == [[0]]


def test_forbidden_ids_are_no_candidates_at_any_mass():
    """Oracle 14."""
    log_probs = torch.full((1, 1, V), -torch.inf)
    log_probs[0, 0, [4, 9]] = torch.tensor([0.7, 0.3]).log()
    assert sets(prune(log_probs, [1], (), mass=1.0, max_candidates=15)) == [[4, 9]]


def with_stop(position, stop=6):
    """A lattice whose raw draft first stops at `position` (from 0), and where stops are likely everywhere."""
    logits = lattice(1, 8, seed=1) * 1.0
    logits[..., stop] = logits.amax(-1) - 0.1
    logits[0, position, stop] = logits[0, position].max() + 1
    return logits.log_softmax(-1)


@pytest.mark.parametrize("rule", ["argmax", "paper", "prob"])
def test_depth_and_generated_length(rule):
    found = prune(with_stop(3), [8], {6, 11}, mass=0.8, max_candidates=15, eos_rule=rule)
    assert (found.depth.item(), found.generated.item()) == (4, 3)
    none = prune(with_stop(3), [3], {6}, mass=0.8, max_candidates=15, eos_rule=rule)
    assert (none.depth.item(), none.generated.item()) == (3, 3)
    first = prune(with_stop(0), [8], {6}, mass=0.8, max_candidates=15, eos_rule=rule)
    assert (first.depth.item(), first.generated.item()) == (1, 0)


def test_where_a_stop_id_may_stand():
    def places(rule, **more):
        found = prune(with_stop(3), [8], {6}, mass=0.0, max_candidates=15, eos_rule=rule, **more)
        return [6 in one for one in sets(found)][:4]

    assert places("argmax") == [False, False, False, True]
    assert places("paper") == [True] * 4
    assert places("prob", eos_probability=1.0) == [False] * 4
    p = float(with_stop(3)[0, 1, 6].exp())
    assert places("prob", eos_probability=p - 1e-6)[1]
    assert not places("prob", eos_probability=p + 1e-6)[1]


@pytest.mark.parametrize("at", [0, 2, 7])
def test_a_path_ends_before_a_stop_id_that_is_too_improbable(at):
    """Oracles 8 and 14: where it has the mass τ alone, its position has no other candidate."""
    log_probs = torch.full((1, 8, V), 1e-3, dtype=torch.float64)
    log_probs[0, :, 3] = 0.97
    log_probs[0, at, 3], log_probs[0, at, 6] = 0.07, 0.9
    log_probs = (log_probs / log_probs.sum(-1, keepdim=True)).log()
    rule = {"mass": 0.8, "max_candidates": 15, "eos_rule": "prob", "eos_probability": 0.95}
    found = prune(log_probs, [8], {6}, **rule)
    assert (found.depth.item(), found.generated.item()) == (max(at, 1), at)
    paths = search(found, UniformProxy(V), [[1]], beam=3, drafter_weight=0.5)
    assert paths.scores.isfinite().all()
    assert paths.tokens[0, : int(paths.lengths[0])].tolist() == ([3] * at or [6])


def test_tokens_behind_the_first_stop_change_nothing():
    """Oracle 8: neither the sets in use, nor the depth, nor L^gen."""
    ours = with_stop(3)
    theirs = ours.clone()
    theirs[:, 4:] = lattice(1, 4, seed=9)
    kept, other = (prune(one, [8], {6}, mass=0.8, max_candidates=15) for one in (ours, theirs))
    assert sets(kept)[:4] == sets(other)[:4]
    assert sets(kept)[4:] != sets(other)[4:]
    assert (kept.depth, kept.generated) == (other.depth, other.generated)
