"""Held-out rows and the masked losses on them, for methods that train by masking."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from ar_core.corruption import FixedRate, MaskSampler
from ar_core.data import Sample, StoredSource, StreamedSource
from ar_core.errors import ConfigError
from ar_core.training import EvaluationConfig as HeldOutConfig
from ar_core.training import Objective, mean_loss
from ar_core.training.device import choose_device
from torch import nn

__all__ = ["EvaluationConfig", "beside_base", "held_out_samples", "masked_losses"]


@dataclass(frozen=True)
class EvaluationConfig(HeldOutConfig):
    """What is measured on held-out rows, every `train.eval_every` steps, beside what every text method measures.

    Raises:
        ConfigError: a value is out of range.
    """

    rates: tuple[float, ...] = (0.15, 0.5, 0.85)
    """Share of the supervised tokens that is hidden; one masked cross-entropy each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rates or not all(0 < rate <= 1 for rate in self.rates):
            raise ConfigError(
                f"rates is {list(self.rates)}, but each lies in (0, 1]: give some, such as 0.15, 0.5, 0.85"
            )


def held_out_samples(source: StoredSource | StreamedSource, rows: int) -> list[Sample]:
    """The first rows of the held-out split; fewer if there are fewer."""
    return list(islice(source.once() if isinstance(source, StoredSource) else source.open(0), rows))


def masked_losses(
    objective: Callable[[MaskSampler], Objective],
    term: str,
    model: nn.Module,
    samples: list[Sample],
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Cross-entropy per hidden token in nats at each rate; a rate's draw is the same at every call.

    Args:
        objective: makes the method's objective with another sampler.
        term: its loss term, per hidden token.
        model: the causal LM, in eval mode.
        samples: held-out rows.
        evaluation: rates and batch size.

    Returns:
        `masked_ce_15` for rate 0.15 and so on.
    """
    losses = {}
    for rate in evaluation.rates:
        found = mean_loss(objective(FixedRate(rate)), {"model": model}, samples, batch_size=evaluation.batch_size)
        losses[f"masked_ce_{100 * rate:g}"] = found[term]
    return losses


def beside_base(
    model: nn.Module, device: str, causal: Callable[[], float], losses: Callable[[], Mapping[str, float]]
) -> Callable[[], Mapping[str, float]]:
    """A job's evaluation: `losses`, and as `causal_ce_base` the base's causal loss.

    The latter is taken now, before a step or a resume changes the weights.

    Args:
        model: what is trained; goes to the device.
        device: of training.
        causal: measures the causal loss of the model as it is.
        losses: what is measured each time.
    """
    model.to(choose_device(device)).eval()
    base = causal()
    model.train()
    return lambda: {**losses(), "causal_ce_base": base}
