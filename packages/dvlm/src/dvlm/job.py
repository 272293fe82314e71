"""What the recipes of this package share: from the sections of a run to a job."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ar_core.errors import ConfigError
from ar_core.training import EvaluationConfig, Job, Objective, TrainConfig
from torch import nn
from transformers import PreTrainedTokenizerBase

from .chat.encode import ChatEncoder
from .data.config import VisionTextDataConfig
from .data.source import build_conversation_source
from .held_out import held_out_loss
from .images.processor import require_read
from .layouts.save import save_vision_language
from .model import VisionLanguageModel
from .settings import Settings

__all__ = ["vision_language_job"]


def vision_language_job(
    objective: Objective,
    model: VisionLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    encoder: ChatEncoder,
    settings: Settings,
    *,
    data: VisionTextDataConfig,
    train: TrainConfig,
    evaluation: EvaluationConfig,
    supervise_template: bool,
    measured: Objective | None = None,
) -> Job:
    """Open the data and say how the model is saved and measured.

    Args:
        objective: the method's.
        model: in train mode.
        tokenizer: saved with it.
        encoder: of conversations.
        settings: saved with it.
        data: the data section.
        train: the training section.
        evaluation: the evaluation section.
        supervise_template: labels, see :class:`dvlm.chat.encode.ChatEncoder`.
        measured: whose terms are measured on held-out data; None: those of `objective`.

    Raises:
        ConfigError: the fit of pictures does not suit the tower, or a setting of theirs is not read with it, samples may be longer than the model's context, a frozen tower has a
            learning rate, or three-part positions are asked of a model that has none.
        DataError: the data cannot be read.
    """
    rows, context = model.backbone.vocab_size, model.backbone.context_length
    largest = max(tokenizer.get_vocab().values())
    if largest >= model.base_language.get_input_embeddings().num_embeddings:
        raise ConfigError(
            f"the tokenizer has ids up to {largest} and the model embeds only {rows} tokens: give a model with at least {largest + 1} "
            "embeddings, or its own tokenizer"
        )
    if data.max_length > context:
        raise ConfigError(
            f"data.max_length is {data.max_length} and the model's context only {context}: set max_length to {context} or less"
        )
    if settings.mrope and not model.takes_mrope:
        raise ConfigError("method.mrope is true and the language model has no three-part positions: set it to false")
    learns = any(parameter.requires_grad for parameter in model.tower.parameters())
    if any("tower" in player.model_lrs for player in objective.players()) and not learns:
        raise ConfigError(
            "method.tower_lr is given and the tower is frozen: add tower to model.trained, or set tower_lr to null"
        )
    processor = model.processor(data.images)
    require_read(processor)
    source_of = partial(
        build_conversation_source,
        data,
        encoder,
        processor,
        supervise_template=supervise_template,
        seed=train.seed,
        batch_size=train.batch_size,
    )

    def save(directory: Path) -> None:
        save_vision_language(model, directory, settings, tokenizer=tokenizer)

    evaluate = None
    if train.eval_every is not None:
        evaluate = held_out_loss(measured or objective, model, source_of(split="held_out"), evaluation)
    parts: Mapping[str, nn.Module] = {"connector": model.connector, "tower": model.tower, "model": model}
    named = {name for player in objective.players() for name in player.models}
    return Job(
        objective=objective,
        models={name: part for name, part in parts.items() if name in named},
        source=source_of(),
        save=save,
        evaluate=evaluate,
    )
