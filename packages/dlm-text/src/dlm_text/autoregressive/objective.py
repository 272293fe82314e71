"""The objective of a causal language model: predict each supervised token from those before it.

Source: the likelihood of a causal language model; the control arm of every comparison.
"""

from collections.abc import Mapping, Sequence

import torch
from ar_core.block_diffusion import Targets, block_grid, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.data import IGNORED, PADDING_DOCUMENT, Sample, stack_rows
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, causal, document
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from .config import AutoregressiveConfig

__all__ = ["AutoregressiveObjective"]

TERM = "next_token"
"""Name of the one loss term."""


class AutoregressiveObjective:
    """Cross-entropy of the next token, per supervised token.

    loss = sum over targets of -log p(x_i | x_<i) / number of targets, counted over the whole optimiser step. Targets are
    supervised tokens with a predecessor: not the first of a row, nor, with the document mask, the first of a document.

    Args:
        config: hyperparameters.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(self, config: AutoregressiveConfig) -> None:
        self.config = config

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(),)

    def prepare(self, batch: list[Sample], rng: SampleRng) -> Prepared:
        """Lay out the batch; nothing is random.

        Args:
            batch: B samples with `ids`, `labels`, `document`; int64 [L], each its own L. Not touched.
            rng: not drawn from.

        Returns:
            tensors: `ids`, `position`, `document` [B, L]; `rows` and `labels` [N], the flattened position that predicts
            each target, and the target. weights: N, the number of targets.
        """
        ids = stack_rows([sample["ids"] for sample in batch], fill=0)
        labels = stack_rows([sample["labels"] for sample in batch], fill=IGNORED)
        documents = stack_rows([sample["document"] for sample in batch], fill=PADDING_DOCUMENT)
        positions = block_grid(ids.shape[1], 1, documents if self.config.document_positions else None).positions
        targets = labels != IGNORED
        targets[:, 0] = False
        if self.config.document_mask:
            targets[:, 1:] &= documents[:, 1:] == documents[:, :-1]
        else:
            documents = torch.where(documents == PADDING_DOCUMENT, PADDING_DOCUMENT, 0)
        row, column = targets.nonzero(as_tuple=True)
        return Prepared(
            tensors={
                "ids": ids,
                "position": positions.expand_as(ids),
                "document": documents,
                "rows": row * ids.shape[1] + column - 1,
                "labels": labels[row, column],
            },
            weights={TERM: float(len(row))},
        )

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the cross-entropy over the targets.

        Args:
            models: `model`, a Hugging Face causal LM driven through our attention.
            prepared: of `prepare`.

        Returns:
            `next_token`: scalar, float32 or better.
        """
        backbone = HFBackbone(models["model"])
        tensors = prepared.tensors
        tokens = Tokens(position=tensors["position"], document=tensors["document"])
        index = torch.arange(tokens.length, device=tokens["document"].device)
        mask = Mask.self_attention(causal() & document(), tokens.with_ids(position=index))
        hidden = backbone.hidden(tensors["ids"], positions=tensors["position"], mask=mask)
        targets = Targets(rows=tensors["rows"], labels=tensors["labels"])
        loss = summed_cross_entropy(
            hidden, targets, backbone.loss_head, vocab_size=backbone.vocab_size, max_logits=self.config.max_logits
        )
        return {TERM: loss}
