"""The map from noise to codes: what it must be whatever the law, where it is known in closed form, and how it is solved."""

import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_kernels import flow_mean, flow_velocity
from ar_vision.distilled_decoding.flow import flow_map as module
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.flow.flow_map import flow_map
from ar_vision.distilled_decoding.flow.report import TIGHT, solver_report
from ar_vision.distilled_decoding.flow.solvers import fixed_steps

SOLVED = FlowSolver(closed_forms=False)
STEPS_200 = FlowSolver("heun", 200, closed_forms=False)


def law(count, codes, dim, *, seed=0, spread=1.5, dtype=torch.float32):
    """Noise [N, Cv], log probabilities [N, V] and a codebook [V, Cv]."""
    generator = torch.Generator().manual_seed(seed)
    noise, codebook = (torch.randn(n, dim, generator=generator, dtype=dtype) for n in (count, codes))
    return noise, (spread * torch.randn(count, codes, generator=generator, dtype=dtype)).log_softmax(1), codebook


@pytest.mark.parametrize(
    ("solver", "draws"),
    [(SOLVED, 20_000), (FlowSolver("heun", 30, closed_forms=False), 20_000)],
    ids=["adaptive", "heun"],
)
def test_oracle_1_pushforward_of_gaussian_noise_is_the_law(solver, draws):
    noise, _, codebook = law(draws, 7, 3, seed=1)
    log_probs = torch.tensor([0.3, 0.02, 0.2, 0.08, 0.25, 0.05, 0.1]).log()
    found = flow_map(noise, log_probs.expand(draws, -1), codebook, solver).codes
    shares = torch.bincount(found, minlength=7) / draws
    p = log_probs.exp()
    assert ((shares - p).abs() <= 4 * (p * (1 - p) / draws).sqrt()).all(), (shares, p)


def test_one_euler_step_is_not_the_law():
    """What the test of the pushforward must be able to see: a coarse solver is a map, and of another law."""
    noise, _, codebook = law(20_000, 7, 3, seed=1)
    p = torch.tensor([0.3, 0.02, 0.2, 0.08, 0.25, 0.05, 0.1])
    found = flow_map(noise, p.log().expand(20_000, -1), codebook, FlowSolver("euler", 1)).codes
    shares = torch.bincount(found, minlength=7) / 20_000
    assert ((shares - p).abs() > 4 * (p * (1 - p) / 20_000).sqrt()).any()


@pytest.mark.parametrize("solver", [SOLVED, STEPS_200], ids=["adaptive", "heun 200"])
def test_oracle_2_one_dimension_is_the_monotone_rearrangement(solver):
    noise, log_probs, codebook = law(2000, 9, 1, seed=2, dtype=torch.float64)
    order = codebook[:, 0].argsort()
    ends = log_probs[:, order].exp().cumsum(1)
    share = torch.special.ndtr(noise)
    expected = order[torch.searchsorted(ends, share)[:, 0].clamp(max=8)]
    assert torch.equal(flow_map(noise, log_probs, codebook).codes, expected)
    found = flow_map(noise, log_probs, codebook, solver).codes
    away = (ends - share).abs().amin(1) > 1e-3
    assert (found == expected).double().mean() >= 0.995
    assert torch.equal(found[away], expected[away])


@pytest.mark.parametrize("solver", [SOLVED, STEPS_200], ids=["adaptive", "heun 200"])
@pytest.mark.parametrize("dim", [2, 5])
def test_oracle_2_two_codes_are_told_apart_along_the_line_through_them(solver, dim):
    noise, log_probs, codebook = law(2000, 2, dim, seed=3, dtype=torch.float64)
    along = codebook[1] - codebook[0]
    share = torch.special.ndtr(noise @ along / along.norm())
    expected = (share > log_probs[:, 0].exp()).long()
    assert torch.equal(flow_map(noise, log_probs, codebook).codes, expected)
    found = flow_map(noise, log_probs, codebook, solver).codes
    away = (share - log_probs[:, 0].exp()).abs() > 1e-3
    assert (found == expected).double().mean() >= 0.995
    assert torch.equal(found[away], expected[away])


