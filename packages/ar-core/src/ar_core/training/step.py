"""The arithmetic of one optimiser step, shared by every driver."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..corruption import SampleRng
from ..errors import ConfigError, NumericsError
from .config import TrainConfig
from .objective import Objective, Prepared
from .optimizers import Turn
from .ranks import Ranks
from .schedule import lr_fraction

if TYPE_CHECKING:
    from .shards import Shards

__all__ = ["OptimizerStep", "StepReport", "TrainStep"]


class TrainStep(nn.Module):
    """An objective and its models as one module: one forward per micro-batch, for whatever wraps it.

    Args:
        objective: The method.
        models: Models by name; those of no player are frozen here.
        precision: As in ``TrainConfig``.
    """

    def __init__(self, objective: Objective, models: Mapping[str, nn.Module], precision: str = "fp32") -> None:
        super().__init__()
        self.objective = objective
        self.models = nn.ModuleDict(models)
        self.precision = precision
        self._named = dict(models)
        self.trained = frozenset(name for player in objective.players() for name in player.models)
        unknown = self.trained - self._named.keys()
        if unknown:
            raise ConfigError(
                f"the objective trains the model {min(unknown)!r} and the job has {', '.join(sorted(self._named))}"
            )
        for name, model in models.items():
            if name not in self.trained:
                model.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "TrainStep":
        """Set trained models to train or eval mode; frozen companions stay in eval mode."""
        super().train(mode)
        for name, model in self._named.items():
            if name not in self.trained:
                model.eval()
        return self

    def forward(self, prepared: Prepared) -> dict[str, Tensor]:
        """Return the objective's sums for one micro-batch: scalars by name."""
        if self.precision == "fp32":
            return self.objective.sums(self._named, prepared)
        device = next(self.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16):
            return self.objective.sums(self._named, prepared)


@dataclass
class StepReport:
    """What one optimiser step measured, equal on all ranks.

    Args:
        weights: Global weight by name.
        lr: Learning rate of the first player.
        loss: Sum over players of their losses.
        values: Every loss term and metric, divided by its global weight where it has one.
        grad_norm: Euclidean norm of the gradient before clipping, by player.
    """

    weights: dict[str, float]
    lr: float
    loss: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    grad_norm: dict[str, float] = field(default_factory=dict)


def _global_weights(micro_batches: Sequence[Prepared], ranks: Ranks) -> dict[str, float]:
    """Return the weights added up over micro-batches and ranks, in float64."""
    names = sorted(micro_batches[0].weights)
    for prepared in micro_batches:
        if sorted(prepared.weights) != names:
            raise ConfigError(
                f"the objective gave the weights {sorted(prepared.weights)} to one micro-batch and {names} to "
                "another of the same step: every micro-batch needs the same names"
            )
    local = [math.fsum(prepared.weights[name] for prepared in micro_batches) for name in names]
    if ranks.size == 1:
        return dict(zip(names, local))
    return dict(zip(names, ranks.sum(torch.tensor(local, dtype=torch.float64)).tolist()))


