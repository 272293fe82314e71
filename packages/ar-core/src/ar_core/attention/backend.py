"""What an attention backend is."""

from typing import Protocol

from torch import Tensor

from ar_core.masks import Mask

__all__ = ["Backend"]


class Backend(Protocol):
    """One implementation of :func:`ar_core.attention.attend`; each is a module of this package.

    An implementation may change speed and memory, never the result beyond rounding.
    """

    def available(self) -> tuple[bool, str]:
        """Whether it can run here at all, and why (not): one clause."""
        ...

    def refuses(self, q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
        """Why it cannot compute this call: one clause, or None if it can.

        Args:
            q: queries `[B, H, Q, D]`.
            k: keys `[B, Hkv, K, D]`.
            mask: who sees whom; None: everybody sees everything.
        """
        ...

    def compute(self, q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
        """Attention: q [B, H, Q, D], k and v [B, Hkv, K, D] to [B, H, Q, D]."""
        ...
