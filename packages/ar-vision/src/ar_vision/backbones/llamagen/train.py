"""From a run's config to a training job: a LlamaGen from scratch, on codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.training import Job, TrainConfig, mean_loss
from torch import nn

from ...checkpoint import fingerprint, load_checkpoint, require_codebook, save_checkpoint
from ...construction import undrawn
from ...data.codes.config import CodeDataConfig
from ...data.codes.source import CodeSource, build_code_source
from ...held_out import EvaluationConfig
from ...scales import ScaleSchedule
from ...text.captions import ENCODER
from ...text.encoder import TextEncoder, build_text_encoder
from ..generated_codes import GeneratedCodes, GeneratedSource
from .config import LlamaGenConfig, LlamaGenTraining
from .model import LlamaGen
from .objective import TERM, LlamaGenObjective

__all__ = ["LlamaGenData", "LlamaGenRun", "build", "held_out_nll", "source_of"]


@dataclass(frozen=True)
class LlamaGenData:
    """Where codes come from: stored ones, or a law that needs no data; one of the two.

    Raises:
        ConfigError: none or both are given.
    """

    codes: CodeDataConfig | None = None
    """What the recipe `image_codes` made with the tokenizer of the run, or LlamaGen's published layout."""
    generated: GeneratedCodes | None = None
    """Codes of a known law."""

    def __post_init__(self) -> None:
        if (self.codes is None) == (self.generated is None):
            given = "neither" if self.codes is None else "both"
            raise ConfigError(f"of codes and generated, {given} was given; give exactly one of the two")


@dataclass(frozen=True)
class LlamaGenRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: LlamaGenConfig
    """What is trained, from fresh weights."""
    data: LlamaGenData
    """What it is trained on."""
    tokenizer: str | None = None
    """Checkpoint folder of the tokenizer that made the codes; the model's checkpoint names it. Not for generated codes."""
    text_encoder: str | None = None
    """Folder, or hub name, of the T5 that makes features of captions, for a model of texts on stored codes whose `text_encoder` is not
    hashed."""
    method: LlamaGenTraining = field(default_factory=LlamaGenTraining)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements: `held_out_nll`, nats per code."""

    def __post_init__(self) -> None:
        if (self.data.codes is None) != (self.tokenizer is None):
            change = "leave tokenizer out" if self.data.codes is None else "give tokenizer, its checkpoint folder"
            raise ConfigError(f"stored codes belong to a tokenizer, and generated ones to none: {change}")
        if self.text_encoder is not None and (self.data.codes is None or self.model.condition == "class"):
            raise ConfigError(
                f"text_encoder is {self.text_encoder!r} and there are no captions to encode, which only a model of texts on stored "
                "codes has: leave it out"
            )


def build(run: LlamaGenRun) -> Job:
    """Make the model, open the data.

    Raises:
        ConfigError: the tokenizer has another number of codes than the model, or the data cannot condition it.
        ArError: as opening the data and the tokenizer does.
    """
    model = undrawn(lambda: LlamaGen(run.model))
    model.initialize(SampleRng(run.train.seed).row(0, "weights"))
    made_by = _tokenizer(run)
    source = source_of(run.data, run.model, run.train.seed, made_by, "train")
    captioned = run.model.condition == "text" and run.data.codes is not None
    text = build_text_encoder(run.model.texts, run.text_encoder) if captioned else None
    provenance: dict[str, Any] = {"recipe": "llamagen", "data": dict(source.describe())}
    if captioned:
        provenance["text_encoder"] = run.text_encoder

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, tokenizer=made_by, provenance=provenance)

    evaluate = None
    if run.train.eval_every is not None:
        rest = source_of(run.data, run.model, run.train.seed, made_by, "held_out")
        held_out = list(islice(rest.once(), run.evaluation.images))

        def evaluate() -> Mapping[str, float]:
            return {"held_out_nll": held_out_nll(model, held_out, text=text, batch_size=run.evaluation.batch_size)}

    return Job(
        objective=LlamaGenObjective(run.model, run.method, text),
        models=_models(model, text),
        source=source,
        save=save,
        evaluate=evaluate,
        identity={"text_encoder": run.text_encoder},
    )


def held_out_nll(
    model: LlamaGen, samples: list[Any], *, text: TextEncoder | None = None, batch_size: int = 32
) -> float:
    """Negative log-likelihood in nats per code, each image under its own condition: none is ever dropped.

    Args:
        model: in eval mode.
        samples: as the objective takes them.
        text: encoder of their captions, where they have any.
        batch_size: images of a forward pass; memory only.
    """
    objective = LlamaGenObjective(model.config, replace(LlamaGenTraining(), condition_dropout=0.0), text)
    return mean_loss(objective, _models(model, text), samples, batch_size=batch_size)[TERM]


def _models(model: LlamaGen, text: TextEncoder | None) -> dict[str, nn.Module]:
    return {"model": model} if text is None else {"model": model, ENCODER: cast(nn.Module, text)}


def _tokenizer(run: LlamaGenRun) -> str | None:
    """Fingerprint of the run's tokenizer."""
    if run.tokenizer is None:
        return None
    loaded = load_checkpoint(expand_path(run.tokenizer), "tokenizer")
    require_codebook(loaded)
    tokenizer = loaded.model
    if tokenizer.vocab_size != run.model.vocab_size:
        raise ConfigError(
            f"model.vocab_size is {run.model.vocab_size} and the tokenizer {run.tokenizer!r} has {tokenizer.vocab_size} codes: "
            f"set it to {tokenizer.vocab_size}"
        )
    return fingerprint(tokenizer)


def source_of(
    data: LlamaGenData, model: LlamaGenConfig, seed: int, made_by: str | None, split: Literal["train", "held_out"]
) -> CodeSource | GeneratedSource:
    """Open the samples of a run.

    Args:
        data: stored codes, or generated ones.
        model: whose grid and number of codes they must have.
        seed: of the order.
        made_by: fingerprint of the tokenizer of stored codes.
        split: those to train on, or those held out.

    Raises:
        DataError: the codes do not fit the model.
        ArError: as opening them does.
    """
    of_text = model.condition == "text"
    if data.codes is None:
        assert data.generated is not None
        return GeneratedSource(
            data.generated,
            classes=model.num_classes,
            length=model.codes,
            vocab_size=model.vocab_size,
            split=split,
            seed=seed,
            text=(model.text_tokens, model.text_dim) if of_text else None,
        )
    assert made_by is not None
    source = build_code_source(
        data.codes,
        seed=seed,
        tokenizer=made_by,
        schedule=ScaleSchedule.square(model.grid),
        split=split,
        num_classes=None if of_text else model.num_classes,
        vocab_size=model.vocab_size,
    )
    if of_text and not source.stored.captioned:
        raise DataError(
            f"model.condition is text and the codes in {data.codes.path!r} have no captions: encode pictures that have some, or "
            "set it to class"
        )
    return source