@pytest.mark.parametrize("solver", [SOLVED, FlowSolver("heun", 10), FlowSolver("euler", 2)], ids=lambda one: one.kind)
def test_oracle_3_basis_vectors_of_equal_probability_reflect(solver):
    """Of the codes +-e_i the nearest to the noise is reached, by symmetry, with any solver of two steps."""
    codebook = torch.cat([torch.eye(4), -torch.eye(4)])
    noise = torch.randn(1000, 4, generator=torch.Generator().manual_seed(4))
    found = flow_map(noise, torch.zeros(1000, 8), codebook, solver).codes
    assert torch.equal(found, (noise @ codebook.T).argmax(1))


@pytest.mark.parametrize("solver", [SOLVED, FlowSolver("heun", 20), FlowSolver("euler", 20)], ids=lambda one: one.kind)
def test_oracle_4_translation_and_rotation_leave_the_code(solver):
    noise, log_probs, codebook = law(400, 20, 4, seed=5, dtype=torch.float64)
    found = flow_map(noise, log_probs, codebook, solver).codes
    moved = flow_map(noise, log_probs, codebook + torch.tensor([30.0, -4.0, 7.0, 0.5]), solver).codes
    assert torch.equal(moved, found)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)).Q
    assert torch.equal(flow_map(noise @ rotation, log_probs, codebook @ rotation, solver).codes, found)
    # float32 far from the origin: without moving the codes back, their scores would have no digits left.
    far = flow_map(noise.float(), log_probs.float(), codebook.float() + 1000, solver).codes
    assert (far == found).double().mean() > 0.98


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("kind", ["adaptive", "heun", "euler"])
def test_oracle_5_a_certain_code_is_reached_from_everywhere_and_an_impossible_one_never(kind, steps):
    noise, log_probs, codebook = law(500, 12, 3, seed=7)
    solver = FlowSolver(kind, steps)
    certain = torch.full((500, 12), -math.inf)
    wanted = torch.arange(500) % 12
    certain[torch.arange(500), wanted] = 0
    assert torch.equal(flow_map(10 * noise, certain, codebook, solver).codes, wanted)
    impossible = torch.zeros(12, dtype=torch.bool)
    impossible[[0, 3, 4, 11]] = True
    # The noise starts right at codes that are not to be had.
    found = flow_map(
        codebook[:1].expand(500, -1) + 0.01 * noise, log_probs.masked_fill(impossible, -math.inf), codebook, solver
    )
    assert not impossible[found.codes].any()


