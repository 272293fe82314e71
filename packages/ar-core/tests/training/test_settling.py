"""What follows from a whole step, and what one player's turn leaves for the next."""

from types import MappingProxyType

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.training import Ranks, Settling, train
from ar_core.training.optimizers import build_turns
from ar_core.training.step import OptimizerStep, TrainStep
from torch import nn


@pytest.fixture
def counting(toy):
    class Counting(toy.TwoTerms):
        """Counts hidden entries in a buffer of the model; each step they become a second buffer, which is saved."""

        def __init__(self):
            self.seen = []

        def sums(self, models, prepared):
            models["model"].count += int(prepared.tensors["hidden"].sum())
            return super().sums(models, prepared)

        def after_step(self, models, step, ranks):
            net = models["model"]
            ranks.sum(net.count)
            self.seen.append((step, int(net.count)))
            net.total += net.count
            net.count.zero_()
            with torch.no_grad():
                net[0].bias.fill_(float(net.total) / 100)

    return Counting


def with_counts(net):
    net.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)
    net.register_buffer("total", torch.zeros((), dtype=torch.int64))
    return net


def test_runs_once_a_step_after_all_micro_batches_and_resumes(toy, counting, tmp_path):
    assert isinstance(counting(), Settling)
    assert not isinstance(toy.TwoTerms(), Settling)
    whole_objective, whole_net = counting(), with_counts(toy.model())
    whole = train(toy.job(objective=whole_objective, model=whole_net), toy.config(steps=6))
    objective = counting()
    train(
        toy.job(objective=objective, model=with_counts(toy.model())), toy.config(tmp_path, steps=3, micro_batch_size=3)
    )
    net = with_counts(toy.model())
    rest = train(toy.job(objective=objective, model=net), toy.config(tmp_path, steps=6, micro_batch_size=3))
    assert objective.seen == whole_objective.seen
    assert [step for step, _ in objective.seen] == list(range(6))
    assert rest.losses == pytest.approx(whole.losses[3:], abs=1e-6)
    assert torch.equal(net.total, whole_net.total)
    assert torch.equal(net[0].bias, whole_net[0].bias)


def test_precedes_averaging(toy, counting):
    net = with_counts(toy.model())
    objective = counting()
    train(toy.job(objective=objective, model=net), toy.config(steps=1, ema=0.5))
    start = toy.model()[0].bias.detach()
    torch.testing.assert_close(net[0].bias.detach(), (start + objective.seen[0][1] / 100) / 2)


def test_a_turn_finds_what_the_turn_before_it_left(toy):
    class Handing(toy.TwoTerms):
        coefficients = MappingProxyType({"first": 1.0, "second": 1.0})

        def players(self):
            return (
                toy.Player("first", models=("a",), terms=("first",)),
                toy.Player("second", models=("b",), terms=("second",)),
            )

        def prepare(self, batch, rng):
            prepared = super().prepare(batch, rng)
            return toy.Prepared(prepared.tensors, {"first": 1.0, "second": 1.0})

        def sums(self, models, prepared):
            if prepared.player == "first":
                assert not prepared.carry
                output = models["a"](prepared.tensors["x"])
                prepared.carry["output"] = output.detach()
                return {"first": output.square().sum()}
            return {"second": models["b"](prepared.carry["output"]).square().sum()}

    objective, models = Handing(), {"a": toy.model(1), "b": toy.model(2)}
    config = toy.config()
    reference = nn.Sequential(toy.model(1), toy.model(2))
    step = OptimizerStep(
        TrainStep(objective, models), objective, build_turns(objective, models, config), config, Ranks()
    )
    samples = toy.Source().open(0)
    batches = [objective.prepare([next(samples) for _ in range(3)], SampleRng(0)) for _ in range(2)]
    expected = sum(reference(batch.tensors["x"]).square().sum().item() for batch in batches)
    report = step(batches, 0)
    assert report.values["second"] * 2 == pytest.approx(expected, rel=1e-5), "of the first player before it moved"
