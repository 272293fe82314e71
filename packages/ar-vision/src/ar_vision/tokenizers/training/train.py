"""From a run's config to a training job: an image tokenizer from scratch or from a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.config import expand_path, from_dict
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.registry import resolve
from ar_core.training import Job, TrainConfig
from torch import nn

from ...checkpoint import load_checkpoint, save_checkpoint
from ...construction import undrawn
from ...data.config import ImageDataConfig
from ...data.source import build_image_source
from ...families import family
from ...held_out import EvaluationConfig
from ...pixels import to_signed
from ..codebook_tokenizer import CodebookTokenizer
from ..image_grid import schedule_of_images
from ..tokenizer import Tokenizer
from ..vq.model import VqTokenizer
from .adaptive_weight import AdaptiveWeight
from .config import TokenizerTrainingConfig
from .discriminator import PatchDiscriminator
from .lpips import Lpips, load_lpips
from .objective import DISCRIMINATOR, TOKENIZER, TokenizerObjective
from .reconstruction import measure
from .usage import CodebookUsage, of_codebook

__all__ = [
    "TokenizerEvaluation",
    "TokenizerModelConfig",
    "TokenizerRun",
    "build",
    "codebooks_of",
    "open_tokenizer",
    "tokenizer_job",
]


@dataclass(frozen=True)
class TokenizerModelConfig:
    """What is trained: fresh weights of a kind, or a checkpoint.

    Raises:
        ConfigError: Both or neither are given.
    """

    kind: str | None = None
    """Kind of a tokenizer with fresh weights: ``var_vqvae``, ``vq``, ``dual_vq`` or ``bsq``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Its shape: the settings of that kind's config class."""
    checkpoint: str | None = None
    """Folder of a checkpoint whose weights training starts from; ``~`` and ``$NAME`` are expanded."""

    def __post_init__(self) -> None:
        if (self.kind is None) == (self.checkpoint is None):
            raise ConfigError(
                f"kind is {self.kind!r} and checkpoint {self.checkpoint!r}: give a kind for fresh weights, or the folder of a "
                "checkpoint, and not both"
            )
        if self.checkpoint is not None and self.settings:
            raise ConfigError("settings are given beside a checkpoint, which knows its own shape: drop them")


@dataclass(frozen=True, kw_only=True)
class TokenizerEvaluation(EvaluationConfig):
    """The same, on images of their own if these are given."""

    data: ImageDataConfig | None = None
    """Images of their own; null takes those that `data.held_out` keeps from training."""
    batch_size: int = 64
    """Images of a forward pass; memory only."""


