"""Held-out pictures: likelihood of every scale under true inputs and under the model's own."""

from dataclasses import replace
from itertools import islice
from typing import Any, cast

import torch
from ar_core.registry import recipe
from ar_core.training import mean_loss, read_run_config
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.flexvar.train import stored_sides
from ar_vision.checkpoint import fingerprint, load_checkpoint
from ar_vision.data.codes.source import build_code_source
from ar_vision.sar.exposure_bias import ExposureObjective
from ar_vision.tokenizers.tokenizer import Tokenizer

from ..images.study import Study
from .arms import entries

__all__ = ["measure_likelihood"]


def measure_likelihood(study: Study, arm: str, images: int | None) -> dict[str, Any]:
    """Measure an arm, or the base, in float32.

    Args:
        study: whose.
        arm: which.
        images: the first so many of the held-out pictures; None: all.
    """
    run = read_run_config(recipe("sar"), "cifar10", entries(study, "control"))
    tokenizer = load_checkpoint(study.tokenizer, "tokenizer", dtype=torch.float32).model
    model = cast(FlexVar, load_checkpoint(study.model(arm), "generator", dtype=torch.float32).model)
    sides = stored_sides(run.method, cast(Tokenizer, tokenizer))
    held_out = build_code_source(
        run.data,
        seed=0,
        tokenizer=fingerprint(tokenizer),
        schedule=sides,
        split="held_out",
        num_classes=model.config.num_classes,
    )
    samples = list(islice(held_out.once(), images))
    objective = ExposureObjective(replace(run.method, label_dropout=0.0, accuracy=True), model, sides, free=True)
    values = mean_loss(objective, {"model": model, "tokenizer": tokenizer}, samples, batch_size=50)
    return {"held_out": len(samples), "checkpoint": fingerprint(model), "values": values}
