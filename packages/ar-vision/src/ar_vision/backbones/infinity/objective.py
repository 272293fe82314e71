"""The objective of Infinity: predict every bit of every scale, from an image so far that may hold wrong bits.

Source: Infinity (arXiv 2412.04431), sections 3.3 and 3.4, and its published code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ...pixels import to_signed
from ...scales import ScaleSchedule
from ...text.captions import encoded_captions, prepared_captions, require_condition
from ...text.encoder import TextEncoder
from ...text.text import Text
from ...tokenizers.bsq.bit_history import BitHistory
from ...tokenizers.bsq.model import BsqTokenizer
from ..condition_dropout import drops_condition
from .model import Infinity
from .objective_config import InfinityTraining
from .self_correction import BitTargets, bit_targets, draw_flips, draw_rates

__all__ = ["ACCURACY", "NO_DECAY", "TERM", "InfinityObjective", "bit_losses", "token_weights"]

TERM, ACCURACY = "bits", "bit_accuracy"
"""The one loss term, in nats per bit (per token with ``bit_loss: sum``), and the share of bits predicted right."""

NO_DECAY = ("null_text", "start", "levels.weight", "offset", "log_scale", "query")
"""Ends of the names of parameters that weight decay leaves alone in published training, beside vectors."""


class InfinityObjective:
    """Two-way cross-entropy of each bit (arXiv 2412.04431, sections 3.3 and 3.4).

    loss = mean over samples of the weighted sum over tokens of the mean over bits. About 80 % of bits right is what the authors
    call healthy; at 72 % images still show artefacts.

    Deviations from the published code: rates of flips and dropped texts belong to the sample, not to the batch (``flip_rates:
    batch`` shares the rates); dropping a text replaces nothing in place and stops in evaluation; the weighting by scale works.

    Models: ``model``; ``tokenizer``, frozen, where samples are images; ``text``, frozen, where samples have captions.

    Args:
        config: hyperparameters.
        model: what is trained.
        schedule: K scales of the images.
        text: encoder of the captions; None where samples have text features.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(
        self, config: InfinityTraining, model: Infinity, schedule: ScaleSchedule, text: TextEncoder | None = None
    ) -> None:
        self.config, self.shape, self.schedule = config, model.config, schedule
        # A bound method without the module, so that worker processes need not copy the encoder's weights.
        self._captions = text.prepare if text is not None else None

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(no_decay=NO_DECAY),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Draw flips and dropped texts, and lay out the batch.

        Args:
            batch: B samples with ``index``; ``image``, uint8 [3, height, width] or float in [-1, 1], or ``features`` of the
                tokenizer, float [d, H, W]; ``caption``, a text, or ``text``, its features, float [n, Ct].
            rng: streams "flips" and "condition"; "rates of flips" where a batch shares them.

        Returns:
            tensors: ``image`` [B, 3, height, width] or ``features`` [B, d, H, W]; ``flips`` bool [B, F, d_v], of the F tokens of
            the flipped scales; ``dropped`` bool [B]; those of the text encoder, or ``text`` [B, M, Ct] and ``text_valid`` [B, M].
            weights: B.

        Raises:
            DataError: a sample lacks image or text, or samples differ in size.
        """
        config, bits = self.config, self.shape.bits
        layers = min(config.flip_scales, self.schedule.count) if config.flip_strength else 0
        strength, rates = config.flip_strength, None
        if layers and config.flip_rates == "batch":
            rates = draw_rates(layers, batch[0]["index"], rng, strength=strength)
        flips = [
            torch.cat(draw_flips(self.schedule, bits, s["index"], rng, strength=strength, layers=layers, rates=rates))
            for s in batch
            if layers
        ]
        dropped = [drops_condition(config.condition_dropout, rng, s["index"]) for s in batch]
        tensors = {**_pictures(batch), **self._texts(batch), "dropped": torch.tensor(dropped)}
        if flips:
            tensors["flips"] = torch.stack(flips)
        count = float(len(batch))
        return Prepared(
            tensors=tensors,
            weights={TERM: count, ACCURACY: count},
            meta={"tokens": len(batch) * self._trained.total, "flipped": layers},
        )

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Encode where that is needed, make inputs and labels, run the model.

        Args:
            models: as the class lists them.
            prepared: of `prepare`.

        Returns:
            ``bits`` and ``bit_accuracy``, sums over samples, float32.

        Raises:
            DataError: a text is too long for the model, or of another width.
            ConfigError: images are of another grid than the schedule, or features of other bits.
        """
        with torch.no_grad():
            features = self.features(models, prepared)
            targets = bit_targets(features, self.history(features), self.flips(prepared))
        return self.scored(models, prepared, targets)

    def features(self, models: Mapping[str, nn.Module], prepared: Prepared) -> Tensor:
        """Return the tokenizer's features of the images, [B, d, s H, s W], without a gradient."""
        tensors = prepared.tensors
        if "features" in tensors:
            return tensors["features"]
        # Bits are signs: rounded features would flip those near zero.
        with torch.no_grad(), torch.autocast(tensors["image"].device.type, enabled=False):
            return cast(BsqTokenizer, models["tokenizer"]).encode(tensors["image"])

    def history(self, features: Tensor) -> BitHistory:
        """Return an empty history of the rows of features [B, d, h, w]."""
        shape = self.shape
        return BitHistory(len(features), self.schedule, shape.bits, side=shape.side, device=features.device)

    def flips(self, prepared: Prepared) -> Sequence[Tensor]:
        """Return the drawn flips, bool [B, L_k, d_v] of each flipped scale."""
        flipped = self.schedule.lengths[: prepared.meta["flipped"]]
        return prepared.tensors["flips"].split(flipped, dim=1) if flipped else ()

    def scored(
        self, models: Mapping[str, nn.Module], prepared: Prepared, targets: BitTargets, first: int = 0
    ) -> dict[str, Tensor]:
        """Run the model, and score the bits of the scales from one on, whose weights have the sum 1.

        Args:
            models: ``model``, and ``text`` where samples have captions.
            prepared: of `prepare`.
            targets: inputs and labels.
            first: the coarsest scale whose bits are scored.

        Returns:
            ``bits`` and ``bit_accuracy``, sums over samples, float32.

        Raises:
            DataError: a text is too long for the model, or of another width.
        """
        model, tensors, trained = cast(Infinity, models["model"]), prepared.tensors, self._trained
        with torch.no_grad():
            text = self._text(models, tensors)
        text.check(self.shape.texts)
        text = text.replaced(model.null_text, tensors["dropped"])
        recompute = self.config.gradient_checkpointing
        logits = model(targets.inputs[: trained.count - 1], text, trained, recompute=recompute)
        begin = trained.slices[first].start
        labels = torch.cat(targets.labels[first : trained.count], dim=1)
        losses, right = bit_losses(logits[:, begin:], labels)
        per_token = losses.mean(-1) if self.config.bit_loss == "mean" else losses.sum(-1)
        scored = ScaleSchedule(trained.sizes[first:])
        weights = token_weights(scored, by_scale=self.config.weighting == "scales").to(per_token.device)
        return {TERM: (per_token * weights).sum(), ACCURACY: right.float().mean((1, 2)).sum()}

    @property
    def _trained(self) -> ScaleSchedule:
        return ScaleSchedule(self.schedule.sizes[: self.config.trained_scales])

    def _texts(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        if self._captions is not None:
            return prepared_captions(self._captions, batch)
        for sample in batch:
            require_condition(sample, "text")
        text = Text.of([sample["text"] for sample in batch])
        return {"text": text.features, "text_valid": text.valid}

    def _text(self, models: Mapping[str, nn.Module], tensors: dict[str, Tensor]) -> Text:
        if self._captions is None:
            return Text(tensors["text"], tensors["text_valid"])
        return encoded_captions(models, tensors)


def bit_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each bit and whether its more probable value is right, float32 and bool [B, L, d_v].

    Args:
        logits: [B, L, 2 d_v], of bit j at 2 j (for 0) and 2 j + 1.
        labels: bool [B, L, d_v].
    """
    zero, one = logits.float().unflatten(-1, (-1, 2)).unbind(-1)
    # A softmax over two is the sigmoid of their difference.
    difference = one - zero
    losses = F.binary_cross_entropy_with_logits(difference, labels.float(), reduction="none")
    return losses, (difference > 0) == labels


def token_weights(schedule: ScaleSchedule, *, by_scale: bool) -> Tensor:
    """Return what each token counts, float32 [L], of sum 1: alike, or in proportion to 1 / sqrt(L_k)."""
    lengths = torch.tensor(schedule.lengths, dtype=torch.float64)
    of_scale = (lengths[-1] / lengths).sqrt() if by_scale else torch.ones_like(lengths)
    weights = torch.repeat_interleave(of_scale, lengths.long())
    return (weights / weights.sum()).float()


def _pictures(batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    stored = all("features" in sample for sample in batch)
    name = "features" if stored else "image"
    for sample in batch:
        if name not in sample:
            raise DataError(f"sample {sample['index']} has neither 'image' nor 'features': add one to the data")
    made = [sample[name].float() if stored else to_signed(sample[name]) for sample in batch]
    sizes = {tuple(tensor.shape) for tensor in made}
    if len(sizes) > 1:
        raise DataError(
            f"the {name} of one batch have shapes {sorted(map(list, sizes))}; give all of a run one size, which its scales have"
        )
    return {name: torch.stack(made)}
