"""Shape of an ECM: encoder of the control, and adapters in a frozen base. Imports no torch.

The paper's full text could not be read and no code exists: what the abstract and published reviews tell is said to be published, all other
defaults are ours.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["EcmConfig", "EncoderConfig", "EncoderKind", "require_choice"]

EncoderKind = Literal["vit", "conv", "latent", "pixels"]
"""What makes a vector for each token of a control map."""
Resize = Literal["area", "bilinear", "bicubic"]
AdaLn = Literal["shared", "own", "base", "none"]
Gate = Literal["channel", "scalar", "tanh"]
Inject = Literal["carry", "delta"]


def require_choice(name: str, value: object, choices: object) -> None:
    """Refuse a setting that is none of the choices of a Literal.

    Raises:
        ConfigError: names both.
    """
    if value not in get_args(choices):
        raise ConfigError(f"{name} is {value!r}; choose {', '.join(map(str, get_args(choices)))}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """How a control map becomes one vector for each token of each scale.

    Raises:
        ConfigError: a value is out of range.
    """

    kind: EncoderKind = "vit"
    """``vit``: a trained ViT (published), whose map is resized to every scale. ``conv``: CAR's stack of convolutions, run over the map at
    the pixels of each scale. ``latent``: the frozen tokenizer's features of the map (ControlVAR). ``pixels``: the map itself."""
    resize: Resize = "area"
    """How the map reaches the grid of a scale; ``area`` is how VAR forms its inputs."""
    patch: int = 16
    """``vit``: side of a patch, in pixels. ViT-S/16 at 256 px is our guess at the published size."""
    depth: int = 12
    """``vit``: blocks."""
    width: int = 384
    """``vit``: width."""
    heads: int = 6
    """``vit``: attention heads."""
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """``conv``: channels of the first level and behind each of the stages that halve the side (CAR: four, for 16 pixels a code)."""

    def __post_init__(self) -> None:
        require_choice("kind", self.kind, EncoderKind)
        require_choice("resize", self.resize, Resize)
        require_positive(self, "patch", "depth", "width", "heads")
        if self.width % self.heads:
            raise ConfigError(
                f"heads is {self.heads}, which does not divide the width {self.width}: choose a divisor of the width"
            )
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(f"channels is {list(self.channels)}; give at least one positive number")


@dataclass(frozen=True, kw_only=True)
class EcmConfig:
    """Adapters of ECM (arXiv 2510.05610): published are that there are several over the depth of the base, each with attention of its own
    over image and control tokens together, and that they share one feed-forward layer through gates of their own.

    Raises:
        ConfigError: a value is out of range, or positions are none.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """From control maps to features r."""
    n_adapters: int | None = None
    """N; null: as many as ``positions``, or one for every four blocks."""
    positions: tuple[int, ...] | None = None
    """l_j: blocks of the base in front of which adapters act, from 0; null: evenly spread from 0 on (d16, N = 4: 0, 4, 8, 12)."""
    context: bool = True
    """Adapters see image and control tokens, u = h + c (published); false: control tokens alone, u = c."""
    share_ffn: bool = True
    """One feed-forward layer for all adapters (published); false: one each."""
    ffn_ratio: int = 4
    """Width of the feed-forward layer in units of C."""
    adaln: AdaLn = "shared"
    """Where the modulation of the adapters' layer norms comes from. ``shared``: one linear layer and an offset each. ``own``: a linear
    layer each. ``base``: the base's own shared modulation, which stays frozen, and an offset each. ``none``: plain layer norms."""
    gate: Gate = "channel"
    """Form of g_j, at 0 before training: one number a channel, one number, or the tanh of one a channel."""
    inject: Inject = "carry"
    """What g_j scales: ``carry``, the control state c_j; ``delta``, what the adapter has changed in it."""
    init_from_base: bool = False
    """Adapters begin with the weights of the block that they stand in front of, as far as shapes allow; false: as VAR begins."""

    def __post_init__(self) -> None:
        require_positive(self, "n_adapters", "ffn_ratio")
        require_choice("adaln", self.adaln, AdaLn)
        require_choice("gate", self.gate, Gate)
        require_choice("inject", self.inject, Inject)
        if self.positions is None:
            return
        if not self.positions or self.positions[0] < 0 or list(self.positions) != sorted(set(self.positions)):
            raise ConfigError(f"positions are {list(self.positions)}; give increasing numbers of blocks, from 0")
        if self.n_adapters not in (None, len(self.positions)):
            raise ConfigError(
                f"n_adapters is {self.n_adapters} and there are {len(self.positions)} positions: give one of the two"
            )

    def placed(self, depth: int) -> tuple[int, ...]:
        """Return l_j of every adapter in a base of so many blocks.

        Raises:
            ConfigError: there are more adapters than blocks, or one behind the last block.
        """
        count = self.n_adapters or max(1, depth // 4)
        positions = self.positions or tuple(j * depth // count for j in range(count))
        if len(set(positions)) < count or positions[-1] >= depth:
            raise ConfigError(
                f"{count} adapters at {list(positions)} were asked for in a base of {depth} blocks: give at most one for each block, "
                f"at 0 to {depth - 1}"
            )
        return positions