def test_oracle_6_velocity_is_the_slope_of_a_tight_solution():
    noise, log_probs, codebook = law(20, 9, 3, seed=8, dtype=torch.float64)

    def solution(s):
        """Runge-Kutta of order 4 in tau, from the noise to s."""
        z, end, steps = noise, s / (1 - s), 80
        for step in range(steps):
            tau, width = end * step / steps, end / steps
            slope = lambda x, at: flow_mean(x, at, log_probs, codebook).mean  # noqa: E731
            k1 = slope(z, tau)
            k2 = slope(z + width / 2 * k1, tau + width / 2)
            k3 = slope(z + width / 2 * k2, tau + width / 2)
            k4 = slope(z + width * k3, tau + width)
            z = z + width / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return z * (1 - s)

    for s in (0.1, 0.4, 0.7):
        slope = (solution(s + 1e-4) - solution(s - 1e-4)) / 2e-4
        torch.testing.assert_close(flow_velocity(solution(s), s, log_probs, codebook), slope, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(flow_velocity(noise, 0.0, log_probs, codebook), log_probs.exp() @ codebook - noise)


def test_oracle_7_euler_steps_are_exponential_steps_and_the_last_lands_on_the_mean():
    noise, log_probs, codebook = law(30, 9, 3, seed=9, dtype=torch.float64)
    steps, x = 8, noise
    for step in range(steps):
        s, after = step / steps, (step + 1) / steps
        mean = flow_mean(x / (1 - s), s / (1 - s), log_probs, codebook)
        euler = x + (after - s) * flow_velocity(x, s, log_probs, codebook)
        exponential = mean.mean + (x - mean.mean) * (1 - after) / (1 - s)
        torch.testing.assert_close(euler, exponential, atol=1e-6, rtol=0)
        x = euler
    torch.testing.assert_close(x, mean.mean)
    assert torch.equal(fixed_steps(noise, log_probs, codebook, None, steps, 1).codes, mean.code)


def test_heun_has_order_two_and_euler_one():
    """Errors of z on the way, against the tight solver, when steps are halved."""
    noise, log_probs, codebook = law(50, 9, 3, seed=10, dtype=torch.float64)

    def reached(steps, order):
        z = noise
        for step in range(steps):
            tau, after = step / steps, (step + 1) / steps
            mean = flow_mean(z, tau, log_probs, codebook).mean
            if order == 2:
                mean = (mean + flow_mean(z + (after - tau) * mean, after, log_probs, codebook).mean) / 2
            z = z + (after - tau) * mean
        return z

    tight = reached(1000, 2)
    for order in (1, 2):
        errors = [float((reached(steps, order) - tight).norm()) for steps in (40, 80)]
        assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.2)
    # And the solver takes the better of both where it is told to.
    few = {
        kind: solver_report(noise, log_probs, codebook, FlowSolver(kind, 12)).agreement for kind in ("heun", "euler")
    }
    assert few["heun"] >= few["euler"]


@pytest.mark.parametrize(("codes", "dim", "seed"), [(8, 2, 0), (64, 4, 1), (200, 8, 2)])
def test_the_default_solver_agrees_with_the_tight_one_in_float32(codes, dim, seed):
    noise, log_probs, codebook = law(400, codes, dim, seed=seed, spread=2.0)
    report = solver_report(noise, log_probs, codebook, SOLVED)
    assert report.draws == 400
    assert report.agreement >= 0.995
    assert report.evaluations < 60 * report.draws
    assert report.tight_evaluations > 3 * report.evaluations


def test_a_report_tells_a_coarse_solver():
    noise, log_probs, codebook = law(400, 64, 4, seed=11, spread=2.0)
    found = {kind: solver_report(noise, log_probs, codebook, FlowSolver(kind, 4)) for kind in ("euler", "heun")}
    assert 0.5 < found["euler"].agreement < 0.97
    assert found["euler"].evaluations == 400 * 4
    assert found["heun"].evaluations == 400 * 7
    assert solver_report(noise, log_probs, codebook, TIGHT).agreement == 1.0


def test_smaller_tolerances_agree_more_and_cost_more():
    noise, log_probs, codebook = law(1000, 100, 6, seed=12, spread=2.0)
    reports = [solver_report(noise, log_probs, codebook, FlowSolver(tolerance=one)) for one in (0.5, 1e-2, 1e-4)]
    agreement, work = [one.agreement for one in reports], [one.evaluations for one in reports]
    assert agreement == sorted(agreement)
    assert work == sorted(work)
    assert agreement[2] > agreement[0]


def test_the_ends_of_a_line_that_cannot_be_drawn_are_never_reached():
    """Where the noise's share rounds to 0 or 1, which are the ends of the codes of no probability there."""
    codebook = torch.tensor([[-2.0], [-1.0], [0.5], [3.0]])
    log_probs = torch.tensor([0.0, 0.4, 0.6, 0.0]).log().expand(4, -1)
    found = flow_map(torch.tensor([[-50.0], [50.0], [-9.0], [9.0]]), log_probs, codebook).codes
    assert found.tolist() == [1, 2, 1, 2]


