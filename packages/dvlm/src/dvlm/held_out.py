"""Held-out measurements of vision-language training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from ar_core.config import require_positive
from ar_core.training import Objective, mean_loss
from torch import nn

from .data.source import ConversationSource

__all__ = ["EvaluationConfig", "held_out_loss"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on held-out conversations, every `train.eval_every` steps.

    Raises:
        ConfigError: a value is out of range.
    """

    rows: int = 64
    """Held-out conversations, the first of the split; fewer if there are fewer."""
    batch_size: int = 8
    """Conversations of a forward pass; memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "rows", "batch_size")


def held_out_loss(
    objective: Objective, model: nn.Module, source: ConversationSource, config: EvaluationConfig
) -> Callable[[], Mapping[str, float]]:
    """The objective's own terms over held-out conversations, with the same noise at every call, as `held_out_<term>`."""
    samples = list(islice(source.once(), config.rows))

    def evaluate() -> Mapping[str, float]:
        found = mean_loss(objective, {"model": model}, samples, batch_size=config.batch_size)
        return {f"held_out_{name}": found[name] for name in objective.coefficients}

    return evaluate
