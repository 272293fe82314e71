"""xAR's objective: the velocity of every cell, noised at a time of its own, from noised cells before it.

Source: xAR (arXiv 2502.20388), section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..class_labels import checked_labels
from ..condition_dropout import drops_condition
from .cells import to_cells
from .config import XarConfig, XarTraining
from .flow import noised
from .model import Xar

__all__ = ["TERM", "TOKENIZER", "XarObjective", "quantised"]

TERM, TOKENIZER = "velocity", "tokenizer"
"""Names of the loss term, and of the frozen companion."""


class XarObjective:
    """Mean squared error of the velocity, of noised cells under noised cells (arXiv 2502.20388, section 3.3).

    Every cell of every sample has a time of its own, the logistic of a normal number, and noise of its own; both belong to the
    sample. Data are the tokenizer's quantised features Q, without what residual modules add to them, divided by `latent_std`.

    Models: ``model``; ``tokenizer``, frozen.

    Args:
        model: sizes, with `latent_std` given.
        config: hyperparameters.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(self, model: XarConfig, config: XarTraining) -> None:
        assert model.latent_std is not None
        self.model, self.config, self.latent_std = model, config, model.latent_std

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model; positions do not decay."""
        return (Player(no_decay=("positions",)),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Draw times and noise, and which samples lose their class, by their own numbers.

        Args:
            batch: B samples: `codes` int64 [L], `label`, a class.
            rng: streams "condition", "time" and "noise".

        Returns:
            tensors: `codes` [B, L], `classes` [B], `time` float32 [B, K], `noise` float32 [B, L, Cv]. weights: B.

        Raises:
            DataError: a sample has another number of codes, or a class that the model does not have.
        """
        model, indices = self.model, [int(sample["index"]) for sample in batch]
        codes = torch.stack([sample["codes"].long() for sample in batch])
        if codes.shape[1] != model.grid**2:
            raise DataError(
                f"samples have {codes.shape[1]} codes and the model takes {model.grid**2} (a grid of {model.grid} x {model.grid}): encode "
                "the data with its tokenizer at its image size, or set model.grid"
            )
        classes = checked_labels([int(sample["label"]) for sample in batch], model.num_classes, null=False)
        dropped = torch.tensor([drops_condition(self.config.condition_dropout, rng, index) for index in indices])
        logits = torch.stack([torch.randn(model.cells, generator=rng.row(index, "time")) for index in indices])
        shape = (model.grid**2, model.code_dim)
        noise = torch.stack([torch.randn(shape, generator=rng.row(index, "noise")) for index in indices])
        tensors = {
            "codes": codes,
            "classes": classes.masked_fill(dropped, model.num_classes),
            "time": (self.config.time_mean + self.config.time_std * logits).sigmoid(),
            "noise": noise,
        }
        return Prepared(tensors=tensors, weights={TERM: float(len(batch))}, meta={"tokens": codes.numel()})

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model and sum the mean squared error of each image.

        Returns:
            `velocity`: scalar, float32 or better.
        """
        model, tensors = cast(Xar, models["model"]), prepared.tensors
        features = quantised(cast(Tokenizer, models[TOKENIZER]), tensors["codes"], self.model.grid)
        data = to_cells(features, self.model.cell) / self.latent_std
        time = tensors["time"]
        at = time.repeat_interleave(self.model.places, dim=1)[..., None]
        found = model.teacher_forced(noised(data, tensors["noise"], at), time, tensors["classes"])
        return {TERM: (found - (tensors["noise"] - data)).square().flatten(1).mean(1).sum()}


@torch.no_grad()
def quantised(tokenizer: Tokenizer, codes: Tensor, grid: int) -> Tensor:
    """Return the quantised features of codes int64 `[B, L]`: float32 `[B, Cv, g, g]`."""
    history = tokenizer.history(len(codes), ScaleSchedule.square(grid))
    history.add(codes)
    return history.features.float()
