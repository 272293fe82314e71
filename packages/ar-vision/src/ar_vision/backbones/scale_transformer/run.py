"""What the training runs of VAR and FlexVAR share: the sections of their configs, and how these become a job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from ar_core.config import FREE, expand_path, from_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import resolve
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ...checkpoint import Loaded, fingerprint, load_checkpoint, require_codebook, require_pair, save_checkpoint
from ...construction import undrawn
from ...data.codes.config import CodeDataConfig
from ...data.codes.source import CodeSource, build_code_source
from ...families import FAMILIES
from ...held_out import EvaluationConfig
from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from .model import ScaleTransformer
from .objective import TERM, ScaleObjective
from .objective_config import ScaleObjectiveConfig

__all__ = ["ScaleModelConfig", "ScaleRun", "build_scale_job"]

M = TypeVar("M", bound=ScaleTransformer)


@dataclass(frozen=True)
class ScaleModelConfig:
    """What is trained: fresh weights or a checkpoint.

    Raises:
        ConfigError: both or neither are given, or the shape is none.
    """

    kind: ClassVar[str]
    """Name that checkpoints of the model carry."""

    scratch: dict[str, Any] | None = None
    """Shape of a model with fresh weights; number and dimension of the codes are the tokenizer's."""
    path: str | None = field(default=None, metadata=FREE)
    """Folder of a checkpoint whose weights training starts from, in float32; ``~`` and ``$NAME`` are expanded. A run knows it by its
    fingerprint."""
    gate: float = 1e-3
    """Factor of fresh gates (``alng``): how far blocks are from the identity at first. VAR: 1e-3 for d16 and d20, 1e-4 for d24, 1e-5
    for d30."""

    def __post_init__(self) -> None:
        if (self.scratch is None) == (self.path is None):
            raise ConfigError(
                f"scratch is {self.scratch!r} and path {self.path!r}: give the shape of fresh weights, or the folder of a "
                "checkpoint, and not both"
            )
        if self.scratch is not None:
            self.shape(vocab_size=1, code_dim=1)

    def shape(self, **from_tokenizer: int) -> Any:
        """Return the config of the model with fresh weights.

        Raises:
            ConfigError: a setting is unknown or out of range.
        """
        taken = from_tokenizer.keys() & (self.scratch or {}).keys()
        if taken:
            raise ConfigError(f"scratch.{min(taken)} is given, which the tokenizer decides: leave it out")
        return from_dict(resolve(FAMILIES[self.kind].config), {**(self.scratch or {}), **from_tokenizer}, "scratch")


