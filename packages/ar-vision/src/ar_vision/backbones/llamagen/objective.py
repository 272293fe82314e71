"""LlamaGen's objective: predict every code from its condition and the codes before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ...text.captions import encoded_captions, prepared_captions, require_condition
from ...text.encoder import TextEncoder
from ..class_labels import checked_labels
from ..condition_dropout import drops_condition
from .conditions import ClassCondition, left_padded, pad_texts
from .config import LlamaGenConfig, LlamaGenTraining
from .model import LlamaGen

__all__ = ["TERM", "LlamaGenObjective"]

TERM = "next_code"
"""Name of the one loss term."""


class LlamaGenObjective:
    """Cross-entropy of the next code, per code (arXiv 2406.06525, section 2.2).

    loss = sum over samples and i < L of -log p(x_i | condition, x_<i) / number of these codes, counted over the whole optimiser
    step. Samples with ``valid`` 0 count on neither side.

    Models: ``model``; ``text``, frozen, where samples have captions.

    Args:
        model: sizes.
        config: hyperparameters.
        text: encoder of the captions; None where samples have features of texts, or classes.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(self, model: LlamaGenConfig, config: LlamaGenTraining, text: TextEncoder | None = None) -> None:
        self.model, self.config = model, config
        self._captions = text.prepare if text is not None else None

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Draw which samples lose their condition, by their own numbers, and lay out the rest.

        Args:
            batch: B samples: `codes` int64 [L]; `label`, a class, `caption`, a text, or `features`, float
                [n, text_dim] of one; optional `valid`, 0 for a sample that could not be read.
            rng: stream "condition".

        Returns:
            tensors: `codes` [B, L]; `rows` and `labels` [N], the flattened place of each target and the target; `classes` [B],
            or `dropped` bool [B], and the tensors of the text encoder, or `features` [B, P, text_dim] and `present` bool [B, P]. weights: N, L for each valid sample.

        Raises:
            DataError: a sample has another number of codes, codes or classes that the model does not have, or lacks its
                condition.
        """
        codes = torch.stack([self.codes(sample) for sample in batch])
        rate = self.config.condition_dropout
        dropped = torch.tensor([drops_condition(rate, rng, sample["index"]) for sample in batch])
        valid = torch.tensor([bool(sample.get("valid", 1)) for sample in batch])
        rows = valid.repeat_interleave(self.model.codes).nonzero()[:, 0]
        tensors = {"codes": codes, "rows": rows, "labels": codes.flatten()[rows]}
        if self.model.condition == "class":
            given = [int(sample["label"]) for sample in batch]
            classes = checked_labels(given, self.model.num_classes, null=False)
            tensors["classes"] = classes.masked_fill(dropped, self.model.num_classes)
        elif self._captions is not None:
            tensors |= {**prepared_captions(self._captions, batch), "dropped": dropped}
        else:
            features, present = pad_texts([sample["features"] for sample in batch], self.model)
            tensors |= {"features": features, "present": present, "dropped": dropped}
        return Prepared(tensors=tensors, weights={TERM: float(len(rows))}, meta={"tokens": codes.numel()})

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the cross-entropy over the codes.

        Args:
            models: as the class lists them.
            prepared: of `prepare`.

        Returns:
            `next_code`: scalar, float32 or better.
        """
        model, tensors = cast(LlamaGen, models["model"]), prepared.tensors
        if isinstance(model.condition, ClassCondition):
            condition, present = model.condition(tensors["classes"]), None
        else:
            features, present = self._texts(models, tensors)
            condition = model.condition(features, tensors["dropped"])
        hidden = model.teacher_forced(condition, tensors["codes"], present)
        targets = Targets(rows=tensors["rows"], labels=tensors["labels"])
        loss = summed_cross_entropy(
            hidden,
            targets,
            model.loss_head,
            vocab_size=self.model.vocab_size,
            max_logits=self.config.max_logits,
        )
        return {TERM: loss}

    def _texts(self, models: Mapping[str, nn.Module], tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features `[B, P, text_dim]` and where they are."""
        if self._captions is None:
            return tensors["features"], tensors["present"]
        text = encoded_captions(models, tensors)
        text.check(self.model.texts)
        return left_padded(text, self.model.text_tokens)

    def codes(self, sample: Mapping[str, Any]) -> Tensor:
        """Return a sample's codes, int64 [L].

        Raises:
            DataError: they are of another grid or vocabulary, or the sample lacks its condition.
        """
        model, number = self.model, sample["index"]
        codes: Tensor = sample["codes"].long()
        if codes.shape != (model.codes,):
            raise DataError(
                f"sample {number} has codes of shape {list(codes.shape)} and the model takes {model.codes} (a grid of "
                f"{model.grid} x {model.grid}): encode the data with its tokenizer at its image size, or set model.grid"
            )
        if not 0 <= int(codes.min()) <= int(codes.max()) < model.vocab_size:
            raise DataError(
                f"sample {number} has codes from {int(codes.min())} to {int(codes.max())} and the model knows 0 to "
                f"{model.vocab_size - 1}: encode the data with its tokenizer, or set model.vocab_size"
            )
        of_text = "features" if self._captions is None else "caption"
        require_condition(sample, "label" if model.condition == "class" else of_text)
        return codes
