"""What the windowed cache is held against: a cache that concatenates, and none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Concatenating", "ConcatenatingCache", "History", "Recomputing"]


class ConcatenatingCache:
    """Keys and values grow by `torch.cat` at every pass, as in most published code.

    Args:
        layers: that call `update`.
    """

    def __init__(self, layers: int) -> None:
        self._pairs: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def window(self, length: int) -> None:
        """Every pass writes at the end."""

    def keep(self, n: int) -> None:
        """All of it stays."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append `[R, H, n, D]`; all keys and values so far."""
        before = self._pairs[layer]
        if before is not None:
            k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
        self._pairs[layer] = k, v
        return k, v

    def rows(self, index: Sequence[int]) -> None:
        """Keep some rows."""
        take = list(index)
        self._pairs = [None if pair is None else (pair[0][take], pair[1][take]) for pair in self._pairs]


class History(ConcatenatingCache):
    """Inputs `[R, n, C]` of all passes so far: what a model without a cache is fed with again."""

    def __init__(self) -> None:
        super().__init__(0)
        self.inputs: Tensor | None = None

    def extended(self, x: Tensor) -> Tensor:
        """Append inputs; all so far."""
        self.inputs = x if self.inputs is None else torch.cat([self.inputs, x], dim=1)
        return self.inputs

    def rows(self, index: Sequence[int]) -> None:
        """Keep some rows."""
        if self.inputs is not None:
            self.inputs = self.inputs[list(index)]

    def update(self, layer: int, k: Tensor, v: Tensor) -> Any:
        """Nothing is stored, so nothing may ask for it."""
        raise NotImplementedError


class Concatenating:
    """A backbone whose caches concatenate; all else is its own.

    Args:
        model: the backbone.
        layers: of it.
    """

    def __init__(self, model: Any, layers: int) -> None:
        self._model, self._layers = model, layers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def new_cache(self, rows: int, capacity: int) -> ConcatenatingCache:
        """An empty cache."""
        return ConcatenatingCache(self._layers)


class Recomputing(Concatenating):
    """A backbone that keeps inputs in place of keys and values; a family says how it runs over all of them again."""

    def new_cache(self, rows: int, capacity: int) -> History:
        """No inputs yet."""
        return History()
