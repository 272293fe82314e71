"""From a run's config to a training job: an xAR from scratch, on the quantised features of stored codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ...checkpoint import fingerprint, load_checkpoint, require_codes, save_checkpoint
from ...construction import undrawn
from ...data.codes.config import CodeDataConfig
from ...data.codes.source import CodeSource, build_code_source
from ...data.source import Split
from ...held_out import EvaluationConfig
from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from .config import XarConfig, XarTraining
from .model import Xar
from .objective import TERM, TOKENIZER, XarObjective, quantised

__all__ = ["XarRun", "build"]

MEASURED = 256
"""Pictures that the standard deviation of the features is measured on."""


@dataclass(frozen=True)
class XarRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: XarConfig
    """What is trained, from fresh weights."""
    data: CodeDataConfig
    """What the recipe `image_codes` made with the tokenizer."""
    tokenizer: str
    """Checkpoint folder of the tokenizer that made the codes, of one grid."""
    method: XarTraining = field(default_factory=XarTraining)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements: `held_out_velocity`, the loss with noise that does not change between evaluations."""


def build(run: XarRun) -> Job:
    """Make the model, open the data.

    Raises:
        ConfigError: nothing is held out where an evaluation needs it.
        CheckpointError: the tokenizer's features have other channels than the model.
        ArError: as opening the data and the tokenizer does.
    """
    loaded = load_checkpoint(expand_path(run.tokenizer), "tokenizer", dtype=torch.float32)
    tokenizer, made_by = loaded.model.requires_grad_(False), fingerprint(loaded.model)
    if not hasattr(tokenizer, "named_codebooks"):
        raise ConfigError(
            f"{run.tokenizer!r} holds a {loaded.family.kind}, whose codes are bits: give a dual_vq or a vq"
        )
    source = _source(run, made_by, "train")
    shape = run.model
    if shape.latent_std is None:
        shape = replace(shape, latent_std=_measured(cast(Tokenizer, tokenizer), source, shape.grid))
    model = undrawn(lambda: Xar(shape))
    model.initialize(SampleRng(run.train.seed).row(0, "weights"))
    require_codes(model, tokenizer)
    provenance: dict[str, Any] = {"recipe": "xar", "data": dict(source.describe())}

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=made_by, provenance=provenance)

    models: dict[str, nn.Module] = {"model": model, TOKENIZER: tokenizer}
    evaluate = None
    if run.train.eval_every is not None:
        held_out = list(islice(_source(run, made_by, "held_out").once(), run.evaluation.images))
        plain = XarObjective(shape, replace(run.method, condition_dropout=0.0))

        def evaluate() -> Mapping[str, float]:
            return {"held_out_velocity": mean_loss(plain, models, held_out, batch_size=run.evaluation.batch_size)[TERM]}

    return Job(objective=XarObjective(shape, run.method), models=models, source=source, save=save, evaluate=evaluate)


def _source(run: XarRun, made_by: str, split: Split) -> CodeSource:
    return build_code_source(
        run.data,
        seed=run.train.seed,
        tokenizer=made_by,
        schedule=ScaleSchedule.square(run.model.grid),
        split=split,
        num_classes=run.model.num_classes,
    )


def _measured(tokenizer: Tokenizer, source: CodeSource, grid: int) -> float:
    """Standard deviation of all numbers of the features of the first pictures."""
    samples = islice(source.once(), MEASURED)
    codes = torch.stack([sample["codes"].long() for sample in samples])
    return float(quantised(tokenizer, codes, grid).double().std())
