"""A term of an objective as a number, for evaluation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..corruption import SampleRng
from .objective import Objective

__all__ = ["mean_loss"]


@torch.no_grad()
def mean_loss(
    objective: Objective, models: Mapping[str, nn.Module], samples: Sequence[Any], *, batch_size: int = 8
) -> dict[str, float]:
    """Mean over samples, sum / weight, of each loss term and of each metric that has a weight; the same noise at every call.

    Args:
        objective: whose terms.
        models: by name, in eval mode, all on one device.
        samples: at least one.
        batch_size: samples of a forward pass; memory only.
    """
    device = next(parameter.device for model in models.values() for parameter in model.parameters())
    sums: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for start in range(0, len(samples), batch_size):
        prepared = objective.prepare(list(samples[start : start + batch_size]), SampleRng(seed=0)).to(device)
        found = objective.sums(models, prepared)
        for name in found.keys() & prepared.weights.keys():
            sums[name] += found[name].item()  # type: ignore[assignment]  # Counter is typed for whole numbers
            weights[name] += prepared.weights[name]  # type: ignore[assignment]  # Counter is typed for whole numbers
    return {name: sums[name] / weights[name] if weights[name] else float("nan") for name in sorted(sums)}
