"""Shapes of NSARM's networks (arXiv 2510.00820). The symbols are those of the paper's figure and its code."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ..backbones.infinity.config import PRESETS, InfinityConfig
from ..backbones.infinity.schedules import schedule_of_grid
from ..scales import ScaleSchedule
from ..tokenizers.bsq.config import InputResize
from .layout import Layout

__all__ = ["MapConfig", "MapNorm", "NsarmModelConfig"]

MapNorm: TypeAlias = Literal["map", "channels"]
"""What an output of the network is normalised over: the whole map, or the channels of each place."""


@dataclass(frozen=True)
class MapConfig:
    """The transformation network M, from features of the low-quality (LQ) image to residuals of the first m scales.

    The defaults are those of the published one (Map_Transformer_residual_for8B; 385,103,600 parameters).

    Raises:
        ConfigError: a value is out of range, or sizes do not fit together.
    """

    channels: int = 14
    """d: bits of a latent cell of the tokenizer."""
    grid: int = 32
    """Latent cells along the side of the LQ features; with cells of 8 pixels the LQ image has 256."""
    enlarged: int = 1
    """The LQ image is enlarged so many times (bicubic) before the tokenizer encodes it. 1: published; the upscaling factor (ours): the
    tokenizer sees an image of the size that it was trained on, and M gets as many cells as the result has."""
    sizes: tuple[int, ...] = (2, 4, 8, 12, 16, 24, 32)
    """S_k of each replaced scale: side in latent cells, twice that in tokens with a patchifying tokenizer; m = their number."""
    widths: tuple[int, ...] = (64, 128, 256, 384, 512, 768, 1024)
    """D_s of each scale."""
    layers: tuple[int, ...] = (4, 6, 8, 10, 12, 14, 16)
    """Transformer layers of each scale."""
    heads: tuple[int, ...] = (4, 4, 8, 8, 8, 12, 16)
    """Attention heads of each scale."""
    stem: tuple[int, int] = (64, 128)
    """Channels of the first two convolutions, which all scales share."""
    dropout: float = 0.1
    """Of the transformers."""
    norm: MapNorm = "map"
    """``map``: layer norm over [C, H, W] with weights for every place, published: it is also all that M knows of places.
    ``channels``: the same without places (ours)."""
    positions: bool = False
    """Add sinusoids of row and column to the tokens of every scale (ours)."""
    layout: Layout = "memory"
    """What an output stands for; published weights: ``memory``."""
    skip: bool = False
    """Add the LQ image's own residuals, unquantised, to the outputs, so that a fresh M is the copy of the LQ image (ours; published: no).
    Needs the layout ``spatial`` and ``enlarged`` equal to the upscaling factor."""

    def __post_init__(self) -> None:
        for name in ("sizes", "widths", "layers", "heads", "stem"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {list(getattr(self, name))}; give positive numbers")
        require_positive(self, "channels", "grid", "enlarged")
        counts = {name: len(getattr(self, name)) for name in ("sizes", "widths", "layers", "heads")}
        if len(set(counts.values())) > 1 or len(self.stem) != 2:
            raise ConfigError(f"the map has {counts}: give each of them one entry a replaced scale, and stem two")
        for width, heads in zip(self.widths, self.heads):
            if width % heads or width % 2 or (self.positions and width % 4):
                raise ConfigError(
                    f"a width of the map is {width} with {heads} heads: give an even multiple of the heads, of 4 with positions"
                )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        for name, allowed in (("norm", get_args(MapNorm)), ("layout", get_args(Layout))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(allowed)}")
        if self.skip and self.layout != "spatial":
            raise ConfigError(
                f"map.skip adds what the LQ image has in a place, and outputs of the layout {self.layout} describe no place: give "
                "layout spatial, or leave skip out"
            )

    @property
    def count(self) -> int:
        """m, the replaced scales."""
        return len(self.sizes)


@dataclass(frozen=True)
class NsarmModelConfig:
    """M and the Infinity that writes the scales behind those of M.

    Raises:
        ConfigError: the two do not fit together.
    """

    map: MapConfig = field(default_factory=MapConfig)
    """The transformation network."""
    transformer: InfinityConfig = field(default_factory=lambda: PRESETS["8b"])
    """The generator."""
    factor: int = 4
    """How many times the result is larger than the LQ image, along each side."""
    input_resize: InputResize = "bilinear"
    """How the image so far becomes the input of a scale where decoding does not say otherwise: ``bilinear``, as in training; ``area``,
    as the published decoder does: converted weights have it."""

    def __post_init__(self) -> None:
        require_positive(self, "factor")
        if self.input_resize not in get_args(InputResize):
            raise ConfigError(f"input_resize is {self.input_resize!r}; choose {' or '.join(get_args(InputResize))}")
        own, side = self.map, self.transformer.side
        if own.channels * side**2 != self.transformer.bits:
            raise ConfigError(
                f"map.channels is {own.channels} and the transformer has {self.transformer.bits} bits a token of {side**2} cells: give "
                f"{self.transformer.bits // side**2}"
            )
        if (self.factor * own.grid) % (own.enlarged * side):
            raise ConfigError(
                f"map.grid is {own.grid}, and {self.factor} times as many cells are no whole tokens: give a multiple of "
                f"{own.enlarged * side}"
            )
        if own.skip and own.enlarged != self.factor:
            raise ConfigError(
                f"map.skip needs LQ features of the result's grid, and map.enlarged is {own.enlarged} where results are {self.factor} "
                f"times as large: give enlarged {self.factor}, or leave skip out"
            )
        schedule = self.schedule
        if own.count >= schedule.count:
            raise ConfigError(
                f"map.sizes has {own.count} scales and the schedule {schedule} has {schedule.count}: leave the transformer at least one"
            )
        wanted = [(height * side, width * side) for height, width in schedule.sizes[: own.count]]
        if wanted != [(size, size) for size in own.sizes]:
            raise ConfigError(
                f"map.sizes is {list(own.sizes)} and the first scales of {schedule} have {', '.join(f'{h}x{w}' for h, w in wanted)} "
                "latent cells: give these sides"
            )

    @property
    def schedule(self) -> ScaleSchedule:
        """K scales of the result, in tokens."""
        tokens = self.factor * self.map.grid / (self.map.enlarged * self.transformer.side)
        return schedule_of_grid(tokens, tokens, self.transformer.schedules)

    @property
    def bits(self) -> int:
        """d_v, bits of a token; those of the tokenizer."""
        return self.transformer.bits

    @property
    def patchify(self) -> bool:
        """Whether the tokenizer's tokens are 2x2 latent cells."""
        return self.transformer.patchify

    def low_side(self, downsampling: int) -> int:
        """Side in pixels of the LQ images that M takes.

        Args:
            downsampling: pixels of a token of the tokenizer.
        """
        return self.map.grid * downsampling // (self.transformer.side * self.map.enlarged)
