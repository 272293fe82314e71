"""What one training pass of a tokenizer returns."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["TokenizerOutput"]


@dataclass(frozen=True)
class TokenizerOutput:
    """Of B images: what the losses of a tokenizer are made of.

    Losses are sums over the images of a mean per image, so that any split of a batch adds up to the same.
    """

    reconstruction: Tensor
    """Images `[B, 3, H, W]`, not clamped; its gradient reaches the encoder straight through the quantiser."""
    codes: list[Tensor]
    """int64 `[B, L_k]` of every scale."""
    code_loss: Tensor
    """Scalar, float32: squared distance of the quantised features to the (detached) encoded ones; trains the codebook."""
    commit_loss: Tensor
    """Scalar, float32: the same distance with the quantised features detached; trains the encoder; no factor inside."""
    vectors: Tensor
    """`[N, Cv]`, detached: all vectors that were looked up in the codebook, scale after scale as ``codes`` are, in each scale image
    after image; dead codes are revived from them."""
    used: Tensor
    """int64 `[V]`: how often each code was chosen."""
