"""What the starting model thinks of pairs.

Source: CCA (arXiv 2410.09347): the frozen start is the reference.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .likelihood import Laid, Likelihood

__all__ = ["DropoutDraws", "reference_log_probs"]


@torch.no_grad()
def reference_log_probs(
    likelihood: Likelihood,
    models: Mapping[str, nn.Module],
    laid: Laid,
    labels: Tensor,
    *,
    name: str = "reference",
    batch_size: int = 1,
    max_logits: int | None = None,
) -> Tensor:
    """Return log p(x_b | c_pb) under a model without dropout, so many samples at a time.

    The same function makes stored values and those that are made while training. What a pass holds decides in which order
    products are added up: with one sample a pass, a value depends on its own pair alone, bit by bit.

    Args:
        likelihood: of the model's kind.
        models: ``tokenizer`` and the model.
        laid: B samples.
        labels: int64 [2, B].
        name: of the model, which is in eval mode.
        batch_size: samples of a pass.
        max_logits: most logits held at once.

    Returns:
        [2, B], float32 or better.
    """
    found = []
    for start in range(0, len(laid.codes), batch_size):
        rows = slice(start, start + batch_size)
        part = likelihood.log_probs(models[name], models["tokenizer"], laid.part(rows), labels[:, rows], max_logits)
        found.append(part)
    return torch.cat(found, dim=1)


class DropoutDraws:
    """The state of the generators that dropout draws from, so that a second model can drop what a first one dropped.

    Args:
        device: of both models.
    """

    def __init__(self, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        self._cpu = torch.get_rng_state()
        self._others = [torch.cuda.get_rng_state(one) for one in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw inside from the state that was noted; outside nothing changes."""
        with torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._others):
                torch.cuda.set_rng_state(state, device)
            yield
