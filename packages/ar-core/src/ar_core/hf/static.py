"""Passes of fixed shapes, each kind captured or compiled once: what turns tokens per forward into time."""

from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ar_core.attention.placed import PlacedMask, placeable, tile_of
from ar_core.cache import WindowedKVCache
from ar_core.cache.placed import PlacedCache, Storage, StorageCache, StoragePool
from ar_core.errors import BackendError
from ar_core.hf.backbone import HFBackbone
from ar_core.hf.layer_cache import PlacedLayerCache
from ar_core.masks import Mask

__all__ = ["Engine", "StaticBackbone"]

Engine = Literal["graph", "compile", "eager"]
MOST_TOKENS = 256
"""Wider passes are prefill, which comes once."""
SEEN = 2
"""A kind of pass becomes a graph when it comes for the second time."""


class Kind(NamedTuple):
    """What tells passes apart: where they store, how many tokens a row has, whether these see each other through a tile."""

    storage: Storage
    length: int
    tiled: bool


class StaticBackbone(HFBackbone):
    """An :class:`HFBackbone` whose passes over a cache run as graphs of fixed shapes; every decoder takes it.

    Ids, positions, starts, visible ends and tiles are copied into tensors that the graph reads; the host does nothing more
    than launch it. Storage of caches is kept, so that graphs live on from call to call. Passes that have no fixed shape
    (prefill, some rows of a cache, masks that hide committed tokens, layers with a sliding window) run as ever.

    Args:
        model: as of :class:`HFBackbone`; for inference.
        engine: "graph" captures CUDA graphs, "compile" takes torch.compile, "eager" runs the fixed shapes as they are.

    Raises:
        UnsupportedModelError: as :class:`HFBackbone`.
        BackendError: there is no such engine, or it needs a CUDA device.
    """

    def __init__(self, model: nn.Module, engine: Engine) -> None:
        super().__init__(model)
        if engine not in get_args(Engine):
            raise BackendError(f"There is no engine {engine!r}; choose {', '.join(get_args(Engine))}.")
        if engine == "graph" and self.device.type != "cuda":
            raise BackendError(
                f"The engine 'graph' needs a CUDA device and the model is on {self.device}; choose compile."
            )
        self.engine = engine
        self._pool = StoragePool(super().new_cache)
        self._passes: dict[Kind, _Pass] = {}
        self._seen: Counter[Kind] = Counter()
        self._slides = any(kind != "full_attention" for kind in getattr(self.config, "layer_types", None) or ())

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """An empty windowed cache in storage that is kept, of at least `capacity` slots."""
        return StorageCache(self._pool, batch, capacity)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Final hidden states `[B, n, C]`; see :class:`ar_core.decoding.Backbone`."""
        fixed = (
            isinstance(cache, StorageCache)
            and ids is not None
            and ids.shape[1] <= MOST_TOKENS
            and cache.whole
            and not self._slides
            and placeable(mask)
        )
        if not fixed:
            return super().hidden(ids, embeds=embeds, positions=positions, mask=mask, cache=cache)
        assert isinstance(cache, StorageCache)
        assert ids is not None
        kind = Kind(cache.storage, ids.shape[1], not (mask is None or mask.is_full))
        if kind not in self._passes:
            self._passes[kind] = _Pass(self, kind)
        self._seen[kind] += 1
        place = torch.tensor([cache.starts, cache.visibles], device=ids.device)
        found = self._passes[kind](ids, positions, place, mask, ready=self._seen[kind] >= SEEN)
        cache.wrote()
        return found

    @property
    def static_passes(self) -> int:
        """How many passes had a fixed shape so far."""
        return self._seen.total()

    def placed(self, ids: Tensor, positions: Tensor, mask: PlacedMask, cache: PlacedCache) -> Tensor:
        """Final hidden states of a pass whose place is in tensors."""
        past = {self._cache_keyword: PlacedLayerCache(cache)}
        return self.decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **past
        ).last_hidden_state


class _Pass:
    """One kind of pass and the tensors that it reads."""

    def __init__(self, backbone: StaticBackbone, kind: Kind) -> None:
        storage, length, tiled = kind
        rows, device = storage.batch, backbone.device
        self._backbone = backbone
        self._ids, self._positions = (torch.zeros(rows, length, dtype=torch.int64, device=device) for _ in range(2))
        self._place = torch.zeros(2, rows, dtype=torch.int64, device=device)
        self._tile = torch.zeros(rows, length, length, dtype=torch.bool, device=device) if tiled else None
        starts, visible = self._place.unbind()
        self._mask = PlacedMask(starts, visible, self._tile, slots=storage.capacity, length=length)
        self._cache = PlacedCache(storage, starts)
        self._ready: Callable[[], Tensor] | None = None

    def __call__(self, ids: Tensor, positions: Tensor, place: Tensor, mask: Mask | None, *, ready: bool) -> Tensor:
        self._ids.copy_(ids)
        self._positions.copy_(positions)
        self._place.copy_(place)
        if self._tile is not None and (tile := tile_of(mask, place[0])) is not None:
            self._tile.copy_(tile)
        if not ready:
            return self._compute()
        if self._ready is None:
            self._ready = {"graph": self._captured, "compile": self._compiled, "eager": lambda: self._compute}[
                self._backbone.engine
            ]()
        # The next pass of this kind writes over the graph's output.
        return self._ready().clone()

    def _compute(self) -> Tensor:
        return self._backbone.placed(self._ids, self._positions, self._mask, self._cache)

    def _compiled(self) -> Callable[[], Tensor]:
        return torch.compile(self._compute, dynamic=False)

    def _captured(self) -> Callable[[], Tensor]:
        # What runs before and during the capture writes the pass's own keys and values, which the replay writes again.
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            self._compute()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._compute()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay
