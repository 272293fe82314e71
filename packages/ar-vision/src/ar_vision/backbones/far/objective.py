"""FAR's objective: predict both codes of every cell from the cells before it, the second from the first too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.training import Prepared
from torch import Tensor, nn

from ...tokenizers.dual_vq.paired import parted
from ..llamagen.config import LlamaGenTraining
from ..llamagen.objective import TERM, LlamaGenObjective
from .config import FarConfig
from .model import Far

__all__ = ["TERMS", "FarObjective"]

TERMS = ("first_code", "second_code")
"""Names of the loss terms."""


class FarObjective(LlamaGenObjective):
    """The mean of two cross-entropies per cell (arXiv 2411.16681, section 3.4).

    loss = (sum of -log p(first) / cells + sum of -log p(second | first) / cells) / 2, cells counted over the whole optimiser step.

    Models: ``model``.

    Args:
        model: sizes.
        config: hyperparameters, LlamaGen's.
    """

    coefficients: Mapping[str, float] = dict.fromkeys(TERMS, 0.5)

    def __init__(self, model: FarConfig, config: LlamaGenTraining) -> None:
        super().__init__(model.trunk, config)
        self.far = model

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Do as `LlamaGenObjective.prepare` with pairs; both terms weigh as many cells."""
        prepared = super().prepare(batch, rng)
        prepared.weights = dict.fromkeys(TERMS, prepared.weights[TERM])
        return prepared

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the cross-entropy of each code over the cells.

        Returns:
            `first_code` and `second_code`: scalars, float32 or better.
        """
        model, tensors = cast(Far, models["model"]), prepared.tensors
        hidden = model.teacher_forced(model.condition(tensors["classes"]), tensors["codes"])
        found = {}
        labels = parted(tensors["labels"], self.far.vocab_sizes[1])
        states = model.predictions(hidden, tensors["codes"])
        for term, state, wanted, head, size in zip(TERMS, states, labels, model.head.losses, self.far.vocab_sizes):
            targets = Targets(rows=tensors["rows"], labels=wanted)
            found[term] = summed_cross_entropy(state, targets, head, vocab_size=size, max_logits=self.config.max_logits)
        return found