@dataclass(frozen=True)
class TokenizerRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: TokenizerModelConfig
    """What is trained."""
    data: ImageDataConfig
    """What it is trained on."""
    method: TokenizerTrainingConfig
    """The losses."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: TokenizerEvaluation = field(default_factory=TokenizerEvaluation)
    """Held-out measurements."""


def build(run: TokenizerRun) -> Job:
    """Load or make the models, open the data.

    Raises:
        ConfigError: Model, method and run do not fit together.
        ArError: As loading models and data does.
    """
    tokenizer = open_tokenizer(run)
    objective = TokenizerObjective(run.method, batch_size=run.train.batch_size, codebooks=codebooks_of(run, tokenizer))
    return tokenizer_job(run, tokenizer, objective, {"recipe": "image_tokenizer"})


def open_tokenizer(run: TokenizerRun) -> nn.Module:
    """Load or make the tokenizer of a run, and see whether it fits the rest.

    Raises:
        ConfigError: Model, method and run do not fit together.
        ArError: As loading the tokenizer does.
    """
    _check(run)
    tokenizer = _tokenizer(run.model, run.train.seed)
    _check_scales(run, cast(Tokenizer, tokenizer))
    return tokenizer


def codebooks_of(run: TokenizerRun, tokenizer: nn.Module) -> tuple[str, ...]:
    """Return the names of the codebooks that a run watches; none where it watches none.

    Raises:
        ConfigError: There are none to be watched.
    """
    books = tuple(getattr(tokenizer, "named_codebooks", {}))
    if run.method.usage is None:
        return ()
    if not books:
        raise ConfigError(
            f"method.usage is set and a tokenizer of kind {tokenizer.kind!r} has no codebook to watch: set it to null"
        )
    return books


def tokenizer_job(
    run: TokenizerRun,
    tokenizer: nn.Module,
    objective: TokenizerObjective,
    provenance: Mapping[str, Any],
    *,
    more: Callable[[], Mapping[str, float]] = dict,
    identity: Mapping[str, Any] | None = None,
) -> Job:
    """Put a tokenizer, what it is trained with and its data together.

    Args:
        run: all settings.
        tokenizer: of :func:`open_tokenizer`.
        objective: of its losses.
        provenance: what the checkpoint says of its origin, beside the scales.
        more: further numbers of an evaluation.
        identity: what else a continued run must have in common with this one.

    Raises:
        ArError: As loading models and data does.
    """
    method, seed = run.method, run.train.seed
    models: dict[str, nn.Module] = {TOKENIZER: tokenizer}
    if method.usage is not None:
        for name in objective.codebooks:
            vocab_size, dim = cast(CodebookTokenizer, tokenizer).named_codebooks[name].weight.shape
            models[of_codebook("usage", name)] = CodebookUsage(
                vocab_size, dim, method.usage, batch_size=run.train.batch_size, seed=seed
            )
    if method.adaptive_weight:
        models["balance"] = AdaptiveWeight(cast(CodebookTokenizer, tokenizer).decoder.last_layer)
    if method.adversarial_weight:
        discriminator = undrawn(lambda: PatchDiscriminator(method.discriminator))
        discriminator.initialize(SampleRng(seed).row(0, "weights of the discriminator"))
        models[DISCRIMINATOR] = discriminator
    lpips = load_lpips(method.lpips, method.lpips_minimum_size) if method.lpips is not None else None
    if lpips is not None:
        models["lpips"] = lpips

    def save(directory: Path) -> None:
        save_checkpoint(directory, tokenizer, provenance={**provenance, "scales": str(method.schedule)})

    return Job(
        objective=objective,
        models=models,
        source=build_image_source(run.data, seed=seed),
        save=save,
        evaluate=None if run.train.eval_every is None else _evaluation(run, tokenizer, lpips, more),
        identity=identity or {},
    )


def _check(run: TokenizerRun) -> None:
    method, start = run.method, run.method.adversarial_start_step
    if method.adversarial_weight and start >= run.train.steps:
        raise ConfigError(
            f"method.adversarial_start_step is {start} and the run ends after {run.train.steps} steps, before the "
            "discriminator plays: start earlier, or set method.adversarial_weight to 0"
        )
    own = run.evaluation.data
    if own is not None and own.shape != run.data.shape:
        raise ConfigError(
            f"evaluation.data.size is {own.shape[0]} x {own.shape[1]} and data.size {run.data.shape[0]} x {run.data.shape[1]}: "
            "method.scales are those of one size, give both the same"
        )


def _check_scales(run: TokenizerRun, tokenizer: Tokenizer) -> None:
    method = run.method
    schedule_of_images(method.scales, run.data.shape, tokenizer.downsampling)
    if method.schedules == "one_scale" and tokenizer.kind != VqTokenizer.kind:
        raise ConfigError(
            f"method.schedules is one_scale and the scales of a {tokenizer.kind} add up to the image, so that none can be decoded "
            "alone: set it to null, or train a vq"
        )
    height, width = (side * tokenizer.downsampling for side in method.choices[0].sizes[-1])
    smallest = method.discriminator.smallest
    if method.adversarial_weight and min(height, width) < smallest:
        raise ConfigError(
            f"images are decoded to {height} x {width} and a discriminator of {method.discriminator.layers} layers needs "
            f"{smallest} pixels: set method.discriminator.layers lower, or leave out coarse scales"
        )


def _tokenizer(config: TokenizerModelConfig, seed: int) -> nn.Module:
    if config.checkpoint is not None:
        return load_checkpoint(expand_path(config.checkpoint), role="tokenizer", dtype=torch.float32).model
    found = family(str(config.kind), "model.kind")
    if found.role != "tokenizer":
        raise ConfigError(f"model.kind is {config.kind!r}, a generator: give the kind of a tokenizer")
    shape = from_dict(resolve(found.config), config.settings, "model.settings")
    model: Any = undrawn(lambda: resolve(found.model)(shape))
    model.initialize(SampleRng(seed).row(0, "weights of the tokenizer"))
    return cast(nn.Module, model)


def _evaluation(
    run: TokenizerRun, tokenizer: nn.Module, lpips: Lpips | None, more: Callable[[], Mapping[str, float]]
) -> Callable[[], Mapping[str, float]]:
    own = run.evaluation.data
    source = build_image_source(own or run.data, seed=run.train.seed, split="all" if own is not None else "held_out")
    images = torch.stack([sample["image"] for sample in islice(source.once(), run.evaluation.images)])

    def evaluate() -> Mapping[str, float]:
        batches = (to_signed(batch) for batch in images.split(run.evaluation.batch_size))
        return {**measure(cast(Tokenizer, tokenizer), run.method.schedule, batches, lpips=lpips), **more()}

    return evaluate
