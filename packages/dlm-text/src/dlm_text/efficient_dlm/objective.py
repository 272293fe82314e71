"""The training objective of Efficient-DLM (arXiv 2512.14067): denoise all blocks of a row in one pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ar_core.block_diffusion import (
    BlockDiffusionLayout,
    Grid,
    Targets,
    block_diffusion_layout,
    block_diffusion_mask,
    block_grid,
    next_token_targets,
    select_targets,
    summed_cross_entropy,
)
from ar_core.corruption import MaskDraw, MaskSampler, PositionDependent, SampleRng, hide
from ar_core.data import IGNORED, PADDING_DOCUMENT, stack_rows
from ar_core.hf import HFBackbone
from ar_core.masks import Tokens
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from dlm_text.mask_token import check_never_supervised

from .config import EfficientDLMConfig

__all__ = ["MASKED", "NEXT_TOKEN", "EfficientDLMObjective"]

MASKED = "masked"
"""Name of the diffusion term."""
NEXT_TOKEN = "next_token"
"""Name of the autoregressive term."""


class EfficientDLMObjective:
    """Cross-entropy of the masked tokens, each divided by its block's noise level (paper, equation 1).

    loss = alpha * sum over masked tokens of -log p(x_i | own block noised, context) / t_i, over their number
         + ar_weight * sum over supervised tokens of -log p(x_i | x_<i), over their number,

    the counts taken over the whole optimiser step (`normalisation` chooses another one for the first). The second term is
    read from the clean half, which is causal over tokens then.

    Deviations from the published code: noise belongs to the sample; documents may be kept apart; supervision on the mask
    token is refused.

    Args:
        config: hyperparameters.
        mask_id: id of the mask token M.
        sampler: what is hidden instead of the method's own draw, for measurements; its targets are not divided by a level.
    """

    def __init__(self, config: EfficientDLMConfig, mask_id: int, *, sampler: MaskSampler | None = None) -> None:
        self.config = config
        self.mask_id = mask_id
        self.sampler = sampler
        whole = config.attention_pattern == "bidirectional"
        self._draw = PositionDependent(
            None if whole else config.diffusion_block_size, config.half_life_ratio, config.min_noise
        ).draw
        noised = config.attention_pattern != "autoregressive"
        self.coefficients: Mapping[str, float] = {
            **({MASKED: config.diffusion_weight} if noised else {}),
            **({NEXT_TOKEN: config.ar_weight} if config.ar_weight else {}),
        }

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(),)

    def prepare(self, batch: list[dict[str, Any]], rng: SampleRng) -> Prepared:
        """Hide tokens and lay out the batch.

        Args:
            batch: B samples with `index`, `ids`, `labels`, `document`; int64 [L], each its own L. Not touched.
            rng: sample i draws from `rng.row(index_i, "mask")`, whatever its batch.

        Returns:
            tensors: `ids` [B, T], `position` and the other token ids of the mask [T] or [B, T], where T = 2L for the
            pattern `block_clean` and L for the others; `masked.rows`, `.labels` and `.weights` of the targets, likewise
            `next_token.`. weights: what each term is divided by.

        Raises:
            DataError: a sample is supervised on the mask token.
        """
        config = self.config
        for sample in batch:
            check_never_supervised(sample, self.mask_id)
        ids = stack_rows([sample["ids"] for sample in batch], fill=self.mask_id)
        labels = stack_rows([sample["labels"] for sample in batch], fill=IGNORED)
        documents = stack_rows([sample["document"] for sample in batch], fill=PADDING_DOCUMENT)
        layout = self._layout(ids.shape[1], documents)
        tensors: dict[str, Tensor] = {}
        weights: dict[str, float] = {}

        views: list[Tensor] = []
        if MASKED in self.coefficients:
            draws = [self._hidden(sample, rng) for sample in batch]
            hidden = stack_rows([draw.hidden for draw in draws], fill=0)
            views = [hide(ids, hidden, mask_id=self.mask_id)]
            levels = None if self.sampler else [1 / stack_rows([draw.level for draw in draws], fill=1)]
            targets = select_targets(layout, [hidden], labels, shift=config.token_shift, weights=levels)
            predictable = (labels != IGNORED) & ~(layout.starts & config.token_shift)
            counts: dict[str, Tensor | int] = {
                "masked": len(targets),
                "supervised": predictable.sum(),
                "tokens": (documents != PADDING_DOCUMENT).sum(),
            }
            weights[MASKED] = float(counts[config.normalisation])
            tensors |= _named(MASKED, targets)
        if NEXT_TOKEN in self.coefficients:
            targets = next_token_targets(layout, labels)
            weights[NEXT_TOKEN] = float(len(targets))
            tensors |= _named(NEXT_TOKEN, targets)
        tensors |= {name: layout.tokens[name] for name in layout.tokens.names}
        return Prepared(tensors={"ids": layout.sequence(views, ids), **tensors}, weights=weights)

    def _grid(self, length: int, documents: Tensor) -> Grid:
        """Blocks and positions; a bidirectional sequence is one block."""
        whole = self.config.attention_pattern == "bidirectional"
        size = max(length, 1) if whole else self.config.diffusion_block_size
        return block_grid(length, size, documents if self.config.document_mask else None)

    def _layout(self, length: int, documents: Tensor) -> BlockDiffusionLayout:
        apart: Tensor | None = documents
        if not self.config.document_mask:
            # Only the padding of ragged rows is kept apart then, so that a row does not depend on its batch mates.
            padding = documents == PADDING_DOCUMENT
            apart = torch.where(padding, documents, 0) if padding.any() else None
        return block_diffusion_layout(
            self._grid(length, documents),
            num_views=int(self.config.attention_pattern != "autoregressive"),
            has_clean=self.config.attention_pattern in ("block_clean", "autoregressive"),
            documents=apart,
        )

    def _hidden(self, sample: dict[str, Any], rng: SampleRng) -> MaskDraw:
        """What is hidden of one sample, and at which level."""
        maskable = sample["labels"] != IGNORED
        blocks = self._grid(len(maskable), sample["document"]).blocks
        generator = rng.row(sample["index"], "mask")
        if self.sampler is None:
            return self._draw(maskable, blocks, generator)
        return MaskDraw(self.sampler(maskable, blocks, generator), torch.ones(len(maskable)))

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model once and sum the cross-entropy over the targets of each term.

        Args:
            models: `model`, a Hugging Face causal LM driven through our attention.
            prepared: of `prepare`.

        Returns:
            `masked` and, with an autoregressive term, `next_token`: scalars, float32 or better.
        """
        config, tensors = self.config, prepared.tensors
        backbone = HFBackbone(models["model"])
        ids = tensors["ids"]
        tokens = Tokens(
            **{name: tensors[name] for name in ("stream", "block", "position", "document") if name in tensors}
        )
        mask = block_diffusion_mask(
            tokens,
            clean="token" if config.is_hybrid else "block",
            context="noisy" if config.attention_pattern == "block_noisy" else "clean",
        )
        hidden = backbone.hidden(ids, positions=tokens["position"].expand_as(ids), mask=mask)
        return {
            term: summed_cross_entropy(
                hidden,
                Targets(tensors[f"{term}.rows"], tensors[f"{term}.labels"], tensors.get(f"{term}.weights")),
                backbone.loss_head,
                vocab_size=backbone.vocab_size,
                max_logits=config.max_logits,
            )
            for term in self.coefficients
        }


def _named(term: str, targets: Targets) -> dict[str, Tensor]:
    named = {f"{term}.rows": targets.rows, f"{term}.labels": targets.labels}
    return named if targets.weights is None else {**named, f"{term}.weights": targets.weights}
