"""Passes of fixed shapes, each kind captured or compiled once: what turns tokens per forward into time."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ar_core.attention.placed import PlacedMask, placeable, tile_of
from ar_core.cache import WindowedKVCache
from ar_core.cache.placed import PlacedCache, Storage, StorageCache, StoragePool, power_of_two
from ar_core.errors import BackendError
from ar_core.hf.backbone import HFBackbone
from ar_core.hf.layer_cache import PlacedLayerCache
from ar_core.masks import Mask

__all__ = ["Engine", "StaticBackbone"]

Engine = Literal["graph", "compile", "eager"]
"""How passes of fixed shapes are run: captured as a CUDA graph, compiled, or as they are."""
MOST_TOKENS = 128
"""Wider passes are prefill, which comes once."""
SEEN = 2
"""A kind of pass becomes a graph when it comes for the second time."""
MOST_COMPILED = 10_000
FIXED_ROTARY = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotary embeddings that depend on each token's own position alone."""


class Kind(NamedTuple):
    """What tells passes over one storage apart.

    Attributes:
        rows: R of the pass, all lines of the storage or a power of two.
        length: tokens of each; a power of two if there is a tile.
        width: of the tile through which they see the slots from the window's first on, a power of two; 0: they see all.
        indexed: whether some lines take part, rather than all.
    """

    rows: int
    length: int
    width: int
    indexed: bool


class StaticBackbone(HFBackbone):
    """An :class:`HFBackbone` whose passes over a cache run as graphs of fixed shapes; every decoder takes it.

    Ids, positions, rows, starts, visible ends and tiles are copied into tensors that the graph reads; the host does no more
    than launch it. Storage of caches is kept, so that graphs live on from call to call. So that few shapes occur, rows are
    filled up to a power of two (by lines that nobody uses; by the last again, if some rows of the cache take part), and so
    are the tokens of a window that is not bidirectional: a verifier's, whose drafts have all lengths. Passes that have no
    fixed shape (long prefill, masks that hide committed tokens, layers with a sliding window, rotary embeddings that depend on
    the longest position) run as ever.

    What is captured or compiled holds the model as it was then: after a change of its weights, modules or adapters, make a new
    one.

    Args:
        model: as of :class:`HFBackbone`; for inference.
        engine: "graph" captures CUDA graphs; "compile" takes torch.compile, and on CUDA captures what it made; "eager" runs
            the fixed shapes as they are.

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
        self.graph_memory = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        """Shared by all graphs: they run one after another, and what they leave is copied at once."""
        self.static_passes = 0
        """How many passes had a fixed shape so far."""
        self._pool = StoragePool(super().new_cache)
        self._fixed = not _slides(self.config) and _rotary(self.config) <= FIXED_ROTARY

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
        more: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Final hidden states `[B, n, C]`; see :class:`HFBackbone`. Three-part positions and further inputs pass as they are."""
        fixed = (
            isinstance(cache, StorageCache)
            and ids is not None
            and ids.shape[1] <= MOST_TOKENS
            and self._fixed
            and positions.ndim < 3
            and not more
            and not torch.is_grad_enabled()
            and placeable(mask)
        )
        if not fixed:
            return super().hidden(ids, embeds=embeds, positions=positions, mask=mask, cache=cache, more=more)
        assert isinstance(cache, StorageCache)
        assert ids is not None
        some = cache.pass_rows
        lines = cache.storage.lines if some is None else power_of_two(len(some))
        length, width = ids.shape[1], 0
        if mask is not None and not mask.is_full:
            length = power_of_two(length)
            width = power_of_two(max(end - start for start, end in zip(cache.starts, cache.visibles, strict=True)))
        kind = Kind(lines, length, width, some is not None)
        built = cache.storage.built
        if kind not in built:
            # What is made in inference mode could not be written outside of it.
            with torch.inference_mode(False):
                built[kind] = _Pass(self, cache.storage, kind)
        found: Tensor = built[kind](ids, positions.expand_as(ids), cache, mask)
        self.static_passes += 1
        cache.wrote()
        return found

    def placed(self, ids: Tensor, positions: Tensor, mask: PlacedMask, cache: PlacedCache) -> Tensor:
        """Final hidden states of a pass whose place is in tensors.

        Args:
            ids: int64 `[R, n]`.
            positions: int64 `[R, n]`.
            mask: who sees whom.
            cache: where keys and values are written.

        Returns:
            `[R, n, C]`, C the width of the model.
        """
        past = {self._cache_keyword: PlacedLayerCache(cache)}
        out: Tensor = self.decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **past
        ).last_hidden_state
        return out


