"""The training objective of Fast-dLLM v2 (arXiv 2509.26328): denoise all blocks of a row in one pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ar_core.block_diffusion import (
    Targets,
    block_diffusion_layout,
    block_diffusion_mask,
    block_grid,
    select_targets,
    summed_cross_entropy,
)
from ar_core.corruption import MaskSampler, SampleRng, UniformRatePerBlock, complementary_pair, hide
from ar_core.data import IGNORED, PADDING_DOCUMENT, stack_rows
from ar_core.hf import HFBackbone
from ar_core.masks import Tokens
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from dlm_text.mask_token import check_never_supervised

from .config import FastDLLMv2Config

__all__ = ["FastDLLMv2Objective"]

TERM = "masked"
"""Name of the one loss term."""


class FastDLLMv2Objective:
    """Masked cross-entropy over complementary views, per target (paper section 3.2; equation of the loss,
    A.3).

    loss = sum over targets of -log p(x_i | view, clean blocks before) / number of targets, the count taken
    over the whole optimiser step. No 1/t weight, because with complementary views every supervised token is a
    target exactly once; no autoregressive term, except that `block_first="clean"` predicts the first token of
    a block from the clean stream.

    Deviations from the published code: the caller's labels are not overwritten; a target is what was hidden,
    not what equals the mask token, and supervision on the mask token itself is refused; noise belongs to the
    sample; rows of any length are accepted; and the options of `FastDLLMv2Config`.

    Args:
        config: hyperparameters.
        mask_id: id of the mask token M.
        sampler: what is hidden; None is the published `UniformRatePerBlock`.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(self, config: FastDLLMv2Config, mask_id: int, *, sampler: MaskSampler | None = None) -> None:
        self.config = config
        self.mask_id = mask_id
        self.sampler = sampler if sampler is not None else UniformRatePerBlock(config.min_noise)

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(),)

    def prepare(self, batch: list[dict[str, Any]], rng: SampleRng) -> Prepared:
        """Hide tokens and lay out the batch.

        Args:
            batch: B samples with `index`, `ids`, `labels`, `document`; int64 [L], each its own L. Not
                touched.
            rng: sample i draws from `rng.row(index_i, "mask")`, whatever its batch.

        Returns:
            tensors: `ids` [R, T], `position` and the other token ids of the mask [T] or [R, T], `rows` and `labels` of
            the targets; with two views T = 3L and R = B (`shared`) or T = 2L and R = 2B (`stacked`). weights:
            the number of targets.

        Raises:
            DataError: a sample is supervised on the mask token.
        """
        config = self.config
        hidden = [self._hidden(sample, rng) for sample in batch]
        ids = stack_rows([sample["ids"] for sample in batch], fill=self.mask_id)
        labels = stack_rows([sample["labels"] for sample in batch], fill=IGNORED)
        documents = stack_rows([sample["document"] for sample in batch], fill=PADDING_DOCUMENT)
        views = [stack_rows(list(view), fill=0) for view in zip(*hidden)]

        by_document = config.document_mask or config.document_positions
        kept_apart: Tensor | None = documents
        if not config.document_mask:
            # Only the padding of ragged rows is kept apart then, so that a row does not depend on its batch
            # mates.
            padding = documents == PADDING_DOCUMENT
            kept_apart = torch.where(padding, documents, 0) if padding.any() else None
        layout = block_diffusion_layout(
            block_grid(
                ids.shape[1],
                config.diffusion_block_size,
                documents if by_document else None,
                restart_positions=config.document_positions,
            ),
            num_views=len(views),
            arrangement=config.views,
            documents=kept_apart,
        )
        targets = select_targets(layout, views, labels, block_first=config.block_first)
        return Prepared(
            tensors={
                "ids": layout.sequence([hide(ids, view, mask_id=self.mask_id) for view in views], ids),
                "rows": targets.rows,
                "labels": targets.labels,
                **{name: layout.tokens[name] for name in layout.tokens.names},
            },
            weights={TERM: float(len(targets))},
        )

    def _hidden(self, sample: dict[str, Any], rng: SampleRng) -> tuple[Tensor, ...]:
        """Positions hidden in each view of one sample, bool [L] each."""
        labels = sample["labels"]
        check_never_supervised(sample, self.mask_id)
        documents = sample["document"] if self.config.document_mask or self.config.document_positions else None
        grid = block_grid(len(labels), self.config.diffusion_block_size, documents)
        maskable = labels != IGNORED
        if self.config.block_first == "clean" and not self.config.hide_block_first:
            maskable = maskable & ~grid.firsts
        hidden = self.sampler(maskable, grid.blocks, rng.row(sample["index"], "mask"))
        return complementary_pair(hidden, maskable) if self.config.complementary else (hidden,)

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the cross-entropy over the targets.

        Args:
            models: `model`, a Hugging Face causal LM driven through our attention.
            prepared: of `prepare`.

        Returns:
            `masked`: scalar, float32 or better.
        """
        backbone = HFBackbone(models["model"])
        tensors = prepared.tensors
        ids = tensors["ids"]
        tokens = Tokens(
            **{name: tensors[name] for name in ("stream", "block", "position", "document") if name in tensors}
        )
        hidden = backbone.hidden(ids, positions=tokens["position"].expand_as(ids), mask=block_diffusion_mask(tokens))
        loss = summed_cross_entropy(
            hidden,
            Targets(rows=tensors["rows"], labels=tensors["labels"]),
            backbone.loss_head,
            vocab_size=backbone.vocab_size,
            max_logits=self.config.max_logits,
        )
        return {TERM: loss}
