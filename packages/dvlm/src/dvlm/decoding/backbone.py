"""Prompts with images under the decoders of ar-core: features in the places of images, three-part positions."""

import hashlib
from collections import Counter
from collections.abc import MutableMapping, Sequence

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import DecodeStats
from ar_core.hf import HFBackbone
from ar_core.hf.mask import everything
from ar_core.masks import Mask
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..images.inputs import ImageInput, join_pixels
from ..inputs import TEXT
from ..model import ImageFeatures, VisionLanguageModel
from ..prompt import VisionPrompt

__all__ = ["VisionBackbone"]

IN_PLACE_OF_IMAGE = 0
"""Id that decoders see where an image stands; its embedding is never read."""


class VisionBackbone:
    """Implements :class:`ar_core.decoding.Backbone` for one batch of prompts: decoders get `ids`, and drive it like any model.

    What stands at a position depends on the prompt as well as on the id there, and the cache says which prompt each of its rows
    holds. The tower runs once, over all images of the batch; of equal ones once, and of those that the caller has kept not at all.
    Features are then inserted in whatever pass holds their positions: the prefill, and where an image reaches into the block that
    the prompt ends in, the passes over that block.

    Args:
        model: in eval mode.
        prompts: of the batch; all with three-part positions or none.
        backbone: of its language model, if another engine than the plain one is wanted.
        known: features of images by their content, for a caller that asks about the same pictures again; new ones are added.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: VisionLanguageModel,
        prompts: Sequence[VisionPrompt],
        backbone: HFBackbone | None = None,
        known: MutableMapping[str, ImageFeatures] | None = None,
    ) -> None:
        self._model = model
        self._inner = backbone or model.backbone
        self.ids = [prompt.expanded.ids.masked_fill(prompt.is_image, IN_PLACE_OF_IMAGE).tolist() for prompt in prompts]
        """Ids of each prompt for a decoder."""
        self.stats = DecodeStats()
        """What the tower has run: time in phase "vision", and the counts of `encoder`."""
        names = [[_name(image) for image in prompt.images] for prompt in prompts]
        distinct = {name: image for row, prompt in zip(names, prompts) for name, image in zip(row, prompt.images)}
        offsets: dict[str, int] = {}
        count = 0
        for name, image in distinct.items():
            offsets[name] = count
            count += image.layout.tokens
        known = {} if known is None else known
        fresh = {name: image for name, image in distinct.items() if name not in known}
        if fresh:
            known.update(zip(fresh, self._encoded(list(fresh.values())), strict=True))
        self._features = _joined([known[name] for name in distinct]) if distinct else None
        self._rows = [_global_rows(prompt, [offsets[name] for name in row]) for row, prompt in zip(names, prompts)]
        three_part = {prompt.expanded.positions.ndim == 2 for prompt in prompts}
        assert len(three_part) == 1
        self._places = [prompt.expanded.positions for prompt in prompts] if three_part == {True} else None
        self._shifts = [int(prompt.expanded.positions.max()) + 1 - len(prompt) for prompt in prompts]

    def _encoded(self, images: list[ImageInput]) -> list[ImageFeatures]:
        """Features of each image, from one run of the tower."""
        dtype = next(self._model.tower.parameters()).dtype
        with self.stats.timed("vision"):
            pixels = join_pixels(images).to(self.device, dtype)
            features = self._model.image_features(pixels, [image.layout for image in images])
            # Read, or the time on an asynchronous device would be that of launching.
            features.rows[0, 0].item()
        self.stats.encoder += Counter(forwards=1, images=len(images))
        counts = [image.layout.tokens for image in images]
        layers = zip(*(layer.split(counts) for layer in (features.rows, *features.deepstack)), strict=True)
        return [ImageFeatures(rows, tuple(deepstack)) for rows, *deepstack in layers]

    @property
    def vocab_size(self) -> int:
        """V, the number of logits."""
        return self._inner.vocab_size

    @property
    def context_length(self) -> int:
        """Positions that the model was made for."""
        return self._inner.context_length

    @property
    def device(self) -> torch.device:
        """Device of the embeddings."""
        return self._inner.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the embeddings."""
        return self._inner.dtype

    @property
    def loss_head(self) -> object:
        """See :attr:`ar_core.hf.HFBackbone.loss_head`."""
        return self._inner.loss_head

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings `[B, n, C]` of ids int64 `[B, n]`, all text."""
        return self._inner.embed(ids)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]` of hidden states `[..., C]`."""
        return self._inner.head(hidden)

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """An empty cache; row b holds prompt b unless its `prompts` say otherwise."""
        return self._inner.new_cache(batch, capacity)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Final hidden states `[B, n, C]`; see :class:`ar_core.decoding.Backbone`. Without a cache the rows are the prompts in order,
        from their beginning.

        Args:
            ids: int64 `[B, n]`; not read where an image stands.
            embeds: must be None.
            positions: int64 `[B, n]`, indices in the sequence.
            mask: as of the protocol.
            cache: likewise.
        """
        assert ids is not None
        assert embeds is None
        batch, length = ids.shape
        numbers = list(range(batch)) if cache is None else cache.pass_prompts
        starts = [0] * batch if cache is None else cache.starts
        cuts = [slice(start, start + length) for start in starts]
        if self._places is not None:
            if mask is None:
                mask = everything(positions, length if cache is None else cache.span)
            positions = self._three_part(positions, numbers, cuts)
        held = [self._rows[number][cut] for number, cut in zip(numbers, cuts)]
        if not any(bool((row != TEXT).any()) for row in held):
            return self._inner.hidden(ids, positions=positions, mask=mask, cache=cache)
        image_rows = pad_sequence([*held, torch.empty(length, dtype=torch.int64)], True, TEXT)[:-1].to(self.device)
        embeds, more = self._model.embed(ids, image_rows, self._features)
        return self._inner.hidden(None, embeds=embeds, positions=positions, mask=mask, cache=cache, more=more)

    def _three_part(self, positions: Tensor, numbers: list[int], cuts: list[slice]) -> Tensor:
        """Positions `[3, B, n]`: the prompt's own, then counting on behind it from its largest. A pass behind all prompts, where
        the three parts are equal, gets `[B, n]`, which engines of fixed shapes take."""
        assert self._places is not None
        shifts = torch.tensor([[self._shifts[number]] for number in numbers], device=self.device)
        owns = [self._places[number][:, cut] for number, cut in zip(numbers, cuts)]
        if not any(own.shape[1] for own in owns):
            return positions + shifts
        found = (positions + shifts).expand(3, -1, -1).contiguous()
        for row, own in enumerate(owns):
            found[:, row, : own.shape[1]] = own.to(self.device)
        return found


def _name(image: ImageInput) -> str:
    """The same for equal images."""
    pixels = image.pixels.contiguous()
    digest = hashlib.blake2b(pixels.view(torch.uint8).numpy().tobytes())
    return f"{image.layout} {pixels.dtype} {tuple(pixels.shape)} {digest.hexdigest()}"


def _joined(features: Sequence[ImageFeatures]) -> ImageFeatures:
    """Features of several images as those of one batch."""
    rows, *deepstack = (
        torch.cat(layer) for layer in zip(*((one.rows, *one.deepstack) for one in features), strict=True)
    )
    return ImageFeatures(rows, tuple(deepstack))


def _global_rows(prompt: VisionPrompt, offsets: Sequence[int]) -> Tensor:
    """Rows of a prompt's images among those of the batch, [P]; -1 for text.

    Args:
        prompt: the prompt.
        offsets: of each of its images, where its rows begin.
    """
    rows = prompt.expanded.image_rows
    if not prompt.images:
        return rows
    counted = [torch.arange(image.layout.tokens) + begin for image, begin in zip(prompt.images, offsets)]
    return torch.where(prompt.is_image, torch.cat(counted)[rows.clamp(min=0)], TEXT)