class _Pass:
    """One kind of pass and the tensors that it reads."""

    def __init__(self, backbone: StaticBackbone, storage: Storage, kind: Kind) -> None:
        rows, length, width, indexed = kind
        device = backbone.device
        self._backbone = backbone
        self._ids, self._positions = (torch.zeros(rows, length, dtype=torch.int64, device=device) for _ in range(2))
        self._place = torch.zeros(4, rows, dtype=torch.int64, device=device)
        self._tile = torch.zeros(rows, length, width, dtype=torch.bool, device=device) if width else None
        starts, visible, counts, lines = self._place.unbind()
        index = lines if indexed else None
        self._mask = PlacedMask(starts, visible, self._tile, index, slots=storage.capacity, length=length)
        self._cache = PlacedCache(storage, starts, counts, index)
        self._runs = 0
        self._ready: Callable[[], Tensor] | None = None

    def __call__(self, ids: Tensor, positions: Tensor, cache: StorageCache, mask: Mask | None) -> Tensor:
        count, length = ids.shape
        missing = self._ids.shape[0] - count
        numbers = (cache.starts, cache.visibles, count * [length], cache.pass_rows or list(range(count)))
        unused = (0, length, length, 0)
        self._place.copy_(torch.tensor([self._filled(*row, missing) for row in zip(numbers, unused, strict=True)]))
        self._fill(self._ids, ids)
        self._fill(self._positions, positions)
        if self._tile is not None:
            assert mask is not None
            self._fill(self._tile, tile_of(mask, self._place[0, :count], self._tile.shape[2]))
        self._runs += 1
        if self._runs < SEEN:
            return self._compute()[:count, :length]
        if self._ready is None:
            self._ready = {"graph": self._captured, "compile": self._compiled, "eager": lambda: self._compute}[
                self._backbone.engine
            ]()
        # The next pass writes over the graph's output.
        return self._ready()[:count, :length].clone()

    @property
    def _indexed(self) -> bool:
        return self._mask.rows is not None

    def _filled(self, numbers: list[int], unused: int, missing: int) -> list[int]:
        """With numbers for the rows that fill the pass up."""
        return numbers + missing * [numbers[-1] if self._indexed else unused]

    def _fill(self, target: Tensor, given: Tensor) -> None:
        """Put what is given into the front of what the pass reads; nothing is left of passes before."""
        count, length = given.shape[:2]
        if given.shape != target.shape:
            target.zero_()
        target[:count, :length] = given
        if self._indexed and count < len(target):
            target[count:, :length] = given[-1]

    def _compute(self) -> Tensor:
        return self._backbone.placed(self._ids, self._positions, self._mask, self._cache)

    def _compiled(self) -> Callable[[], Tensor]:
        compiled = torch.compile(self._compute, dynamic=False, fullgraph=True)

        def run() -> Tensor:
            # Every kind of pass is a compilation of the one function, and their number has no limit that an error should guard.
            with torch._dynamo.config.patch(recompile_limit=MOST_COMPILED, accumulated_recompile_limit=MOST_COMPILED):
                return compiled()

        return self._captured(run) if self._ids.is_cuda else run

    def _captured(self, compute: Callable[[], Tensor] | None = None) -> Callable[[], Tensor]:
        compute = compute or self._compute
        # What runs before and during the capture writes the pass's own keys and values, which the replay writes again.
        with torch.cuda.device(self._ids.device):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                compute()
            torch.cuda.current_stream().wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._backbone.graph_memory):
                output = compute()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay


def _slides(config: Any) -> bool:
    """Whether a layer sees no more than a window of what lies before it."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def _rotary(config: Any) -> set[str]:
    """Kinds of rotary embeddings, of all kinds of layers."""
    parameters = getattr(config, "rope_parameters", None) or {}
    several = [one for one in parameters.values() if isinstance(one, dict)]
    return {one.get("rope_type", "default") for one in several or [parameters]}
