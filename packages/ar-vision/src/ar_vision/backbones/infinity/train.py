"""From a run's config to a training job: an Infinity on images and their captions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import load_strict
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ...checkpoint import fingerprint, load_checkpoint, require_codes, save_checkpoint
from ...construction import undrawn
from ...data.config import ImageDataConfig
from ...data.source import build_image_source
from ...held_out import EvaluationConfig
from ...text.encoder import build_text_encoder
from ...tokenizers.bsq.config import BsqTokenizerConfig
from ...tokenizers.bsq.model import BsqTokenizer
from .config import InfinityConfig
from .loading import fitted_null_text
from .model import Infinity
from .objective import ACCURACY, TERM, InfinityObjective
from .objective_config import InfinityTraining
from .schedules import schedule_of_grid

__all__ = ["CompanionConfig", "InfinityRun", "build", "held_out_bits", "open_tokenizer"]


@dataclass(frozen=True)
class CompanionConfig:
    """The frozen models beside the one that is trained.

    Raises:
        ConfigError: not one tokenizer is given.
    """

    tokenizer: str | None = None
    """Folder of the tokenizer's checkpoint; `~` and `$NAME` are expanded."""
    fresh_tokenizer: BsqTokenizerConfig | None = None
    """In place of it, a tokenizer with random weights, for trying things out: its bits describe images, its decoder does not."""
    text_encoder: str | None = None
    """Folder, or hub name, of the T5 whose features the model takes; null with `model.text_encoder: hashed`."""

    def __post_init__(self) -> None:
        if (self.tokenizer is None) == (self.fresh_tokenizer is None):
            raise ConfigError(
                "give the checkpoint of a tokenizer, or the shape of a fresh one (fresh_tokenizer), and not both"
            )


@dataclass(frozen=True)
class InfinityRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: InfinityConfig
    """What is trained."""
    companions: CompanionConfig
    """Tokenizer and text encoder."""
    data: ImageDataConfig
    """Images with captions; their size decides the scales."""
    method: InfinityTraining = field(default_factory=InfinityTraining)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=partial(EvaluationConfig, images=64, batch_size=16))
    """Held-out measurements: `held_out_nll`, nats per bit, and `held_out_accuracy`."""
    start: str | None = None
    """Folder of a checkpoint that training starts from; null: fresh weights. What depends on bits or text and has another shape is
    drawn afresh (rush_resume); of the same shape it must belong to the same tokenizer and text encoder."""


def build(run: InfinityRun) -> Job:
    """Load or make the models, open the data.

    Raises:
        ConfigError: sections do not fit together.
        ArError: as loading models and data does.
    """
    seed = run.train.seed
    tokenizer = open_tokenizer(run.companions, seed)
    model = undrawn(lambda: Infinity(run.model))
    model.initialize(SampleRng(seed).row(0, "weights"))
    if run.start is not None:
        _start(model, run.start, fingerprint(tokenizer))
    require_codes(model, tokenizer)
    text = build_text_encoder(run.model.texts, run.companions.text_encoder)
    height, width = run.data.shape
    schedule = schedule_of_grid(height / tokenizer.downsampling, width / tokenizer.downsampling, run.model.schedules)
    models: dict[str, nn.Module] = {"model": model, "tokenizer": tokenizer, "text": cast(nn.Module, text)}
    evaluate: Callable[[], Mapping[str, float]] | None = None
    if run.train.eval_every is not None:
        held_out = list(islice(build_image_source(run.data, seed=seed, split="held_out").once(), run.evaluation.images))
        objective = InfinityObjective(_plain(run.method), model, schedule, text)

        def evaluate() -> Mapping[str, float]:
            return held_out_bits(objective, models, held_out, batch_size=run.evaluation.batch_size)

    def save(directory: Path) -> None:
        save_checkpoint(
            directory,
            model,
            tokenizer=fingerprint(tokenizer),
            provenance={"recipe": "infinity", "scales": str(schedule), "text_encoder": run.companions.text_encoder},
        )

    return Job(
        objective=InfinityObjective(run.method, model, schedule, text),
        models=models,
        source=build_image_source(run.data, seed=seed),
        save=save,
        evaluate=evaluate,
        identity={"tokenizer": fingerprint(tokenizer), "start": run.start, "text_encoder": run.companions.text_encoder},
    )


def held_out_bits(
    objective: InfinityObjective, models: Mapping[str, nn.Module], samples: Sequence[Any], *, batch_size: int = 16
) -> dict[str, float]:
    """Measure the bits of images that were not trained on.

    Args:
        objective: without flips and dropped texts, so that nothing is random.
        models: in eval mode.
        samples: as the objective takes them.
        batch_size: memory only.

    Returns:
        `held_out_nll`, nats per bit, each token counting alike, and `held_out_accuracy`.
    """
    found = mean_loss(objective, models, samples, batch_size=batch_size)
    return {"held_out_nll": found[TERM], "held_out_accuracy": found[ACCURACY]}


def _plain(method: InfinityTraining) -> InfinityTraining:
    return replace(method, flip_strength=0.0, condition_dropout=0.0, bit_loss="mean", weighting="tokens")


def open_tokenizer(config: CompanionConfig, seed: int) -> BsqTokenizer:
    """Load the tokenizer that companions name, or make a fresh one: in float32, in eval mode.

    Raises:
        ConfigError: it is of another kind.
        CheckpointError: it cannot be loaded.
    """
    if config.fresh_tokenizer is not None:
        shape = config.fresh_tokenizer
        tokenizer = undrawn(lambda: BsqTokenizer(shape))
        tokenizer.initialize(SampleRng(seed).row(0, "weights of the tokenizer"))
        return tokenizer.eval()
    loaded = load_checkpoint(expand_path(cast(str, config.tokenizer)), role="tokenizer", dtype=torch.float32)
    if not isinstance(loaded.model, BsqTokenizer):
        raise ConfigError(
            f"companions.tokenizer holds a {loaded.family.kind}, and an Infinity predicts the bits of a bsq: give one"
        )
    return loaded.model


def _start(model: Infinity, path: str, tokenizer: str) -> None:
    loaded = load_checkpoint(expand_path(path), role="generator")
    if not isinstance(loaded.model, Infinity):
        raise ConfigError(f"start holds a {loaded.family.kind}, and this recipe trains an infinity: give one")
    own, before = model.config, loaded.model.config
    if before.bits == own.bits and (loaded.tokenizer not in (None, tokenizer) or before.patchify != own.patchify):
        raise CheckpointError(
            f"{path} was trained with the tokenizer {loaded.tokenizer or 'of another patchify'} and companions.tokenizer is "
            f"{tokenizer}: give the tokenizer it was trained with, any other gives its {own.bits} bits another meaning"
        )
    if before.text_width == own.text_width and before.text_encoder != own.text_encoder:
        raise CheckpointError(
            f"{path} takes texts of the encoder {before.text_encoder} and model.text_encoder is {own.text_encoder}, of the same "
            "width: set the encoder it was trained with"
        )
    fresh, given = model.state_dict(), dict(loaded.model.state_dict())
    if given["null_text"].shape[1] == fresh["null_text"].shape[1]:
        given["null_text"] = fitted_null_text(given["null_text"], len(fresh["null_text"]))
    for name in given.keys() & fresh.keys():
        if (
            name.startswith(("null_text", "text.", "word.", "output.linear."))
            and given[name].shape != fresh[name].shape
        ):
            given[name] = fresh[name]
    load_strict(model, given, source=path)
