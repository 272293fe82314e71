"""Shapes of the students. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..backbones.llamagen.config import LlamaGenConfig
from ..backbones.var.config import VarConfig

__all__ = [
    "LlamaGenGuessStudentConfig",
    "LlamaGenStudentConfig",
    "NoiseDataEmbedding",
    "VarGuessStudentConfig",
    "VarStudentConfig",
]


@dataclass(frozen=True)
class NoiseDataEmbedding:
    """Where the network is told which of its inputs are noise.

    Raises:
        ConfigError: it is told nowhere.
    """

    input: bool = True
    """Added to what enters the first layer; both published students."""
    layerwise: bool = True
    """Added, through a linear layer for each, inside every layer and in front of the heads; the published VAR student."""

    def __post_init__(self) -> None:
        if not (self.input or self.layerwise):
            raise ConfigError(
                "noise_data_embed has neither input nor layerwise: the student needs to know what is noise"
            )


@dataclass(frozen=True, kw_only=True)
class VarStudentConfig(VarConfig):
    """Shape of a VAR student: that of its teacher, whose scales stand behind one more token, the class.

    Raises:
        ConfigError: a value is out of range.
    """

    noise_data_embed: NoiseDataEmbedding = field(default_factory=NoiseDataEmbedding)
    """Where it is told what is noise."""
    timesteps: tuple[int, ...] = (0,)
    """t of its training: numbers of scales that are clean at the input, ascending from 0; what several passes should be asked for with."""
    split: int = 10
    """The first so many scales are read off the logits, the rest off the continuous head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "timesteps", _checked(self.timesteps, self.split, len(self.scales), "scales"))


@dataclass(frozen=True)
class LlamaGenStudentConfig(LlamaGenConfig):
    """Shape of a LlamaGen student: that of its teacher, with code vectors in the place of codes at the input, and no dropout.

    Raises:
        ConfigError: a value is out of range.
    """

    token_dropout: float = 0.0
    """None in students."""
    residual_dropout: float = 0.0
    """None in students."""
    ffn_dropout: float = 0.0
    """None in students."""
    code_dim: int = 8
    """Cv."""
    noise_data_embed: NoiseDataEmbedding = field(default_factory=lambda: NoiseDataEmbedding(layerwise=False))
    """Where it is told what is noise."""
    timesteps: tuple[int, ...] = (0,)
    """t of its training: numbers of codes that are clean at the input, ascending from 0; what several passes should be asked for with."""
    split: int = 256
    """The first so many codes are read off the logits, the rest off the continuous head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "code_dim")
        object.__setattr__(self, "timesteps", _checked(self.timesteps, self.split, self.codes, "codes"))


@dataclass(frozen=True, kw_only=True)
class VarGuessStudentConfig(VarStudentConfig):
    """Shape of a VAR student that is fed like its teacher (ours).

    Raises:
        ConfigError: a value is out of range.
    """

    noise_data_embed: NoiseDataEmbedding = field(default_factory=lambda: NoiseDataEmbedding(layerwise=False))
    """Where it is told what is noise."""
    num_phis: int = 4
    """Convolutions that the tokenizer refines upsampled codes by."""
    phi_ratio: float = 0.5
    """Their part."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_phis")


@dataclass(frozen=True)
class LlamaGenGuessStudentConfig(LlamaGenStudentConfig):
    """Shape of a LlamaGen student that is fed like its teacher (ours).

    Raises:
        ConfigError: a value is out of range.
    """


def _checked(timesteps: tuple[int, ...], split: int, count: int, what: str) -> tuple[int, ...]:
    steps = tuple(timesteps)
    if not steps or steps[0] != 0 or list(steps) != sorted(set(steps)) or steps[-1] >= count:
        raise ConfigError(
            f"timesteps are {list(steps)}; give 0 and, ascending, further numbers of {what} below {count}, such as [0, 5]"
        )
    if not 0 <= split <= count:
        raise ConfigError(f"split is {split} and there are {count} {what}: give 0 to {count}")
    return steps
