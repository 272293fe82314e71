"""Held-out measurements of vision-language training."""

from collections.abc import Callable, Mapping
from itertools import islice

from ar_core.training import EvaluationConfig, Objective, mean_loss
from torch import nn

from .data.source import ConversationSource

__all__ = ["held_out_loss"]


def held_out_loss(
    objective: Objective, model: nn.Module, source: ConversationSource, config: EvaluationConfig
) -> Callable[[], Mapping[str, float]]:
    """The objective's own terms over held-out conversations, with the same noise at every call, as `held_out_<term>`."""
    samples = list(islice(source.once(), config.rows))

    def evaluate() -> Mapping[str, float]:
        found = mean_loss(objective, {"model": model}, samples, batch_size=config.batch_size)
        return {f"held_out_{name}": found[name] for name in objective.coefficients}

    return evaluate