@dataclass(frozen=True)
class OptimizerStep:
    """One optimiser step: every player's turn over all micro-batches of this rank.

    Gradients are those of the whole batch's normalised loss, clipped once per player.

    Args:
        module: A ``TrainStep``, wrapped or not.
        objective: The method, for its coefficients.
        turns: The players with their parameters and optimisers, in order.
        config: The run.
        ranks: The processes that share the step.
        shards: What is trained as it lies on them; None if each has all.
    """

    module: nn.Module
    objective: Objective
    turns: Sequence[Turn]
    config: TrainConfig
    ranks: Ranks
    shards: "Shards | None" = None

    def __call__(self, micro_batches: Sequence[Prepared], step: int) -> StepReport:
        """Run step number ``step`` (from 0) on this rank's micro-batches, which lie on the device of the models.

        Raises:
            NumericsError: A loss or gradient is not finite; names the step, counted from 1, and the term. The
                player whose turn it was has not moved.
            ConfigError: The names of the objective's weights, sums and coefficients do not fit together.
        """
        fraction = lr_fraction(self.config, step)
        parameters = [parameter for turn in self.turns for parameter in turn.parameters]
        report = StepReport(_global_weights(micro_batches, self.ranks), lr=self.turns[0].peak_lr * fraction)
        with _dropout_seed(self.config.seed, step, self.ranks.rank, parameters[0].device):
            for turn in self.turns:
                gradient_norm = self._differentiate(turn, micro_batches, report, step)
                if self.config.clip_norm is not None:
                    nn.utils.clip_grads_with_norm_(turn.parameters, self.config.clip_norm, gradient_norm)
                turn.set_lr(fraction)
                turn.optimizer.step()
        if len(self.turns) > 1:
            self._set_trainable(parameters, True)
        return report

    def _differentiate(self, turn: Turn, micro_batches: Sequence[Prepared], report: StepReport, step: int) -> Tensor:
        """Leave the global gradient in ``turn.parameters``, record what was measured, return the gradient's norm."""
        alone = len(self.turns) == 1
        for other in () if alone else self.turns:
            self._set_trainable(other.parameters, other is turn)
        turn.optimizer.zero_grad()
        factors = _factors(turn.terms(self.objective), self.objective.coefficients, report.weights)
        totals: dict[str, Tensor] = {}
        for prepared in micro_batches:
            one = prepared if alone else replace(prepared, player=turn.player.name)
            sums = self.module(one) if self.shards is None else self.shards.sums(self.module, one)
            loss = _loss(sums, factors)
            if loss.requires_grad:
                loss.backward()
            if self.shards is not None:
                self.shards.require_returned()
            for name, value in sums.items():
                value = value.detach().double()
                totals[name] = totals[name] + value if name in totals else value
        norm = self._sum_gradients(turn.parameters)
        names = sorted(totals)
        measured = self.ranks.sum(torch.stack([totals[name] for name in names]))
        # The one transfer to the host of a step.
        *values, norm_value = torch.cat([measured, norm.double().view(1)]).tolist()
        _record(report, dict(zip(names, values)), factors, turn, norm_value, step)
        return norm

    def _sum_gradients(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Add gradients up over ranks; return the norm of all of them."""
        if self.shards is not None:
            return self.shards.take_gradients(parameters)
        # A parameter that the batch did not reach gets gradient zero, not none: it then moves alike under any split.
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.ranks.sum_all(gradients)
        return nn.utils.get_total_norm(gradients)

    def _set_trainable(self, parameters: Sequence[nn.Parameter], trainable: bool) -> None:
        if self.shards is not None:
            self.shards.set_trainable(parameters, trainable)
            return
        for parameter in parameters:
            parameter.requires_grad_(trainable)


def _factors(terms: Sequence[str], coefficients: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    for name in terms:
        if name not in weights:
            raise ConfigError(
                f"the loss term {name!r} has no weight to be divided by; the objective prepared {sorted(weights)}"
            )
    return {name: coefficients[name] / weights[name] if weights[name] else 0.0 for name in terms}


def _loss(sums: Mapping[str, Tensor], factors: Mapping[str, float]) -> Tensor:
    missing = factors.keys() - sums.keys()
    if missing:
        raise ConfigError(
            f"the loss term {min(missing)!r} is not among the sums {sorted(sums)} that the objective returned"
        )
    parts = [sums[name] * factor for name, factor in factors.items()]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def _record(
    report: StepReport, sums: Mapping[str, float], factors: Mapping[str, float], turn: Turn, norm: float, step: int
) -> None:
    loss = math.fsum(factor * sums[name] for name, factor in factors.items())
    bad = next((f"loss term {name!r} is {sums[name]}" for name in factors if not math.isfinite(sums[name])), None)
    if bad is None and not math.isfinite(norm):
        bad = f"gradient norm of {turn.player.name!r} is {norm}"
    if bad is not None:
        raise NumericsError(
            f"the {bad} at step {step + 1}; no weight of {turn.player.name!r} was changed by this step: continue from "
            "the last checkpoint with a lower learning rate, or look at the samples of this step"
        )
    report.loss += loss
    report.grad_norm[turn.player.name] = norm
    for name, value in sums.items():
        weight = report.weights.get(name)
        report.values[name] = value if weight is None else (value / weight if weight else 0.0)


@contextmanager
def _dropout_seed(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Make the global generators, which dropout layers use, a function of the step; restore them afterwards.

    So a resumed run needs no saved generator state, and nothing outside the step notices.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    before = [generator.get_state() for generator in generators]
    key = SampleRng(seed).key(step, f"dropout/{rank}")
    for generator in generators:
        generator.manual_seed(key)
    try:
        yield
    finally:
        for generator, state in zip(generators, before):
            generator.set_state(state)
