"""Settings that the commands of vision-language decoding share. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["DecodingOptions"]


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """Which model decodes, and how.

    Raises:
        ConfigError: a value is out of range.
    """

    model: str
    """Folder or hub id: a converted checkpoint in any layout that is read, or an AR base (Qwen2.5-VL, Qwen3-VL)."""
    method: str | None = None
    """`diffusionvl`, for converted checkpoints; for AR ones `ar`, one token a pass, or another decoder of AR models that is installed,
    such as `lookup`. Null: `diffusionvl` for converted checkpoints, else `ar`."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """Settings of the method, e.g. `decoding.strategy=dynamic decoding.threshold=0.8`; see its page. Published code: commit=separate
    and whole_last_block=true."""
    max_new_tokens: int = 128
    """Longest answer, exact. Published: 128; 512 for captions in detail, 1024 for chains of thought."""
    temperature: float = 0.0
    """0 is greedy, as published."""
    top_k: int | None = None
    """Sample among the K most probable tokens; with a temperature above 0."""
    top_p: float | None = None
    """Sample within the nucleus of mass P; likewise."""
    seed: int = 0
    """Of the random streams, one a prompt."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, beside the model's own end tokens."""
    fit: Literal["native", "square", "stretch", "anyres"] | None = None
    """How pictures are fitted; null: as in training. Published evaluation of route 1: `native`."""
    max_pixels: int | None = None
    """Most pixels of a picture, on Qwen-VL towers alone; larger ones are scaled down. Null: as in training."""
    max_images: int | None = None
    """Most images of a prompt; more are refused. Null: as in training, and 16 for a base of the hub."""
    dtype: Literal["stored", "float32", "bfloat16", "float16"] = "stored"
    """Of the weights in memory."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`."""
    engine: str = "plain"
    """How passes over text run: `plain`, `graph` (CUDA graphs) or `compile`; passes that hold images are always plain."""
    batch_size: int = 1
    """Prompts decoded at a time."""

    def __post_init__(self) -> None:
        require_positive(self, "batch_size", "max_new_tokens", "max_pixels", "max_images")
        filters = [name for name in ("top_k", "top_p") if getattr(self, name) is not None]
        if self.temperature == 0 and filters:
            raise ConfigError(
                f"{filters[0]} is given at temperature 0, where the most probable token is taken and no filter matters: drop it, or give a "
                "temperature above 0"
            )