def test_filtered_codes_are_left_out_of_the_work_and_nothing_else(monkeypatch):
    noise, log_probs, codebook = law(200, 40, 4, seed=13)
    # Equal codes of equal probability: which of them is taken must not depend on what is left out.
    codebook[21], log_probs[:, 20:22] = codebook[20], log_probs.amax(1, keepdim=True) + 0.1
    kept = log_probs.masked_fill(log_probs < log_probs.topk(9, dim=1).values[:, -1:], -math.inf)
    widths = []
    mean = flow_mean
    monkeypatch.setattr(
        "ar_vision.distilled_decoding.flow.solvers.flow_mean",
        lambda z, tau, log_probs, *a, **k: widths.append(log_probs.shape[1]) or mean(z, tau, log_probs, *a, **k),
    )
    restricted = flow_map(noise, kept, codebook).codes
    assert set(widths) == {9}
    monkeypatch.setattr(module, "RESTRICTED", 0.0)
    widths.clear()
    assert torch.equal(flow_map(noise, kept, codebook).codes, restricted)
    assert set(widths) == {40}


def test_a_draw_depends_on_its_own_noise_and_law_alone():
    noise, log_probs, codebook = law(300, 30, 4, seed=14)
    whole = flow_map(noise, log_probs, codebook).codes
    assert torch.equal(flow_map(noise.flip(0), log_probs.flip(0), codebook).codes.flip(0), whole)
    parts = [flow_map(*both, codebook).codes for both in zip(noise.split(7), log_probs.split(7), strict=True)]
    assert torch.equal(torch.cat(parts), whole)
    shaped = flow_map(noise.view(3, 100, 4), log_probs.view(3, 100, 30), codebook).codes
    assert torch.equal(shaped, whole.view(3, 100))


def test_codes_that_float32_cannot_tell_apart_are_decided_in_float64():
    """Two codes a hundred-thousandth apart among others: float32 ends unsettled, and the pair still splits by its line."""
    noise = torch.randn(2000, 2, generator=torch.Generator().manual_seed(15))
    codebook = torch.tensor([[3.0, 0.0], [3.0, 1e-5], [-3.0, 0.0]])
    log_probs = torch.tensor([0.3, 0.3, 0.4]).log().expand(2000, -1)
    found = flow_map(noise, log_probs, codebook).codes
    shares = torch.bincount(found, minlength=3) / 2000
    assert (shares - torch.tensor([0.3, 0.3, 0.4])).abs().max() < 0.04
    # The two are at the same place for all others, and differ along the second axis alone.
    near = found < 2
    assert ((noise[near, 1] > 0).long() == found[near]).double().mean() > 0.97


def test_equal_codes_stand_for_each_other():
    noise, log_probs, codebook = law(300, 6, 3, seed=16)
    codebook[4] = codebook[1]
    found = flow_map(noise, log_probs, codebook).codes
    loser = torch.where(log_probs[:, 1] >= log_probs[:, 4], 4, 1)
    assert not (found == loser).any()
    assert ((found == 1) | (found == 4)).any()
    same = flow_map(noise, log_probs, torch.ones(6, 3)).codes
    assert torch.equal(same, log_probs.argmax(1))


def test_laws_that_are_no_numbers_end():
    noise, log_probs, codebook = law(5, 6, 3, seed=17)
    log_probs[2] = math.nan
    log_probs[3] = -math.inf
    found = flow_map(noise, log_probs, codebook).codes
    assert ((found >= 0) & (found < 6)).all()
    log_probs = torch.zeros(0, 6)
    assert flow_map(torch.zeros(0, 3), log_probs, codebook).codes.shape == (0,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "rk4"}, "choose adaptive, heun or euler"),
        ({"steps": 0}, "steps"),
        ({"tolerance": 0.0}, "between 0 and 1"),
        ({"tolerance": math.nan}, "between 0 and 1"),
    ],
)
def test_settings_that_are_none_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FlowSolver(**settings)
