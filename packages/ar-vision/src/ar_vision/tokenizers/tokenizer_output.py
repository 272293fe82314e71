"""What one training pass of a tokenizer returns.

Source: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = ["DualTokenizerOutput", "Lookup", "TokenizerOutput"]


@dataclass(frozen=True)
class Lookup:
    """What was looked up in a codebook for B images."""

    codes: list[Tensor]
    """int64 `[B, L_k]` of every scale."""
    vectors: Tensor
    """`[N, Cv]`, detached: all vectors that were looked up in the codebook, scale after scale as ``codes`` are, in each scale image
    after image; dead codes are revived from them."""
    used: Tensor
    """int64 `[V]`: how often each code was chosen."""


@dataclass(frozen=True)
class TokenizerOutput(Lookup):
    """Of B images: what the losses of a tokenizer are made of.

    Losses are sums over the images of a mean per image, so that any split of a batch adds up to the same.
    """

    reconstruction: Tensor
    """Images `[B, 3, H, W]`, not clamped; its gradient reaches the encoder straight through the quantiser."""
    code_loss: Tensor
    """Scalar, float32: squared distance of the quantised features to the (detached) encoded ones; trains the codebook."""
    commit_loss: Tensor
    """Scalar, float32: the same distance with the quantised features detached; trains the encoder; no factor inside."""

    @property
    def lookups(self) -> Mapping[str, Lookup]:
        """Of the one codebook, which needs no name."""
        return {"": self}


@dataclass(frozen=True)
class DualTokenizerOutput:
    """The same of a tokenizer with two codebooks, whose codes are pairs."""

    reconstruction: Tensor
    """Images `[B, 3, H, W]`, not clamped."""
    codes: list[Tensor]
    """The pairs, int64 `[B, L]`."""
    code_loss: Tensor
    """Scalar: as that of `TokenizerOutput`, of both codebooks together."""
    commit_loss: Tensor
    """Scalar: of both together."""
    residual_loss: Tensor
    """Scalar: squared distance of the encoded features to the refined quantised ones, of both together; 0 without residual modules."""
    lookups: Mapping[str, Lookup]
    """Of each codebook by name."""
