import math
from types import MappingProxyType

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, NumericsError
from ar_core.training import Player, Prepared, TrainStep
from ar_core.training.optimizers import build_turns
from ar_core.training.ranks import Ranks
from ar_core.training.step import OptimizerStep
from torch import nn


def batches(toy, sizes, start=0):
    objective, samples = toy.TwoTerms(), toy.Source().open(start)
    return [objective.prepare([next(samples) for _ in range(size)], SampleRng(0)) for size in sizes]


def build(toy, objective=None, models=None, **settings):
    objective, models = objective or toy.TwoTerms(), models or {"model": toy.model()}
    config = toy.config(**settings)
    module = TrainStep(objective, models, config.precision)
    turns = build_turns(objective, models, config)
    return OptimizerStep(module, objective, turns, config, Ranks()), models


def test_loss_and_update_are_those_of_the_formula_written_out(toy):
    step, models = build(toy, clip_norm=None, lr=0.1)
    reference = toy.model()
    reference.load_state_dict(models["model"].state_dict())
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.1, weight_decay=0.0)
    for number in range(3):
        (prepared,) = batches(toy, [7], start=7 * number)
        x, hidden = prepared.tensors["x"], prepared.tensors["hidden"]
        error = (reference(x.masked_fill(hidden, 0)) - x) ** 2
        loss = error[hidden].mean() + 0.5 * error.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report = step([prepared], number)
        assert report.loss == pytest.approx(loss.item(), rel=1e-6)
        assert report.values["hidden"] == pytest.approx(error[hidden].mean().item(), rel=1e-6)
        assert report.values["count"] == hidden.sum()
        assert report.weights == {"hidden": hidden.sum(), "mean": 7}
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(models["model"].state_dict()[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(1,) * 7, (3, 4), (5, 1, 1), (2, 2, 3)])
def test_any_split_into_micro_batches_gives_the_same_losses(toy, sizes):
    whole, _ = build(toy)
    split, _ = build(toy)
    for number in range(5):
        expected = whole(batches(toy, [7], 7 * number), number)
        report = split(batches(toy, sizes, 7 * number), number)
        assert report.loss == pytest.approx(expected.loss, abs=1e-6)
        assert report.grad_norm["main"] == pytest.approx(expected.grad_norm["main"], rel=1e-5)


def test_gradients_are_clipped_once_after_normalisation(toy):
    step, models = build(toy, clip_norm=0.05)
    report = step(batches(toy, [3, 4]), 0)
    assert report.grad_norm["main"] > 0.05
    left = torch.stack([p.grad.norm() for p in models["model"].parameters()]).norm().item()
    assert left == pytest.approx(0.05, rel=1e-3)


def test_a_term_without_targets_contributes_nothing(toy):
    step, _ = build(toy)
    (prepared,) = batches(toy, [4])
    prepared.tensors["hidden"][:] = False
    prepared.weights["hidden"] = 0.0
    report = step([prepared], 0)
    assert report.values["hidden"] == 0
    assert report.loss == pytest.approx(0.5 * report.values["mean"])


def test_a_step_without_any_target_has_loss_zero(toy):
    class Nothing(toy.TwoTerms):
        def sums(self, models, prepared):
            return {"hidden": torch.zeros(()), "mean": torch.zeros(())}

    step, models = build(toy, Nothing())
    before = toy.weights(models["model"])
    (prepared,) = batches(toy, [4])
    prepared.weights = {"hidden": 0.0, "mean": 0.0}
    assert step([prepared], 0).loss == 0
    assert all(torch.equal(value, before[name]) for name, value in models["model"].state_dict().items())


