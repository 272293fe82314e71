"""GloTok's objective: that of a tokenizer, with the residual and the histogram relation loss (arXiv 2511.14184, section 3)."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.corruption import SampleRng
from ar_core.training import Prepared
from torch import Tensor, nn

from ..tokenizers.dual_vq.model import DualVqTokenizer
from ..tokenizers.tokenizer_output import DualTokenizerOutput, TokenizerOutput
from ..tokenizers.training.objective import TOKENIZER, TokenizerObjective
from .config import GlotokConfig
from .relation_loss import relation_loss

__all__ = ["SEMANTIC", "GlotokObjective"]

SEMANTIC = "semantic"
"""The codebook whose similarities are matched."""


class GlotokObjective(TokenizerObjective):
    """L = L_tokenizer + lambda_res L_res + lambda_hist L_hist.

    L_res is a mean over images as the other terms are. L_hist belongs to the step: it does not depend on the images, and is
    computed once a step, with the micro-batch that holds the step's first image, whatever the split.

    Args:
        config: hyperparameters.
        batch_size: images of an optimiser step, over all ranks.
        codebooks: names of the codebooks that are watched.
        teacher: log P_t, float64 `[N]`; None where the histogram loss is left out.
    """

    def __init__(
        self, config: GlotokConfig, *, batch_size: int, codebooks: Sequence[str], teacher: Tensor | None
    ) -> None:
        super().__init__(config, batch_size=batch_size, codebooks=codebooks)
        self.glotok, self.teacher = config, teacher

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Do as `TokenizerObjective.prepare`; `histogram` weighs 1 in one micro-batch of every j-th step, and 0 else."""
        prepared = super().prepare(batch, rng)
        if self.teacher is not None:
            first = bool((prepared.tensors["place"] == 0).any())
            due = prepared.meta["step"] % self.glotok.every == 0
            prepared.weights["histogram"] = float(first and due)
        return prepared

    def more_sums(
        self, models: Mapping[str, nn.Module], prepared: Prepared, output: TokenizerOutput | DualTokenizerOutput
    ) -> dict[str, Tensor]:
        """Return `residual`, summed over the images, and `histogram`."""
        found = {}
        if self.glotok.residual_weight:
            found["residual"] = cast(DualTokenizerOutput, output).residual_loss
        if self.teacher is not None:
            found["histogram"] = (
                self.relation(cast(DualVqTokenizer, models[TOKENIZER]))
                if prepared.weights["histogram"]
                else output.code_loss.new_zeros(())
            )
        return found

    def relation(self, tokenizer: DualVqTokenizer) -> Tensor:
        """Return L_hist of the tokenizer's semantic codebook, a scalar in float32; in evaluation too."""
        assert self.teacher is not None
        config = self.glotok
        with torch.autocast(tokenizer.codebooks[SEMANTIC].weight.device.type, enabled=False):
            loss = relation_loss(
                tokenizer.codebooks[SEMANTIC].weight,
                self.teacher,
                config.histogram,
                direction=config.direction,
                evaluation=config.evaluation,
                tile=config.tile,
            )
        return loss.float()
