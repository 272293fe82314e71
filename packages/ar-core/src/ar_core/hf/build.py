"""From the model section of a run to a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from ar_core.errors import ConfigError, MissingPackageError
from ar_core.hf.attention import IMPLEMENTATION, register, use_backend
from ar_core.hf.cast import cast_weights
from ar_core.hf.first_layers import first_layers
from ar_core.hf.load import LoadedModel, load_causal_lm
from ar_core.hf.model_config import LlamaScratch, LoraConfig, ModelConfig
from ar_core.hf.nf4 import quantize_nf4
from ar_core.shapes_only import allocating, only_shapes

__all__ = ["add_lora", "build_model", "enable_checkpointing", "seeded"]


def build_model(
    config: ModelConfig,
    *,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: torch.device | str = "cpu",
) -> LoadedModel:
    """Load or make the model of a run, in train mode.

    Args:
        config: the model section.
        seed: decides fresh weights and fresh adapters; the global generator is left as it was.
        tokenizer: gives a scratch model its vocabulary size, if its config leaves that open.
        device: where the model goes.

    Raises:
        ConfigError: a scratch model has no vocabulary size, or a checkpoint fewer layers than are to be kept.
        CheckpointError, UnsupportedModelError: as `load_causal_lm`.
        BackendError: there is no attention backend of that name.
        MissingPackageError: LoRA is asked for and peft is not installed, or 4 bits and torchao is not.
        UnsupportedModelError: also if no layer can be stored in 4 bits.
    """
    dtype = getattr(torch, config.dtype)
    if config.path is not None:
        loaded = load_causal_lm(config.path, dtype=dtype, device=device)
        model, tokenizer = loaded.model, loaded.tokenizer or tokenizer
        source, revision = loaded.source, loaded.revision
        if config.layers is not None:
            model = first_layers(model, config.layers)
    else:
        assert config.scratch is not None
        model = _from_scratch(config.scratch, seed, tokenizer)
        cast_weights(model, dtype)
        if not only_shapes():
            nn.Module.to(model, device)
        source, revision = "scratch", None
    use_backend(model, config.attn_backend)
    if config.gradient_checkpointing:
        enable_checkpointing(model)
    if config.quantization is not None:
        quantize_nf4(model)
    if config.lora is not None:
        model = add_lora(model, config.lora, seed)
    return LoadedModel(model.train(), tokenizer, source, revision)


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Recompute activations in the backward pass."""
    # Renamed in transformers 5.24; the old name warns there.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _from_scratch(scratch: LlamaScratch, seed: int, tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedModel:
    vocab = scratch.vocab if scratch.vocab is not None else (len(tokenizer) if tokenizer is not None else None)
    if vocab is None:
        raise ConfigError("model.scratch.vocab is not given and the data has no tokenizer; give the vocabulary size.")
    register()
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=scratch.hidden,
        num_hidden_layers=scratch.layers,
        num_attention_heads=scratch.heads,
        num_key_value_heads=scratch.kv_heads,
        intermediate_size=scratch.intermediate,
        max_position_embeddings=scratch.context,
        rope_parameters={"rope_type": "default", "rope_theta": scratch.rope_theta},
        initializer_range=scratch.init_std,
        tie_word_embeddings=scratch.tie,
        pad_token_id=getattr(tokenizer, "pad_token_id", None),
        bos_token_id=getattr(tokenizer, "bos_token_id", None),
        eos_token_id=getattr(tokenizer, "eos_token_id", None),
        attn_implementation=IMPLEMENTATION,  # type: ignore[call-arg]  # a keyword of from_config that transformers does not declare
    )
    with seeded(seed), allocating():
        return LlamaForCausalLM(config)


def add_lora(
    model: PreTrainedModel, lora: LoraConfig, seed: int, targets: str | list[str] = "all-linear"
) -> PreTrainedModel:
    """Put low-rank adapters on a model's linear layers; all else is frozen.

    Args:
        model: a transformers causal LM; changed in place.
        lora: rank and scale.
        seed: of the fresh adapters; the global generator is left as it was.
        targets: names of the linear layers; all but the head if not given.

    Raises:
        MissingPackageError: peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingPackageError(
            "model.lora needs peft, which is not installed: pip install 'ar-core[train]'."
        ) from error
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
    )
    with seeded(seed), allocating():
        return cast(PreTrainedModel, peft.get_peft_model(model, settings))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialisers of transformers and peft draw from the global generator: seed it inside, and put it back."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