@pytest.mark.parametrize("place", ["loss", "gradient"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_stops_before_any_weight_changes(toy, place, bad):
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * bad

    class Broken(toy.TwoTerms):
        def sums(self, models, prepared):
            sums = super().sums(models, prepared)
            return sums | {"hidden": sums["hidden"] + bad if place == "loss" else Scaled.apply(sums["hidden"])}

    step, models = build(toy, Broken())
    before = toy.weights(models["model"])
    what = "loss term 'hidden' is" if place == "loss" else "gradient norm of 'main' is"
    with pytest.raises(NumericsError, match=f"{what} -?(nan|inf) at step 5; no weight of 'main' was changed") as caught:
        step(batches(toy, [4]), 4)
    assert "continue from the last checkpoint with a lower learning rate" in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in models["model"].state_dict().items())


def test_names_that_do_not_fit_are_refused(toy):
    class Unweighted(toy.TwoTerms):
        coefficients = MappingProxyType({"hidden": 1.0, "other": 1.0})

    class Unsummed(toy.TwoTerms):
        def sums(self, models, prepared):
            return {"hidden": super().sums(models, prepared)["hidden"]}

    with pytest.raises(ConfigError, match="loss term 'other' has no weight"):
        build(toy, Unweighted())[0](batches(toy, [2]), 0)
    with pytest.raises(ConfigError, match="loss term 'mean' is not among the sums"):
        build(toy, Unsummed())[0](batches(toy, [2]), 0)
    micro = batches(toy, [2, 2])
    del micro[1].weights["mean"]
    with pytest.raises(ConfigError, match="every micro-batch needs the same names"):
        build(toy)[0](micro, 0)
    with pytest.raises(ConfigError, match="trains the model 'model' and the job has net"):
        build(toy, models={"net": toy.model()})


class Rivals:
    """Two players: a generator that lowers, and a critic that raises, the distance of their outputs."""

    coefficients = MappingProxyType({"generator": 1.0, "critic": 2.0})

    def __init__(self):
        self.turns = []

    def players(self):
        return (
            Player("generator", models=("generator",), terms=("generator",)),
            Player("critic", models=("critic",), terms=("critic",), lr=0.5, betas=(0.0, 0.9)),
        )

    def prepare(self, batch, rng):
        x = torch.stack([sample["x"] for sample in batch])
        return Prepared({"x": x}, {"generator": float(len(batch)), "critic": float(len(batch))})

    def sums(self, models, prepared):
        self.turns.append(prepared.player)
        x = prepared.tensors["x"]
        distance = (models["generator"](x) - models["critic"](x) + models["teacher"](x)).square().sum()
        return {prepared.player: distance if prepared.player == "generator" else -distance}


def rivals(toy, **settings):
    objective = Rivals()
    models = {name: toy.model(number) for number, name in enumerate(("generator", "critic", "teacher"))}
    step, _ = build(toy, objective, models, **settings)
    return step, models, objective


def test_players_take_turns_and_only_they_move(toy):
    step, models, objective = rivals(toy)
    states = {name: toy.weights(model) for name, model in models.items()}
    samples = toy.Source().open(0)
    micro = [objective.prepare([next(samples), next(samples)], SampleRng(0)) for _ in range(2)]
    report = step(micro, 0)
    assert objective.turns == ["generator"] * 2 + ["critic"] * 2
    assert sorted(report.grad_norm) == ["critic", "generator"]
    assert report.loss == pytest.approx(report.values["generator"] + 2 * report.values["critic"])
    moved = {
        name: any(not torch.equal(value, states[name][key]) for key, value in model.state_dict().items())
        for name, model in models.items()
    }
    assert all(parameter.requires_grad for name in ("generator", "critic") for parameter in models[name].parameters())
    assert moved == {"generator": True, "critic": True, "teacher": False}
    assert step.turns[1].optimizer.param_groups[0]["lr"] == 0.5
    assert step.turns[1].optimizer.param_groups[0]["betas"] == (0.0, 0.9)


def test_the_second_player_sees_the_first_as_it_left_itself(toy):
    step, _, objective = rivals(toy, clip_norm=None)
    prepared = objective.prepare([next(toy.Source().open(0))], SampleRng(0))
    report = step([prepared], 0)
    assert -report.values["critic"] != pytest.approx(report.values["generator"], rel=1e-6)


def test_frozen_companions_stay_in_eval_mode_without_gradients(toy):
    step, models, _ = rivals(toy)
    step.module.train()
    assert [model.training for model in models.values()] == [True, True, False]
    assert not any(parameter.requires_grad for parameter in models["teacher"].parameters())


def test_players_that_overlap_or_have_nothing_are_refused(toy):
    class Overlap(toy.TwoTerms):
        def players(self):
            return (Player("a"), Player("b"))

    class Unknown(toy.TwoTerms):
        def players(self):
            return (Player(terms=("absent",)),)

    with pytest.raises(ConfigError, match=r"'model\.0\.weight' belongs to the players 'a' and 'b'"):
        build(toy, Overlap())
    with pytest.raises(ConfigError, match=r"'main' minimises \['absent'\]; the loss terms are \['hidden', 'mean'\]"):
        build(toy, Unknown())
    with pytest.raises(ConfigError, match="have nothing to train"):
        build(toy, models={"model": toy.model().requires_grad_(False)})


def test_weight_decay_reaches_matrices_only(toy):
    step, _ = build(toy, weight_decay=0.3)
    decays = {
        tuple(p.shape): group["weight_decay"] for group in step.turns[0].optimizer.param_groups for p in group["params"]
    }
    assert decays == {(8, 5): 0.3, (5, 8): 0.3, (8,): 0.0, (5,): 0.0}


def test_parameters_can_be_spared_from_weight_decay_by_the_end_of_their_name(toy):
    class Spared(toy.TwoTerms):
        end = "positions"

        def players(self):
            return (Player(no_decay=(self.end,)),)

    net = toy.model()
    net.inner = nn.Module()
    net.inner.positions = nn.Parameter(torch.ones(2, 3))
    net.more_positions = nn.Parameter(torch.ones(3, 2))
    step, _ = build(toy, Spared(), models={"model": net}, weight_decay=0.3)
    decays = {
        tuple(p.shape): group["weight_decay"] for group in step.turns[0].optimizer.param_groups for p in group["params"]
    }
    assert decays[2, 3] == 0.0
    assert decays[3, 2] == decays[8, 5] == 0.3
    Spared.end = "offset"
    with pytest.raises(ConfigError, match="spares 'offset' from weight decay, and none of its parameters is called so"):
        build(toy, Spared(), models={"model": net})


def test_a_parameter_out_of_reach_is_stepped_with_gradient_zero(toy):
    net = toy.model()
    net.register_parameter("unused", nn.Parameter(torch.ones(3, 3)))
    step, _ = build(toy, models={"model": net}, weight_decay=0.1, lr=0.5)
    step(batches(toy, [2]), 0)
    torch.testing.assert_close(net.unused.detach(), torch.full((3, 3), 0.95))


def test_dropout_is_a_function_of_seed_and_step_and_leaves_the_global_generator_alone(toy):
    def losses(seed):
        step, _ = build(toy, models={"model": toy.model(dropout=0.5)}, seed=seed)
        torch.manual_seed(seed + 99)
        before = torch.get_rng_state()
        values = [step(batches(toy, [4]), number).loss for number in range(3)]
        assert torch.equal(before, torch.get_rng_state())
        return values

    step, _ = build(toy, models={"model": toy.model(dropout=0.5)}, lr=1e-12)
    assert len({step(batches(toy, [4]), number).loss for number in range(4)}) == 4
    first = losses(1)
    torch.rand(5)
    assert losses(1) == first
    assert losses(2) != first


def test_bf16_computes_in_bfloat16_and_keeps_weights_and_moments_in_float32(toy):
    seen = []

    class Watching(toy.TwoTerms):
        def sums(self, models, prepared):
            seen.append(models["model"](prepared.tensors["x"]).dtype)
            return super().sums(models, prepared)

    step, models = build(toy, Watching(), precision="bf16")
    exact, _ = build(toy)
    report = step(batches(toy, [4]), 0)
    assert seen == [torch.bfloat16]
    assert report.loss == pytest.approx(exact(batches(toy, [4]), 0).loss, rel=2e-2)
    assert {p.dtype for p in models["model"].parameters()} == {torch.float32}
    assert {v.dtype for s in step.turns[0].optimizer.state.values() for v in s.values()} == {torch.float32}


def test_betas_reach_the_optimiser(toy):
    step, _ = build(toy, betas=(0.5, 0.7))
    assert {group["betas"] for group in step.turns[0].optimizer.param_groups} == {(0.5, 0.7)}


def test_an_update_moves_at_the_rate_of_its_own_step(toy):
    step, models = build(toy, lr=0.4, warmup_steps=4, clip_norm=None)
    before = {name: value.clone() for name, value in models["model"].state_dict().items()}
    step(batches(toy, [4]), 0)
    moved = max((value - before[name]).abs().max().item() for name, value in models["model"].state_dict().items())
    # Adam's first update is the rate times the sign of the gradient.
    assert moved == pytest.approx(0.1, rel=1e-3)


def test_models_of_one_player_may_have_learning_rates_of_their_own(toy):
    rates = {"slow": 0.25}

    class Two(toy.TwoTerms):
        def players(self):
            return (Player(models=("model", "slow"), model_lrs=rates),)

    models = {"model": toy.model(), "slow": nn.Linear(2, 2)}
    step, _ = build(toy, Two(), models=models, lr=0.5, weight_decay=0.1)
    turn = step.turns[0]
    turn.set_lr(0.5)
    found = {p: (group["lr"], group["weight_decay"]) for group in turn.optimizer.param_groups for p in group["params"]}
    assert {found[p] for p in models["model"].parameters()} == {(0.25, 0.1), (0.25, 0.0)}
    assert found[models["slow"].weight] == (0.125, 0.1)
    assert found[models["slow"].bias] == (0.125, 0.0)
    rates["fast"] = 1.0
    with pytest.raises(ConfigError, match="has a learning rate of 'fast' and moves model, slow: give it of these"):
        build(toy, Two(), models=models)
