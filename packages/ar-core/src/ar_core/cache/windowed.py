"""One preallocated KV cache whose write position is a movable window.

Every decoder of the workspace is a sequence of moves of this object: a window is set, a model pass writes its keys and
values there, and the decoder keeps a prefix of it, a path through it, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ar_core.cache.window import Window, per_row
from ar_core.errors import CacheError
from ar_core.masks import Tokens

__all__ = ["WindowedKVCache"]


class WindowedKVCache:
    """Keys and values of all layers, `[B, Hkv, capacity, D]` each, with rows of different lengths.

    Shapes: B rows, Hkv key/value heads of a layer, `capacity` slots, D head dimension, n tokens of a pass.

    A pass is framed by two calls::

        cache.window(n)         # writes slots [length, length + n) of every row, sees all slots below length + n
        ...model pass: every layer calls update(layer, k, v)...
        cache.keep(m)           # the first m of the n tokens are now part of the sequence

    Moves: `window(n)` + `keep(n)` is plain autoregression; `keep(m < n)` is speculation with m accepted; a window over
    slots already written is roll-back or refresh; no `keep` at all is a read-only pass; `keep_path` keeps one branch of
    a tree; `rows` forks, permutes or evicts. Slots start as zeros, because a NaN behind a mask still reaches the output
    of an attention kernel (0 · NaN = NaN).

    Lengths, starts and visible ends live on the host, so no move waits for a device.

    For inference only: the writes are in place.

    Args:
        num_layers: number of layers that call `update`.
        batch: rows B.
        num_kv_heads: Hkv, one number or one per layer.
        head_dim: D, one number or one per layer.
        capacity: slots per row.
        dtype: dtype of the stored keys and values; those handed to `update` must have it.
        device: where they are stored.

    Raises:
        CacheError: a size is not positive, or a per-layer list has another length than `num_layers`.
    """

    def __init__(
        self,
        num_layers: int,
        batch: int,
        num_kv_heads: int | Sequence[int],
        head_dim: int | Sequence[int],
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        for name, value in (("num_layers", num_layers), ("batch", batch), ("capacity", capacity)):
            if value < 1:
                raise CacheError(f"A KV cache was asked for with {name}={value}; it must be at least 1.")
        heads = _per_layer("num_kv_heads", num_kv_heads, num_layers)
        dims = _per_layer("head_dim", head_dim, num_layers)
        self._keys = [torch.zeros(batch, h, capacity, d, dtype=dtype, device=device) for h, d in zip(heads, dims)]
        self._values = [torch.zeros_like(k) for k in self._keys]
        self._memory: tuple[tuple[Tensor, Tensor], ...] = ()
        self._lengths = [0] * batch
        self._written = [0] * batch
        self._window: Window | None = None
        self.prompts = list(range(batch))
        """Number of the prompt that each row holds, row b's own at first. `rows` carries it along; a decoder that gives a row to
        another prompt says so here. For models whose inputs depend on more than ids and positions."""

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self._keys)

    @property
    def batch(self) -> int:
        """Rows B; changes with `rows`."""
        return len(self._lengths)

    @property
    def capacity(self) -> int:
        """Slots per row."""
        return self._keys[0].shape[2]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the stored keys and values."""
        return self._keys[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the stored keys and values."""
        return self._keys[0].device

    @property
    def lengths(self) -> list[int]:
        """Committed tokens of each row (a copy, on the host)."""
        return list(self._lengths)

    @property
    def starts(self) -> list[int]:
        """First slot that the pass writes, per row."""
        return list(self._current.starts)

    @property
    def visibles(self) -> list[int]:
        """End (exclusive) of the slots that the pass may see, per row."""
        return list(self._current.visibles)

    @property
    def pass_prompts(self) -> list[int]:
        """Number of the prompt that each row of the pass holds."""
        return [self.prompts[row] for row in self._current.rows]

    @property
    def span(self) -> int:
        """Slots that `update` returns: the largest visible end of any row."""
        return self._current.span

    @property
    def uniform(self) -> bool:
        """Whether all rows have the same start and the same visible end, so that no row needs a mask for its length."""
        return self._current.uniform

    def window(
        self,
        length: int,
        start: Sequence[int] | int | None = None,
        visible: Sequence[int] | int | None = None,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Set where the next pass writes and how far it sees.

        Args:
            length: n, tokens of the pass in every row.
            start: first slot written, per row or for all; default: each row's committed length.
            visible: end (exclusive) of the slots seen, per row or for all; default: `start + length`. A larger end shows
                slots behind the window that an earlier pass wrote (the rest of a block during a sub-block refresh).
            rows: the rows that take part in the pass, in its order; the others stay as they are. The pass and all per-row
                arguments then have R = `len(rows)` rows in place of B. Costs a copy of what they see. Default: all rows.

        Raises:
            CacheError: the window does not fit the capacity, leaves a gap of slots that were never written, or ends
                behind the visible end.
        """
        everyone = list(range(self.batch))
        chosen = everyone if rows is None else list(rows)
        if rows is not None and (not chosen or len(set(chosen)) < len(chosen) or not set(chosen).issubset(everyone)):
            raise CacheError(
                f"A window for rows {chosen} was asked for; give distinct rows, each between 0 and {self.batch - 1}."
            )
        starts = [self._lengths[i] for i in chosen] if start is None else per_row("start", start, len(chosen))
        ends = [first + length for first in starts]
        visibles = ends if visible is None else per_row("visible", visible, len(chosen))
        window = Window(length, chosen, starts, visibles, whole=chosen == everyone)
        window.check(self.capacity, self._written)
        self._window = window

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values into the window and return all that the pass may see.

        Args:
            layer: index of the layer.
            k: keys `[B, Hkv, n, D]`, after rotary embedding.
            v: values `[B, Hkv, n, D]`.

        Returns:
            Keys and values `[B, Hkv, span, D]`: views of the stored tensors, or copies if only some rows take part. In rows
            that see less than `span` slots the mask must hide the rest.

        Raises:
            CacheError: no window is set, a tensor needs a gradient, or its shape or dtype is not that of the cache.
        """
        window = self._current
        keys, values = self._keys[layer], self._values[layer]
        if k.requires_grad or v.requires_grad:
            raise CacheError(
                "Keys or values that need a gradient were handed to the KV cache, which writes in place; decode under "
                "torch.no_grad(), and train without a cache."
            )
        expected = (len(window.rows), keys.shape[1], window.length, keys.shape[3])
        if k.shape != expected or v.shape != expected:
            raise CacheError(
                f"Layer {layer} handed keys {list(k.shape)} and values {list(v.shape)} to the KV cache; its window takes "
                f"{list(expected)} (rows, heads, tokens, head dimension)."
            )
        if k.dtype != keys.dtype or v.dtype != keys.dtype:
            raise CacheError(
                f"Layer {layer} handed keys of {k.dtype} and values of {v.dtype} to a KV cache of {keys.dtype}; build the "
                f"cache with the dtype in which the model computes attention."
            )
        if window.first is not None and window.whole:
            stop = window.first + window.length
            keys[:, :, window.first : stop] = k
            values[:, :, window.first : stop] = v
        else:
            rows, slots = window.slots(keys.device)
            keys.transpose(1, 2)[rows, slots] = k.transpose(1, 2)
            values.transpose(1, 2)[rows, slots] = v.transpose(1, 2)
        if layer == 0:
            self.wrote()
        if not window.whole:
            take = window.slots(keys.device)[0][:, 0]
            return keys[:, :, : window.span].index_select(0, take), values[:, :, : window.span].index_select(0, take)
        return keys[:, :, : window.span], values[:, :, : window.span]

    def wrote(self) -> None:
        """Note that the window's slots are written; `update` does, a pass that writes by itself must."""
        window = self._current
        for row, first in zip(window.rows, window.starts):
            self._written[row] = max(self._written[row], first + window.length)

    def keep(self, n: int | Sequence[int]) -> None:
        """Accept the first `n` tokens of the window: the committed length of a row becomes `start + n`.

        Args:
            n: accepted tokens, per row or for all, 0 to the window's length.

        Raises:
            CacheError: no window is set, or `n` is out of range.
        """
        window = self._current
        window.accept(self._lengths, n, window.length)
        self._window = None

    def keep_path(self, index: Tensor | Sequence[Sequence[int]], counts: Sequence[int]) -> None:
        """Accept a path through the window (a branch of a tree) and move it to the window's front.

        Correct as it stands, because rotary embedding was applied at the position of each node, not at its slot.

        Args:
            index: tokens of the window on the path, `[B, a]`, in order, each 0 to n-1. Read on the host.
            counts: how many of them each row keeps, 0 to a; what follows is ignored (any index of the window).

        Raises:
            CacheError: no window is set, an index is outside it, or a count is out of range.
        """
        window = self._current
        paths = index.tolist() if isinstance(index, Tensor) else [list(path) for path in index]
        counts = per_row("counts", counts, len(window.rows))
        width = len(paths[0]) if paths else 0
        if len(paths) != len(window.rows) or any(len(path) != width for path in paths):
            raise CacheError(
                f"A path index of {len(paths)} rows with lengths {[len(p) for p in paths]} was given; it must be one "
                f"rectangular list for {len(window.rows)} rows."
            )
        outside = [i for path in paths for i in path if not 0 <= i < window.length]
        if outside:
            raise CacheError(
                f"A path names token {outside[0]} of a window of {window.length}; indices run from 0 to "
                f"{window.length - 1}."
            )
        window.accept(self._lengths, counts, width)
        moves = [
            (row, first + node, first + step)
            for row, path, first, count in zip(window.rows, paths, window.starts, counts)
            for step, node in enumerate(path[:count])
            if node != step
        ]
        if moves:
            lines, source, target = torch.tensor(moves, device=self.device).unbind(1)
            for stored in (*self._keys, *self._values):
                by_slot = stored.transpose(1, 2)
                by_slot[lines, target] = by_slot[lines, source]
        self._window = None

    def rewind(self, length: int | Sequence[int]) -> None:
        """Forget committed tokens: the length of each row becomes `length`, per row or for all.

        A window over the forgotten slots does the same for one pass; this is for callers that always write at the end.

        Raises:
            CacheError: a length is negative or above the row's committed length.
        """
        lengths = per_row("length", length, self.batch)
        for row, (new, old) in enumerate(zip(lengths, self._lengths)):
            if not 0 <= new <= old:
                raise CacheError(f"Row {row} was told to go back to length {new}; it can go back to 0 to {old}.")
        self._lengths = lengths
        self._window = None

    def rows(self, index: Tensor | Sequence[int]) -> None:
        """Replace the rows by `index` of them, in place on this object: select, permute, fork (repeat) or evict (leave out).

        Costs a copy of the stored tensors. A window that is set is dropped.

        Raises:
            CacheError: an index is outside the rows, or none is left.
        """
        chosen: list[int] = index.tolist() if isinstance(index, Tensor) else list(index)
        if not chosen or not all(0 <= i < self.batch for i in chosen):
            raise CacheError(f"Rows {chosen} were asked for; give at least one, each between 0 and {self.batch - 1}.")
        if chosen == list(range(self.batch)):
            self._window = None
            return
        take = torch.tensor(chosen, device=self.device)
        self._keys = [k.index_select(0, take) for k in self._keys]
        self._values = [v.index_select(0, take) for v in self._values]
        self._memory = tuple((k.index_select(0, take), v.index_select(0, take)) for k, v in self._memory)
        self._lengths = [self._lengths[i] for i in chosen]
        self._written = [self._written[i] for i in chosen]
        self.prompts = [self.prompts[i] for i in chosen]
        self._window = None

    @property
    def memory(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Cross-attention keys and values per layer, read-only; empty if none were given."""
        return self._memory

    def remember(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Give each layer its cross-attention keys and values `[B, Hkv, M, D]`; no pass changes them, `rows` follows them.

        Raises:
            CacheError: not one pair per layer, or a pair of another batch size.
        """
        memory = tuple(pairs)
        if len(memory) != self.num_layers or any(t.shape[0] != self.batch for pair in memory for t in pair):
            raise CacheError(
                f"A memory of {len(memory)} layers was given; it must be one pair for each of {self.num_layers} layers "
                f"with {self.batch} rows."
            )
        self._memory = memory

    def key_tokens(self) -> Tokens:
        """Ids of the slots that `update` returns: `position` `[span]` (the slot) and `valid` (slot below the row's visible end).

        `valid` is `[span]` if the window is uniform and `[B, span]` otherwise.
        """
        window = self._current
        position = torch.arange(window.span, device=self.device)
        if window.uniform:
            return Tokens(position=position, valid=torch.ones_like(position))
        ends = torch.tensor(window.visibles, device=self.device)
        return Tokens(position=position, valid=(position < ends[:, None]).long())

    def query_positions(self, n: int | None = None) -> Tensor:
        """Positions of the window's tokens, int64 `[B, n]`: `start + 0 .. n-1`; `n` defaults to the window's length."""
        window = self._current
        n = window.length if n is None else n
        if window.first is not None:
            return torch.arange(window.first, window.first + n, device=self.device).expand(len(window.rows), n)
        starts = torch.tensor(window.starts, device=self.device)
        return starts[:, None] + torch.arange(n, device=self.device)

    @property
    def _current(self) -> Window:
        if self._window is None:
            raise CacheError("No window is set on the KV cache; call window(length) before each pass.")
        return self._window


def _per_layer(name: str, value: int | Sequence[int], num_layers: int) -> list[int]:
    values = [value] * num_layers if isinstance(value, int) else list(value)
    if len(values) != num_layers or min(values) < 1:
        raise CacheError(
            f"A KV cache was asked for with {name}={value}; give one positive number, or one for each of {num_layers} layers."
        )
    return values
