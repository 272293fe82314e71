"""Settings of the model section of a run."""

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from ar_core.config import FREE
from ar_core.errors import ConfigError
from ar_core.hf.model_config import LoraConfig, ModelConfig

from .images.config import ImageConfig
from .towers.config import ConnectorConfig, TowerConfig

__all__ = ["Part", "VisionLanguageConfig"]

Part = Literal["tower", "connector", "language"]
"""What of a model can be trained or frozen."""


@dataclass(frozen=True)
class VisionLanguageConfig:
    """Which vision-language model a run starts from: a whole one (`path`), or a language model and a tower put together.

    Raises:
        ConfigError: both or neither are given, or settings of one are given for the other.
    """

    path: str | None = None
    """Route 1: folder or hub id of Qwen2.5-VL or Qwen3-VL, or a checkpoint in any layout that :mod:`dvlm.layouts` reads."""
    language: ModelConfig | None = None
    """Route 2: the language model, any that :func:`ar_core.hf.build_model` takes; with its own dtype, adapters and backend."""
    tower: TowerConfig | None = None
    """Route 2: the vision tower."""
    connector: ConnectorConfig = field(default_factory=ConnectorConfig)
    """Route 2: what lies between them."""
    trained: tuple[Part, ...] = ("tower", "connector", "language")
    """Parts that learn; the others are frozen. Published: all three, but in stage 1 of route 2 the connector alone."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Route 1: dtype of the weights in memory."""
    lora: LoraConfig | None = None
    """Route 1: train adapters on the language part's linear layers instead of its weights."""
    gradient_checkpointing: bool = field(default=False, metadata=FREE)
    """Route 1: recompute activations in the backward pass."""
    attn_backend: str = field(default="auto", metadata=FREE)
    """Route 1: backend of `ar_core.attention.attend`; towers keep their own attention."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.language is None):
            given = "neither" if self.path is None else "both"
            raise ConfigError(
                f"model.path and model.language: {given} was given; give path for a vision-language model, or language and tower"
            )
        if self.path is None and self.tower is None:
            raise ConfigError("model.language is given and model.tower is not: give the vision tower")
        if self.path is not None and (self.tower is not None or self.connector != ConnectorConfig()):
            raise ConfigError("model.tower or model.connector is given beside model.path, which has its own: drop them")
        if self.language is not None:
            plain = {field.name: field.default for field in fields(self)}
            for name in ("dtype", "lora", "gradient_checkpointing", "attn_backend"):
                if getattr(self, name) != plain[name]:
                    raise ConfigError(
                        f"model.{name} is given for a model put together: give it as model.language.{name}"
                    )
        lora = self.lora if self.language is None else self.language.lora
        if lora is not None and "language" not in self.trained:
            raise ConfigError(
                f"lora is given and model.trained is {list(self.trained)}, so that adapters would stay as they are: add language, or drop lora"
            )
        if not self.trained or not set(self.trained) <= set(get_args(Part)):
            raise ConfigError(
                f"model.trained is {list(self.trained)}, but names at least one of {', '.join(get_args(Part))}"
            )

    def require_used(self, images: ImageConfig) -> None:
        """See that the fit of pictures has a use for what is put together.

        Raises:
            ConfigError: a newline vector is to be learnt, and no picture has rows of any resolution.
        """
        if self.connector.newline and images.fit != "anyres":
            raise ConfigError(
                f"model.connector.newline is true and data.images.fit is {images.fit!r}, whose pictures have no rows of any resolution: set "
                "newline to false, or fit to anyres"
            )
