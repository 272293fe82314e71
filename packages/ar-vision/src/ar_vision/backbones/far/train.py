"""From a run's config to a training job: a FAR from scratch, on pairs of codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig, mean_loss

from ...checkpoint import fingerprint, load_checkpoint, require_pairs, save_checkpoint
from ...construction import undrawn
from ...held_out import EvaluationConfig
from ..llamagen.config import LlamaGenTraining
from ..llamagen.train import LlamaGenData, source_of
from .config import FarConfig
from .model import Far
from .objective import TERMS, FarObjective

__all__ = ["FarRun", "build", "held_out_nll"]


@dataclass(frozen=True)
class FarRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: FarConfig
    """What is trained, from fresh weights."""
    data: LlamaGenData
    """What it is trained on: pairs that `image_codes` made with the tokenizer of the run, or generated ones."""
    tokenizer: str | None = None
    """Checkpoint folder of the tokenizer that made the codes, a dual_vq; the model's checkpoint names it. Not for generated codes."""
    method: LlamaGenTraining = field(default_factory=LlamaGenTraining)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements: `held_out_nll`, nats per code, and those of each codebook."""

    def __post_init__(self) -> None:
        if (self.data.codes is None) != (self.tokenizer is None):
            change = "leave tokenizer out" if self.data.codes is None else "give tokenizer, its checkpoint folder"
            raise ConfigError(f"stored codes belong to a tokenizer, and generated ones to none: {change}")


def build(run: FarRun) -> Job:
    """Make the model, open the data.

    Raises:
        ConfigError: the tokenizer has codebooks of other sizes than the model.
        ArError: as opening the data and the tokenizer does.
    """
    model = undrawn(lambda: Far(run.model))
    model.initialize(SampleRng(run.train.seed).row(0, "weights"))
    made_by, shape, seed = _tokenizer(run), run.model.trunk, run.train.seed
    source = source_of(run.data, shape, seed, made_by, "train")
    provenance: dict[str, Any] = {"recipe": "far", "data": dict(source.describe())}

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=made_by, provenance=provenance)

    evaluate = None
    if run.train.eval_every is not None:
        rest = source_of(run.data, shape, seed, made_by, "held_out")
        held_out = list(islice(rest.once(), run.evaluation.images))

        def evaluate() -> Mapping[str, float]:
            return held_out_nll(model, held_out, batch_size=run.evaluation.batch_size)

    return Job(
        objective=FarObjective(run.model, run.method),
        models={"model": model},
        source=source,
        save=save,
        evaluate=evaluate,
    )


def held_out_nll(model: Far, samples: list[Any], *, batch_size: int = 32) -> dict[str, float]:
    """Return the negative log-likelihood in nats per code, each image under its own class.

    Args:
        model: in eval mode.
        samples: as the objective takes them.
        batch_size: images of a forward pass; memory only.

    Returns:
        `held_out_nll`, the mean over both codebooks, and `held_out_first_code`, `held_out_second_code`.
    """
    objective = FarObjective(model.config, replace(LlamaGenTraining(), condition_dropout=0.0))
    found = mean_loss(objective, {"model": model}, samples, batch_size=batch_size)
    parts = {f"held_out_{term}": found[term] for term in TERMS}
    return {"held_out_nll": sum(parts.values()) / 2, **parts}


def _tokenizer(run: FarRun) -> str | None:
    """Fingerprint of the run's tokenizer."""
    if run.tokenizer is None:
        return None
    loaded = load_checkpoint(expand_path(run.tokenizer), "tokenizer")
    require_pairs(loaded)
    model: Any = loaded.model
    sizes = tuple(model.vocab_sizes)
    if sizes != tuple(run.model.vocab_sizes):
        raise ConfigError(
            f"model.vocab_sizes is {list(run.model.vocab_sizes)} and the tokenizer {run.tokenizer!r} has {list(sizes)} codes: set it "
            f"to {list(sizes)}"
        )
    return fingerprint(loaded.model)
