"""What the training runs of VAR and FlexVAR share: sections of their configs, and the parts of their jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import resolve
from ar_core.training import mean_loss
from torch import nn

from ...checkpoint import Loaded, fingerprint, load_checkpoint, require_pair, save_checkpoint
from ...data.codes.source import CodeSource
from ...families import FAMILIES
from ...tokenizers.tokenizer import Tokenizer
from .decode import require_fit
from .model import ScaleTransformer
from .objective import TERM, ScaleObjective

__all__ = ["EvaluationConfig", "ScaleModelConfig", "build_model", "evaluation", "load_tokenizer", "saver"]

M = TypeVar("M", bound=ScaleTransformer)


@dataclass(frozen=True)
class ScaleModelConfig:
    """What is trained: fresh weights or a checkpoint.

    Raises:
        ConfigError: both or neither are given, or the shape is none.
    """

    kind: ClassVar[str]

    scratch: dict[str, Any] | None = None
    """Shape of a model with fresh weights; number and dimension of the codes are the tokenizer's."""
    path: str | None = None
    """Folder of a checkpoint whose weights training starts from; ``~`` and ``$NAME`` are expanded."""
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


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured every `train.eval_every` steps, on pictures that are not trained on.

    Raises:
        ConfigError: a value is out of range.
    """

    images: int = 512
    """How many, the first ones of the held-out split; fewer if there are fewer."""
    batch_size: int = 32
    """Of a forward pass; memory only."""

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1: give a positive integer")


def load_tokenizer(path: str) -> tuple[Loaded, Tokenizer]:
    """Load the frozen tokenizer of a run, as a checkpoint and as a tokenizer.

    Raises:
        CheckpointError: as loading does.
    """
    loaded = load_checkpoint(expand_path(path), "tokenizer")
    return loaded, cast(Tokenizer, loaded.model)


def build_model(model: ScaleModelConfig, kind: type[M], tokenizer: Loaded, *, seed: int) -> M:
    """Make or load the model of a run, in train mode.

    Args:
        model: the section.
        kind: its class.
        tokenizer: of the run.
        seed: of fresh weights.

    Raises:
        ConfigError: the shape is none.
        CheckpointError: a checkpoint is of another kind, or was trained with another tokenizer.
    """
    codes = cast(Tokenizer, tokenizer.model)
    if model.path is None:
        made = kind(model.shape(vocab_size=codes.vocab_size, code_dim=codes.code_dim))
        made.initialize(torch.Generator().manual_seed(seed), gate=model.gate)
        return made.train()
    loaded = load_checkpoint(expand_path(model.path), "generator")
    if not isinstance(loaded.model, kind):
        raise CheckpointError(
            f"{loaded.path} holds a {loaded.family.kind}, and a {model.kind} is needed: give its folder"
        )
    require_pair(loaded, tokenizer)
    require_fit(loaded.model, codes)
    return loaded.model.train()


def saver(model: nn.Module, tokenizer: Loaded, **provenance: Any) -> Callable[[Path], None]:
    """Return what writes the trained model with the fingerprint of its tokenizer and facts about its origin."""
    paired = fingerprint(tokenizer.model)
    return lambda directory: save_checkpoint(directory, model, tokenizer=paired, provenance=provenance)


def evaluation(
    objective: ScaleObjective, models: Mapping[str, nn.Module], held_out: CodeSource, config: EvaluationConfig
) -> Callable[[], Mapping[str, float]]:
    """Return what measures the model on held-out pictures, each with its class.

    Args:
        objective: without label dropout.
        models: the model and its tokenizer.
        held_out: the pictures.
        config: how many.

    Returns:
        Gives ``nll`` in nats per code, and the share of right codes of each grid if the objective reports it.
    """
    samples = list(islice(held_out.once(), config.images))

    def evaluate() -> Mapping[str, float]:
        found = mean_loss(objective, models, samples, batch_size=config.batch_size)
        return {"nll": found.pop(TERM), **found}

    return evaluate