@dataclass(frozen=True, kw_only=True)
class ScaleRun:
    """A whole run, section by section, as a YAML file holds it."""

    tokenizer: str
    """Folder of the tokenizer's checkpoint; `~` and `$NAME` are expanded."""
    model: ScaleModelConfig
    """What is trained."""
    data: CodeDataConfig
    """Codes that the recipe `image_codes` made with this tokenizer: of the model's scales (VAR), or of the scales 1, 2, 3, ... up to
    the grid of the images (FlexVAR)."""
    method: ScaleObjectiveConfig = field(default_factory=ScaleObjectiveConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements, on the schedule that is generated."""


def build_scale_job(
    run: ScaleRun,
    kind: type[M],
    stored: Callable[[M, Tokenizer], ScaleSchedule],
    objective: Callable[[Any, M, ScaleSchedule, bool], ScaleObjective],
    *,
    recipe: str | None = None,
) -> Job:
    """Load the tokenizer, make or load the model, open the codes.

    Args:
        run: the config.
        kind: class of the model.
        stored: from model and tokenizer to the scales of the stored codes.
        objective: from the method's settings, the model, the stored scales and whether it measures held-out pictures to the
            objective.
        recipe: name that the checkpoint's provenance gives; None: the model's kind.

    Raises:
        ConfigError: sections contradict each other.
        ArError: as loading model, tokenizer and data does.
    """
    loaded = load_checkpoint(expand_path(run.tokenizer), "tokenizer", dtype=torch.float32)
    require_codebook(loaded)
    tokenizer, paired = cast(Tokenizer, loaded.model), fingerprint(loaded.model)
    model, start = _build_model(run.model, kind, loaded, run.train)
    models: dict[str, nn.Module] = {"model": model, "tokenizer": loaded.model}
    schedule = stored(model, tokenizer)
    source_of = partial(
        build_code_source,
        run.data,
        seed=run.train.seed,
        tokenizer=paired,
        schedule=schedule,
        num_classes=model.config.num_classes,
        vocab_size=tokenizer.vocab_size,
    )
    source = source_of()
    steps = run.train.past_steps + run.train.steps
    provenance = {"recipe": recipe or run.model.kind, "steps": steps, "data": dict(source.describe()), **start}

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=paired, provenance=provenance)

    evaluate = None
    if run.train.eval_every is not None:
        measured = objective(replace(run.method, label_dropout=0.0, accuracy=True), model, schedule, True)
        evaluate = _evaluation(measured, models, source_of(split="held_out"), run.evaluation)
    return Job(
        objective=objective(run.method, model, schedule, False),
        models=models,
        source=source,
        save=save,
        evaluate=evaluate,
        identity={"tokenizer": paired, **start},
    )


def _build_model(
    model: ScaleModelConfig, kind: type[M], tokenizer: Loaded, train: TrainConfig
) -> tuple[M, Mapping[str, str]]:
    """Make or load the model of a run.

    Args:
        model: the section.
        kind: its class.
        tokenizer: of the run.
        train: seed of fresh weights, and the steps that the weights of a checkpoint have seen.

    Returns:
        The model in train mode; ``start``, the fingerprint of the checkpoint that it comes from, or nothing.

    Raises:
        ConfigError: the shape is none, or the steps are not those that the weights have seen.
        CheckpointError: a checkpoint is of another kind, or was trained with another tokenizer.
    """
    codes = cast(Tokenizer, tokenizer.model)
    if model.path is None:
        shape = model.shape(vocab_size=codes.vocab_size, code_dim=codes.code_dim)
        made = undrawn(lambda: kind(shape))
        if train.past_steps:
            raise ConfigError(
                f"train.past_steps is {train.past_steps}, and fresh weights have seen no step: give model.path, or drop it"
            )
        made.initialize(torch.Generator().manual_seed(train.seed), gate=model.gate)
        return made.train(), {}
    loaded = load_checkpoint(expand_path(model.path), "generator", dtype=torch.float32)
    if not isinstance(loaded.model, kind):
        raise CheckpointError(
            f"{loaded.path} holds a {loaded.family.kind}, and a {model.kind} is needed: give its folder"
        )
    require_pair(loaded, tokenizer)
    seen = loaded.provenance.get("steps", train.past_steps)
    if train.past_steps not in (0, seen):
        raise ConfigError(
            f"train.past_steps is {train.past_steps}, and the weights in {loaded.path} are those of a run of {seen} steps: give "
            f"{seen} to go on with their schedule, or 0 to begin a new one"
        )
    return loaded.model.train(), {"start": fingerprint(loaded.model)}


def _evaluation(
    objective: ScaleObjective, models: Mapping[str, nn.Module], held_out: CodeSource, config: EvaluationConfig
) -> Callable[[], Mapping[str, float]]:
    """Return what measures the model on held-out pictures, each with its class.

    Args:
        objective: without label dropout.
        models: the model and its tokenizer.
        held_out: the pictures.
        config: how many.

    Returns:
        Gives ``held_out_nll`` in nats per code, and the share of right codes of each grid if the objective reports it.
    """
    samples = list(islice(held_out.once(), config.images))

    def evaluate() -> Mapping[str, float]:
        found = mean_loss(objective, models, samples, batch_size=config.batch_size)
        return {"held_out_nll": found.pop(TERM), **found}

    return evaluate
