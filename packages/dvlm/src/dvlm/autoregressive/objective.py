"""Next-token training on conversations about images.

Source: visual instruction tuning (LLaVA, arXiv 2304.08485, section 4.2); stage 1 of route 2 of DiffusionVL.
"""

from collections.abc import Mapping, Sequence

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.data import IGNORED, PADDING_DOCUMENT, stack_rows
from ar_core.masks import Mask, Tokens, causal, document
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ..batch import images_of, player, run_model, stack_image_rows, stack_positions
from ..data.sample import VisionTextSample
from ..inputs import expand
from .config import AutoregressiveVLConfig

__all__ = ["NEXT_TOKEN", "AutoregressiveVLObjective"]

NEXT_TOKEN = "next_token"
"""Name of the loss term."""


class AutoregressiveVLObjective:
    """Cross-entropy of the next token, per supervised token of the optimiser step; images are read causally like text.

    Args:
        config: hyperparameters.
        max_length: longest sample, cut at the end.
    """

    coefficients: Mapping[str, float] = {NEXT_TOKEN: 1.0}

    def __init__(self, config: AutoregressiveVLConfig, *, max_length: int | None = None) -> None:
        self.config, self.max_length = config, max_length

    def players(self) -> Sequence[Player]:
        """One optimiser turn; the tower may have a learning rate of its own."""
        return (player(self.config.tower_lr),)

    def prepare(self, batch: list[VisionTextSample], rng: SampleRng) -> Prepared:
        """Expand images and lay out the batch; nothing is random.

        Args:
            batch: B samples. Not touched.
            rng: not drawn from.

        Returns:
            tensors: `ids`, `image_rows`, `position`, `document` [B, L]; `rope` [B, L] or [3, B, L]; `rows` and `labels` [N] of the
            targets, tokens with a predecessor; `pixels` where there are images. weights: N. meta: `images`, `tokens`.
        """
        rows = [
            expand(
                sample["tokens"],
                sample["labels"],
                [image.layout for image in sample["images"]],
                mrope=self.config.mrope,
                max_length=self.max_length,
            )
            for sample in batch
        ]
        labels = stack_rows([row.labels for row in rows], fill=IGNORED)
        width = labels.shape[1]
        line, column = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
        pixels, layouts = images_of(batch)
        tensors = {
            "ids": stack_rows([row.ids for row in rows], fill=0),
            "image_rows": stack_image_rows(batch, [row.image_rows for row in rows]),
            "position": torch.arange(width).expand(len(rows), -1),
            "document": stack_rows([torch.zeros_like(row.ids) for row in rows], fill=PADDING_DOCUMENT),
            "rope": stack_positions([row.positions for row in rows]),
            "rows": line * width + column,
            "labels": labels[line, column + 1],
            **pixels,
        }
        return Prepared(
            tensors=tensors,
            weights={NEXT_TOKEN: float(len(line))},
            meta={"images": layouts, "tokens": sum(len(row) for row in rows)},
        )

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the cross-entropy over the targets.

        Args:
            models: `model`, a :class:`dvlm.model.VisionLanguageModel`.
            prepared: of :meth:`prepare`.

        Returns:
            `next_token`: scalar, float32 or better.
        """
        tensors = prepared.tensors
        mask = Mask.self_attention(
            causal() & document(), Tokens(position=tensors["position"], document=tensors["document"])
        )
        hidden, backbone, anchor = run_model(models, prepared, mask)
        loss = summed_cross_entropy(
            hidden,
            Targets(tensors["rows"], tensors["labels"]),
            backbone.loss_head,
            vocab_size=backbone.vocab_size,
            max_logits=self.config.max_logits,
        )
        return {NEXT_TOKEN: loss + anchor}
