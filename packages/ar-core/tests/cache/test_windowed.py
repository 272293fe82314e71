"""The windowed KV cache against a list-of-rows model of it, and its refusals."""

import math

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.errors import CacheError

HEADS = [2, 1, 3]
DIM = 4


def make(batch: int = 3, capacity: int = 19, dtype: torch.dtype = torch.float32) -> WindowedKVCache:
    return WindowedKVCache(len(HEADS), batch, HEADS, DIM, capacity, dtype)


def tokens(batch: int, n: int, seed: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Keys of each layer, [B, Hkv, n, D]; values are their negatives."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, heads, n, DIM, generator=generator).to(dtype) for heads in HEADS]


def write(cache: WindowedKVCache, keys: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [cache.update(layer, k, -k) for layer, k in enumerate(keys)]


class Rows:
    """What the cache should hold: for each row, a list of slots, per layer."""

    def __init__(self, batch: int) -> None:
        self.slots = [[[] for _ in HEADS] for _ in range(batch)]

    def put(self, keys: list[torch.Tensor], starts: list[int]) -> None:
        for row, start in enumerate(starts):
            for layer, k in enumerate(keys):
                held = self.slots[row][layer]
                new = list(k[row].unbind(1))
                held[start : start + len(new)] = new

    def check(self, seen: list[tuple[torch.Tensor, torch.Tensor]], visibles: list[int]) -> None:
        for layer, (k, v) in enumerate(seen):
            for row, end in enumerate(visibles):
                expected = torch.stack(self.slots[row][layer][:end], dim=1)
                assert torch.equal(k[row, :, :end], expected)
                assert torch.equal(v[row, :, :end], -expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ragged_random_moves_equal_the_model(dtype):
    """200 random moves: windows of any length at any legal start, any acceptance, refresh, roll-back."""
    rng = torch.Generator().manual_seed(5)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=rng))

    cache, model, lengths, written = make(dtype=dtype), Rows(3), [0, 0, 0], [0, 0, 0]
    for move in range(200):
        n = pick(1, 4)
        starts = [pick(max(0, length - 3), min(length, 19 - n)) if length else 0 for length in lengths]
        if move % 3 == 0:
            starts = [min(starts)] * 3
        ends = [max(s + n, w) if pick(0, 1) else s + n for s, w in zip(starts, written)]
        cache.window(n, start=starts, visible=ends)
        keys = tokens(3, n, move, dtype)
        model.put(keys, starts)
        seen = write(cache, keys)
        assert seen[0][0].shape == (3, 2, max(ends), DIM)
        model.check(seen, ends)
        kept = [pick(0, n) for _ in range(3)]
        cache.keep(kept)
        lengths = [s + k for s, k in zip(starts, kept)]
        written = [max(w, s + n) for w, s in zip(written, starts)]
        assert cache.lengths == lengths


def test_slots_never_written_are_zero_and_slots_behind_the_span_are_not_returned():
    cache = make(capacity=12)
    for stored in (*cache._keys, *cache._values):
        assert not stored.any()
    cache.window(2)
    write(cache, tokens(3, 2, 0))
    cache.keep([2, 1, 0])
    for stored in (*cache._keys, *cache._values):
        stored[:, :, 5:] = math.nan
    cache.window(3)
    seen = write(cache, tokens(3, 3, 1))
    assert cache.visibles == [5, 4, 3]
    assert cache.span == 5
    assert all(not t.isnan().any() for pair in seen for t in pair)
    k, _ = seen[0]
    assert not k[1, :, 4:].any()
    assert not k[2, :, 3:].any()


def test_uniform_rows_return_views_and_ragged_rows_too():
    cache = make(batch=2)
    cache.window(3)
    k, _ = cache.update(0, *[tokens(2, 3, 0)[0]] * 2)
    assert k.data_ptr() == cache._keys[0].data_ptr()


def test_ids_and_positions_of_a_window():
    cache = make()
    cache.window(2)
    assert cache.uniform
    assert cache.key_tokens()["position"].tolist() == [0, 1]
    assert cache.key_tokens()["valid"].tolist() == [1, 1]
    assert cache.query_positions().tolist() == [[0, 1]] * 3
    write(cache, tokens(3, 2, 0))
    cache.keep([2, 0, 1])
    cache.window(2)
    assert not cache.uniform
    assert cache.starts == [2, 0, 1]
    assert cache.key_tokens()["position"].tolist() == [0, 1, 2, 3]
    assert cache.key_tokens()["valid"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert cache.query_positions().tolist() == [[2, 3], [0, 1], [1, 2]]
    assert cache.query_positions(1).tolist() == [[2], [0], [1]]


def test_same_starts_with_different_ends_need_a_mask():
    cache = make(batch=2)
    cache.window(6)
    write(cache, tokens(2, 6, 0))
    cache.keep(2)
    cache.window(2, visible=[6, 4])
    assert not cache.uniform
    assert cache.key_tokens()["valid"].tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]


def test_refresh_writes_only_its_slots():
    cache = make(batch=1)
    first, fresh = tokens(1, 8, 0), tokens(1, 2, 1)
    cache.window(8)
    write(cache, first)
    cache.keep(0)
    cache.window(2, start=4, visible=8)
    for (k, _), old, new in zip(write(cache, fresh), first, fresh):
        assert torch.equal(k, torch.cat([old[:, :, :4], new, old[:, :, 6:]], dim=2))
    assert cache.lengths == [0]


def test_keep_path_moves_each_rows_branch_to_the_front():
    cache = make(batch=3)
    cache.window(3)
    write(cache, tokens(3, 3, 0))
    cache.keep([3, 1, 2])
    cache.window(5)
    nodes = tokens(3, 5, 1)
    write(cache, nodes)
    cache.keep_path([[0, 2, 4], [1, 3, 0], [4, 0, 0]], [3, 2, 1])
    assert cache.lengths == [6, 3, 3]
    for layer, k in enumerate(nodes):
        held = cache._keys[layer]
        assert torch.equal(held[0, :, 3:6], k[0][:, [0, 2, 4]])
        assert torch.equal(held[1, :, 1:3], k[1][:, [1, 3]])
        assert torch.equal(held[2, :, 2:3], k[2][:, [4]])
        assert torch.equal(cache._values[layer][:, :, :6], -held[:, :, :6])


def test_keep_path_may_shift_over_its_own_source():
    """A path 1, 2, 3, 4 moves every node by one: a target is the next one's source."""
    cache = make(batch=1)
    cache.window(5)
    nodes = tokens(1, 5, 3)
    write(cache, nodes)
    cache.keep_path(torch.tensor([[1, 2, 3, 4]]), [4])
    for layer, k in enumerate(nodes):
        assert torch.equal(cache._keys[layer][:, :, :4], k[:, :, 1:])


def test_rows_fork_permute_and_evict_with_their_memory():
    cache = make(batch=3)
    cache.remember([(torch.full((3, h, 2, DIM), 1.0) * torch.arange(3)[:, None, None, None],) * 2 for h in HEADS])
    cache.window(4)
    keys = tokens(3, 4, 0)
    write(cache, keys)
    cache.keep([4, 2, 3])
    cache.rows([2, 0, 0, 2])
    assert (cache.batch, cache.lengths) == (4, [3, 4, 4, 3])
    assert cache._window is None
    for layer, k in enumerate(keys):
        assert torch.equal(cache._keys[layer][:, :, :4], k[[2, 0, 0, 2]])
        assert cache.memory[layer][0][:, 0, 0, 0].tolist() == [2, 0, 0, 2]
    more = tokens(4, 1, 1)
    cache.window(1)
    seen, _ = cache.update(0, more[0], more[0])
    assert torch.equal(seen[1, :, 4:5], more[0][1])
    assert torch.equal(seen[2, :, 4:5], more[0][2])
    cache.rows(torch.tensor([1]))
    assert cache.lengths == [4]


def test_a_window_for_some_rows_leaves_the_others_alone():
    cache = make(batch=4)
    cache.window(3)
    write(cache, tokens(4, 3, 0))
    cache.keep([3, 1, 2, 3])
    before = [k.clone() for k in cache._keys]
    cache.window(2, rows=[3, 1])
    keys = tokens(2, 2, 1)
    seen = write(cache, keys)
    assert seen[0][0].shape == (2, 2, 5, DIM)
    assert torch.equal(seen[0][0][0, :, 3:5], keys[0][0])
    assert torch.equal(seen[0][0][1, :, 1:3], keys[0][1])
    cache.keep([2, 1])
    assert cache.lengths == [3, 2, 2, 5]
    for old, new in zip(before, cache._keys):
        assert torch.equal(old[[0, 2]], new[[0, 2]])


def test_rewind_forgets():
    cache = make(batch=2)
    cache.window(4)
    write(cache, tokens(2, 4, 0))
    cache.keep(4)
    cache.rewind([1, 4])
    assert cache.lengths == [1, 4]


def refusals():
    def opened(cache: WindowedKVCache, n: int = 2) -> WindowedKVCache:
        cache.window(n)
        return cache

    def filled() -> WindowedKVCache:
        cache = opened(make())
        write(cache, tokens(3, 2, 0))
        cache.keep(2)
        return cache

    k = tokens(3, 2, 0)[0]
    graph = k.clone().requires_grad_()
    yield "no rows", lambda: WindowedKVCache(1, 0, 1, 4, 8), "batch=0; it must be at least 1"
    yield (
        "head list",
        lambda: WindowedKVCache(2, 1, [1], 4, 8),
        "num_kv_heads=[1]; give one positive number, or one for",
    )
    yield "no window", lambda: make().update(0, k, k), "No window is set on the KV cache; call window(length)"
    yield "window closed by keep", lambda: filled().update(0, k, k), "No window is set"
    yield "keep without window", lambda: make().keep(1), "No window is set"
    yield "k with gradient", lambda: opened(make()).update(0, graph, k), "need a gradient"
    yield "v with gradient", lambda: opened(make()).update(0, k, graph * 2), "under torch.no_grad(), and train without"
    yield "tokens", lambda: opened(make(), 3).update(0, k, k), "window takes [3, 2, 3, 4]"
    yield "dtype", lambda: opened(make()).update(0, k.half(), k.half()), "keys of torch.float16"
    yield "overflow", lambda: make(capacity=5).window(6), "Row 0 needs 6 slots and the KV cache has 5; build it"
    yield "empty window", lambda: make().window(0), "a pass has at least 1"
    yield "gap", lambda: filled().window(1, start=[2, 3, 2]), "Row 1 was given a window that starts at slot 3"
    yield "negative start", lambda: filled().window(1, start=-1), "starts at slot -1"
    yield "blind", lambda: filled().window(2, visible=3), "visible end of 3; it must lie between 4"
    yield "beyond what is written", lambda: filled().window(1, visible=[3, 3, 4]), "Row 2 was given a visible end of 4"
    yield "rows of start", lambda: make().window(1, start=[0, 0]), "start for 2 rows; the pass has 3"
    yield "same row twice", lambda: make().window(1, rows=[1, 1]), "give distinct rows, each between 0 and 2"
    yield "too much kept", lambda: opened(make()).keep([0, 3, 0]), "Row 1 was told to keep 3 tokens; it can keep 0 to 2"
    yield "path outside", lambda: opened(make()).keep_path([[0], [2], [0]], [1, 1, 1]), "token 2 of a window of 2"
    yield "path count", lambda: opened(make()).keep_path([[0], [1], [0]], [1, 2, 1]), "Row 1 was told to keep 2"
    yield "ragged path", lambda: opened(make()).keep_path([[0], [1, 0], [0]], [1, 1, 1]), "lengths [1, 2, 1]"
    yield "absent row", lambda: make().rows([0, 3]), "each between 0 and 2"
    yield "no row left", lambda: make().rows([]), "give at least one"
    yield "rewind forward", lambda: filled().rewind(3), "go back to length 3; it can go back to 0 to 2"
    yield "memory", lambda: make().remember([]), "memory of 0 layers"


@pytest.mark.parametrize(
    ("act", "message"), [(a, m) for _, a, m in refusals()], ids=[name for name, _, _ in refusals()]
)
def test_refusals_say_what_is_wrong(act, message):
    with pytest.raises(CacheError) as caught:
        act()
    text = str(caught.value)
    assert message in text
    assert text.endswith(".")
    assert text.count(". ") == 0


def test_a_refused_keep_changes_nothing():
    cache = make()
    cache.window(2)
    write(cache, tokens(3, 2, 0))
    with pytest.raises(CacheError):
        cache.keep([1, 9, 1])
    assert cache.lengths == [0, 0, 0]
    cache.keep(1)
    assert cache.lengths == [1, 1, 1]


def test_no_move_reads_a_tensor_on_the_host(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a value was read on the host")

    cache = WindowedKVCache(1, 2, 1, DIM, 8)
    k = torch.zeros(2, 1, 3, DIM)
    for read in ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__iter__"):
        monkeypatch.setattr(torch.Tensor, read, refuse)
    for kept in ([2, 1], [1, 0]):
        cache.window(2)
        cache.update(0, k[:, :, :2], k[:, :, :2])
        cache.key_tokens()
        cache.query_positions()
        cache.keep(kept)
    cache.window(3)
    cache.update(0, k, k)
    cache.keep_path([[1, 2], [0, 2]], [2, 2])
    cache.rows([1])
    assert cache.lengths == [3]


def test_rows_keep_the_number_of_their_prompt():
    cache = WindowedKVCache(1, 4, 1, 2, 8)
    cache.rows([3, 1, 1])
    assert cache.prompts == [3, 1, 1]
    cache.window(2, rows=[2, 0])
    assert cache.pass_prompts == [1, 3]
