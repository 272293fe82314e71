"""The model of a training run together with the tokenizer that its data need."""

from ar_core.data import TextDataConfig, find_task
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig, build_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["build_text_model"]


def build_text_model(
    model: ModelConfig, data: TextDataConfig, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load or make the model; a task brings the tokenizer of models that have none.

    Args:
        model: the model section of the run.
        data: its data section.
        seed: of fresh weights and adapters.

    Raises:
        ConfigError: there is no tokenizer or one with more ids than the model embeds, or rows are longer than the model's
            context.
        ArError: as loading the model does.
    """
    loaded = build_model(
        model, seed=seed, tokenizer=find_task(data.task).tokenizer() if data.task is not None else None
    )
    if loaded.tokenizer is None:
        raise ConfigError(
            f"the model {loaded.source!r} comes without a tokenizer, which data of kind {data.kind!r} need: add "
            "tokenizer.json to its folder"
        )
    context = loaded.model.config.get_text_config().max_position_embeddings
    if data.seq_len > context:
        raise ConfigError(
            f"data.seq_len is {data.seq_len} and the model's context only {context}: set seq_len to {context} or less"
        )
    largest = max(loaded.tokenizer.get_vocab().values())
    embeddings = loaded.model.config.get_text_config().vocab_size
    if largest >= embeddings:
        raise ConfigError(
            f"the tokenizer has ids up to {largest} and the model embeds only {embeddings}: give a model with at least "
            f"{largest + 1} embeddings, or its own tokenizer"
        )
    return loaded.model, loaded.tokenizer
