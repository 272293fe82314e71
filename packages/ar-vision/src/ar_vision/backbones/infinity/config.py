"""Shape of an Infinity transformer, and the published sizes."""

from dataclasses import dataclass
from typing import get_args

from ar_core.config import require_positive
from ar_core.errors import ConfigError

from ...scales import ScaleSchedule
from ...text.config import TextEncoderName, TextShape

__all__ = ["CHUNKS", "PRESETS", "InfinityConfig"]

LEVELS = 15
"""Rows of the table of scale embeddings, in all published weights."""


@dataclass(frozen=True)
class InfinityConfig:
    """The transformer; names of the paper and its code behind each setting.

    Raises:
        ConfigError: a value is out of range, or sizes do not divide.
    """

    depth: int = 12
    """Blocks."""
    width: int = 768
    """C, also the width of the condition (embed_dim)."""
    heads: int = 8
    """H; C / H must be a multiple of 4, for rows and columns in pairs."""
    hidden: int | None = None
    """Width inside the feed-forward; null: 4 C, rounded to a multiple of 256 as published."""
    bits: int = 32
    """d_v: bits of a token; those of the tokenizer."""
    patchify: bool = False
    """Whether the tokenizer's tokens are 2x2 latent cells (spatial patchify, p)."""
    text_width: int = 2048
    """Ct: width of the text features; flan-t5-xl: 2048."""
    text_length: int = 512
    """Most tokens of a text, and rows of the learned unconditional text (cfg_uncond)."""
    text_encoder: TextEncoderName = "t5"
    """What the text features are."""
    pool_heads: int | None = None
    """Heads of the pooling that makes the condition; null: Ct / 128, or Ct / 64 where C is above 4096, as published."""
    schedules: tuple[tuple[tuple[int, int], ...], ...] | None = None
    """Lists of scales (h_k, w_k) that it is trained on; a generation may use the first scales of one. null: the published fifteen."""

    def __post_init__(self) -> None:
        require_positive(self, "depth", "width", "heads", "bits", "text_width", "text_length")
        if self.width % (4 * self.heads):
            raise ConfigError(
                f"width is {self.width} and heads {self.heads}: the width of a head must be a multiple of 4, choose a width "
                f"that is a multiple of {4 * self.heads}"
            )
        if self.pooling_heads < 1 or self.width % self.pooling_heads:
            raise ConfigError(
                f"{self.pooling_heads} pooling heads do not divide the width {self.width}: set pool_heads to a divisor"
            )
        if self.patchify and self.bits % 4:
            raise ConfigError(f"bits is {self.bits}; with patchify a token has four latent cells, give a multiple of 4")
        require_positive(self, "hidden")
        if self.text_encoder not in get_args(TextEncoderName):
            raise ConfigError(f"text_encoder is {self.text_encoder!r}; choose t5 or hashed")
        if self.schedules is not None:
            own = tuple(tuple((h, w) for h, w in sizes) for sizes in self.schedules)
            object.__setattr__(self, "schedules", own)
            if not own:
                raise ConfigError(
                    "schedules is empty; give at least one list of scales, or null for the published ones"
                )
            for sizes in own:
                if ScaleSchedule(sizes).count > LEVELS:
                    raise ConfigError(f"a list of {len(sizes)} scales was given; there may be {LEVELS} at most")

    @property
    def feed_forward(self) -> int:
        """Width inside the feed-forward."""
        # Python rounds halves to even: 8192, not 8448, for a width of 2080, and so do the published weights.
        return max(1, round(4 * self.width / 256)) * 256 if self.hidden is None else self.hidden

    @property
    def pooling_heads(self) -> int:
        """Heads of the attention that makes one vector of a text: given, else one for 128 of its features, for 64 in a model wider than 4096."""
        if self.pool_heads is not None:
            return self.pool_heads
        return max(1, self.text_width // (64 if self.width > 4096 else 128))

    @property
    def texts(self) -> TextShape:
        """Texts that the model takes."""
        return TextShape(self.text_encoder, self.text_width, self.text_length)

    @property
    def side(self) -> int:
        """Latent cells along the side of a token."""
        return 2 if self.patchify else 1


PRESETS = {
    "layer12": InfinityConfig(12, 768, 8),
    "layer16": InfinityConfig(16, 1152, 12),
    "layer24": InfinityConfig(24, 1536, 16),
    "layer32": InfinityConfig(32, 2080, 20),
    "layer40": InfinityConfig(40, 2688, 24),
    "layer48": InfinityConfig(48, 3360, 28),
    "2b": InfinityConfig(32, 2048, 16),
    "8b": InfinityConfig(40, 3584, 28, bits=56, patchify=True),
}
"""Sizes of the published code. Weights were released of 2b (tokenizer ``infinity_vae_d32_reg``) and of 8b
(``infinity_vae_d56_f8_14_patchify``); "layer12" is called 125M."""

CHUNKS = {**dict.fromkeys(("layer12", "layer16", "layer24", "layer32", "layer40", "layer48"), 4), "2b": 8, "8b": 8}
"""Groups of blocks in the names of published weights, which mean nothing else."""
