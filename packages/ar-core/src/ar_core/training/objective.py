"""The seam between science and engineering: what a method tells the training loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..corruption import SampleRng
from .ranks import Ranks

__all__ = ["Objective", "Player", "Prepared", "Settling"]


@dataclass(frozen=True)
class Player:
    """One optimiser turn: whose parameters move, on which terms, with which optimiser settings.

    Players take their turns in order within one optimiser step; each sees the parameters as the previous one left
    them. While a player moves, the parameters of all others are constants.

    Args:
        name: Name of the player; ``Prepared.player`` tells the objective whose turn it is.
        models: Names of the models whose trainable parameters (``requires_grad``) it moves. A model that belongs to
            no player is a frozen companion: it runs in eval mode, is never trained and never saved.
        terms: Names of the loss terms it minimises, out of ``Objective.coefficients``; None means all of them.
        lr: Peak learning rate; None takes the one of the run.
        model_lrs: Peak learning rates of models that have one of their own, by name; the schedule is the same.
        betas: AdamW betas; None takes those of the run.
        no_decay: Ends of the names of parameters that weight decay leaves alone, such as ``positions`` for a parameter
            called so in any module. Those with fewer than two dimensions never decay.
    """

    name: str = "main"
    models: tuple[str, ...] = ("model",)
    terms: tuple[str, ...] | None = None
    lr: float | None = None
    model_lrs: Mapping[str, float] = field(default_factory=dict)
    betas: tuple[float, float] | None = None
    no_decay: tuple[str, ...] = ()


@dataclass
class Prepared:
    """A micro-batch after corruption and layout: all that a forward pass needs, and what its losses are divided by.

    Args:
        tensors: Inputs and targets by name; any shapes and dtypes. Moved to the model's device by the loop.
        weights: Denominators by name: how many units (targets, rows, pixels) this micro-batch adds to each. Known
            before any model runs, so that they can be added up over micro-batches and ranks first. May be 0.
        meta: Plain, picklable values for the objective. The key ``tokens`` (int), the number of tokens counted by the
            throughput meter, defaults to the number of ids in the samples.
        player: Name of the player whose turn it is, set by the loop; an objective with one player ignores it.
        carry: What one player's turn leaves for later turns over the same micro-batch of the same step, so that they need
            not compute it again. Empty when the first player's turn begins.
    """

    tensors: dict[str, Tensor]
    weights: dict[str, float]
    meta: dict[str, Any] = field(default_factory=dict)
    player: str = "main"
    carry: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Prepared":
        """Return the same micro-batch with its tensors on ``device``."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return replace(self, tensors=moved)


@runtime_checkable
class Objective(Protocol):
    """What is minimised. Pure torch: no trainer, no logger, no optimiser.

    The loss of an optimiser step is ``sum over terms of coefficients[term] * S[term] / W[term]``, where S and W are
    the sums and weights of *all* its micro-batches on *all* ranks. Terms with different denominators therefore stay
    exact however a batch is split. A term whose global weight is 0 contributes nothing to that step.
    """

    coefficients: Mapping[str, float]
    """Factor of each loss term; its names must be among the sums and the weights."""

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Corrupt and lay out samples, without any model; runs in worker processes.

        Args:
            batch: Samples (mappings), each with its global number under ``index``. All noise must come from
                ``rng.row(index, ...)``.
            rng: Randomness that belongs to the sample.
        """
        ...

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the models and return one summed (not averaged) scalar in float32 or better per name.

        Every term of ``coefficients`` must be there (with several players: those of ``prepared.player``). Other
        names are
        metrics: logged, divided by the weight of the same name where there is one, and never differentiated.
        """
        ...

    def players(self) -> Sequence[Player]:
        """Return the optimiser turns; most objectives return ``(Player(),)``."""
        ...


@runtime_checkable
class Settling(Protocol):
    """An objective that changes its models by other means than a gradient, once an optimiser step is done.

    Counts over a whole step (which codes of a codebook were used) are known only when all micro-batches of all ranks have
    passed, and what follows from them (unused codes are replaced) must happen once and alike everywhere. ``sums`` may
    note things in buffers of the models; here they are added up and acted on. State that outlives a step belongs in
    persistent buffers of a player's models, which checkpoints hold.
    """

    def after_step(self, models: Mapping[str, nn.Module], step: int, ranks: Ranks) -> None:
        """Run when all players have moved, before weights are averaged, measured or saved.

        Args:
            models: By name.
            step: Number of the step just done, from 0.
            ranks: The processes of the run, all of which are here; they must leave with equal models.
        """
        ...
