"""What objectives share: images of a batch, tensors of a batch filled up, and the model run over them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ar_core.data import stack_rows
from ar_core.hf import HFBackbone
from ar_core.masks import Mask
from ar_core.training import Player, Prepared
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .data.sample import VisionTextSample
from .images.inputs import ImageLayout, join_pixels
from .inputs import TEXT
from .model import ImageFeatures, VisionLanguageModel

__all__ = ["images_of", "player", "run_model", "stack_image_rows", "stack_positions"]


def images_of(batch: Sequence[VisionTextSample]) -> tuple[dict[str, Tensor], list[ImageLayout]]:
    """Pixels (where there are any) and layouts of a batch's images, sample by sample."""
    images = [image for sample in batch for image in sample["images"]]
    return ({"pixels": join_pixels(images)} if images else {}), [image.layout for image in images]


def stack_image_rows(batch: Sequence[VisionTextSample], rows: Sequence[Tensor]) -> Tensor:
    """Rows among the features of each sample's images, as rows among those of the batch: [B, L], -1 for text.

    Args:
        batch: B samples.
        rows: int64 [L_i] of each.
    """
    counts = [sum(image.layout.tokens for image in sample["images"]) for sample in batch]
    shifted = [torch.where(row == TEXT, TEXT, row + sum(counts[:number])) for number, row in enumerate(rows)]
    return stack_rows(shifted, fill=TEXT)


def stack_positions(rows: Sequence[Tensor]) -> Tensor:
    """Positions [L_i] as [B, L], or [3, L_i] as [3, B, L]; filled up on the right with 0."""
    if rows[0].ndim == 1:
        return pad_sequence(list(rows), batch_first=True)
    return pad_sequence([row.T for row in rows], batch_first=True).permute(2, 0, 1)


def run_model(models: Mapping[str, nn.Module], prepared: Prepared, mask: Mask) -> tuple[Tensor, HFBackbone, Tensor]:
    """Run tower, connector and language model over a prepared batch.

    Args:
        models: `model`, a :class:`VisionLanguageModel`.
        prepared: tensors `ids` and `image_rows` [B, T], `rope` [B, T] or [3, B, T], and `pixels` where there are images; meta
            `images`, their layouts.
        mask: over T.

    Returns:
        Hidden states [B, T, C]; the backbone, for its head; and a scalar 0 that keeps all features in the graph, so that a tower
        whose tokens were all left out gets a gradient of zero and not none.
    """
    model: Any = models["model"]
    assert isinstance(model, VisionLanguageModel)
    tensors = prepared.tensors
    features: ImageFeatures | None = None
    anchor = tensors["ids"].new_zeros((), dtype=torch.float32)
    if "pixels" in tensors:
        features = model.image_features(tensors["pixels"], prepared.meta["images"])
        anchor = 0 * torch.stack([layer.float().sum() for layer in (features.rows, *features.deepstack)]).sum()
    embeds, more = model.embed(tensors["ids"], tensors["image_rows"], features)
    backbone = model.backbone
    hidden = backbone.hidden(None, embeds=embeds, positions=tensors["rope"], mask=mask, more=more)
    return hidden, backbone, anchor


def player(tower_lr: float | None) -> Player:
    """The one optimiser turn; with a learning rate of its own, the tower is a model beside the others.

    Names are met in order, and a parameter counts for the first that holds it: the connector before the tower, since on route 1
    it is inside of it.
    """
    if tower_lr is None:
        return Player()
    return Player(models=("connector", "tower", "model"), model_lrs={"tower": tower_lr})
