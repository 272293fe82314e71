"""Hyperparameters of Fast-dLLM v2 (arXiv 2509.26328), under the paper's symbols."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive, require_types
from ar_core.errors import ConfigError

__all__ = ["FastDLLMv2Config"]


@dataclass(frozen=True)
class FastDLLMv2Config:
    """What is particular to the method; model, data and optimiser have their own sections.

    Where the paper, its published code and good sense differ, a named option decides. All published choices
    together: `document_mask=False, document_positions=False, views="stacked", reference_padding=True` (the
    others are published as they stand), and `packing: reference` in the data section.

    Raises:
        ConfigError: a value is out of range or two contradict each other.
    """

    diffusion_block_size: int = 32
    """D (`bd_size` in published checkpoints): tokens denoised together. Paper section 4: 32."""

    sub_block_size: int = field(default=8, metadata=FREE)
    """S: tokens of a block that may be accepted at a time when decoding; divides D. Paper section 4: 8.
    Training does not use it; it is stored with the checkpoint as the decoder's default."""

    min_noise: float = 1e-3
    """eps: a block is masked at rate p = (1 - eps) t + eps with t ~ U(0, 1). Published code: 1e-3."""

    complementary: bool = True
    """Train on the mask m and on its complement, so that every supervised token is a target exactly once.
    The paper's ablation: +2.8 points on average over a single view."""

    views: Literal["shared", "stacked"] = field(default="shared", metadata=FREE)
    """How the two views of a row are laid out. `stacked`: two rows [view | clean] of 2L tokens, as published.
    `shared`: one row [view 1 | view 2 | clean] of 3L; same loss and gradients, a quarter fewer tokens."""

    document_mask: bool = True
    """Keep the documents of a packed row from seeing each other; the first token of a document is then no
    target. The paper says padding prevents leakage, but in its code every token still sees all earlier
    samples of the row: False."""

    document_positions: bool = True
    """Count positions from the start of each document rather than of the row; the first token of a document is then no
    target. Published code: False."""

    block_first: Literal["noised", "clean"] = "noised"
    """What predicts the first token of a block. `noised`: the last token of the previous block in the same
    view, which sees that block noised; the first token is masked like any other (published). `clean`: the
    last token of the previous block in the clean stream, which is what happens at inference, where the pass
    that commits a finished block also gives the next one its first token; it is then a target once and, unless
    `hide_block_first`, never masked. That closes the gap between training and decoding, at no cost."""

    hide_block_first: bool = False
    """With `block_first="clean"`: mask the first token of a block in the views like any other, though the clean
    stream predicts it. A decoder that fuses the commit of a block with the first pass over the next one meets such
    blocks: their other tokens are predicted before the first is known."""

    reference_padding: bool = False
    """Pad a sample with D - (len mod D) mask tokens, as the published code does: an aligned sample gets a
    whole block of them. False pads with (-len) mod D."""

    mask_token: str = "|<MASK>|"
    """M: the mask token's text; published checkpoints have it as id 151665."""

    add_mask_token: bool = True
    """Add the mask token to a tokenizer that lacks it and give it the mean of all embeddings. False: refuse
    such a tokenizer, for checkpoints that must already have been converted."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "diffusion_block_size", "sub_block_size", "max_logits")
        if self.diffusion_block_size % self.sub_block_size:
            raise ConfigError(
                f"sub_block_size is {self.sub_block_size} and does not divide diffusion_block_size "
                f"{self.diffusion_block_size}: choose one of {_divisors(self.diffusion_block_size)}"
            )
        if not 0 <= self.min_noise < 1:
            raise ConfigError(
                f"min_noise is {self.min_noise}, but a masking rate lies in [0, 1): give one such as 1e-3"
            )
        if self.hide_block_first and self.block_first == "noised":
            raise ConfigError(
                "hide_block_first is true and block_first is 'noised', which masks first tokens anyway: set block_first to "
                "clean, or drop hide_block_first"
            )
        if not self.mask_token:
            raise ConfigError("mask_token is empty: give the text of the mask token, such as |<MASK>|")


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
