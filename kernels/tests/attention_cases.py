"""Inputs and float64 results of both forms of block attention."""

import torch
from ar_kernels import block_attention, block_diffusion_attention
from ar_kernels.block_attention.reference import attention, cached_mask, training_mask
from comparing import close, poisoned, repeatable
from torch import Tensor

CACHED = [
    # B, H, Hkv, Q, slots, D
    (1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 2, 3), (2, 1, 1, 1, 31, 8), (1, 2, 1, 2, 32, 16), (3, 4, 2, 3, 33, 5),
    (2, 6, 3, 4, 63, 33), (1, 9, 3, 5, 64, 12), (4, 4, 1, 7, 65, 17), (2, 3, 3, 8, 100, 64), (1, 8, 2, 8, 127, 20),
    (2, 2, 2, 9, 128, 7), (1, 7, 1, 11, 129, 10), (5, 2, 1, 13, 60, 6), (2, 4, 4, 15, 77, 16), (1, 4, 2, 16, 200, 31),
    (2, 4, 2, 17, 255, 32), (1, 3, 1, 23, 257, 9), (3, 2, 2, 31, 90, 11), (1, 2, 1, 32, 150, 48), (2, 2, 1, 33, 123, 3),
    (1, 6, 1, 40, 99, 13), (1, 2, 2, 63, 64, 16), (1, 2, 1, 64, 300, 8), (1, 1, 1, 65, 131, 24), (2, 1, 1, 70, 70, 4),
    (1, 2, 2, 100, 123, 15), (1, 1, 1, 127, 200, 6), (1, 2, 1, 128, 129, 5), (1, 1, 1, 200, 211, 3), (1, 1, 1, 256, 300, 2),
]  # fmt: skip
TILES = ("none", "causal", "tree", "all slots")
TRAINING = [
    # L, block size, views, B, H, Hkv, D, documents
    (1, 1, 1, 1, 1, 1, 1, 1), (2, 1, 1, 1, 2, 1, 3, 1), (3, 2, 1, 2, 1, 1, 8, 1), (5, 5, 1, 1, 2, 2, 5, 2),
    (7, 3, 2, 1, 4, 2, 16, 1), (8, 4, 1, 2, 2, 1, 7, 1), (13, 4, 2, 1, 3, 3, 6, 3), (15, 8, 1, 1, 2, 2, 17, 1),
    (16, 4, 1, 1, 6, 2, 4, 2), (17, 5, 1, 3, 1, 1, 9, 1), (23, 8, 2, 1, 2, 1, 12, 1), (31, 8, 1, 1, 2, 2, 10, 4),
    (32, 8, 1, 2, 2, 1, 16, 1), (33, 8, 1, 1, 1, 1, 33, 2), (37, 6, 2, 1, 2, 2, 3, 1), (40, 16, 1, 1, 7, 1, 8, 1),
    (47, 16, 1, 1, 2, 1, 5, 3), (48, 3, 1, 1, 1, 1, 20, 1), (50, 32, 1, 1, 2, 2, 6, 1), (55, 4, 2, 1, 1, 1, 11, 2),
    (61, 7, 1, 2, 1, 1, 4, 1), (63, 64, 1, 1, 2, 1, 8, 1), (64, 32, 1, 1, 2, 2, 7, 1), (65, 32, 1, 1, 1, 1, 16, 5),
    (70, 10, 1, 1, 3, 1, 2, 1), (77, 11, 2, 1, 1, 1, 6, 1), (80, 8, 1, 1, 1, 1, 13, 2), (90, 45, 1, 1, 1, 1, 5, 1),
    (97, 16, 1, 1, 2, 1, 3, 3), (100, 7, 1, 1, 1, 1, 9, 1),
]  # fmt: skip
RULES = [("block", "clean"), ("token", "clean"), ("block", "noisy"), ("token", "noisy")]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def cached_case(size: tuple[int, ...], tile: str, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """Ragged rows; a few slots behind the window are seen too, and unseen ones hold large numbers."""
    batch, heads, key_heads, queries, slots, width = size
    generator = torch.Generator().manual_seed(sum(size))
    q = torch.randn(batch, heads, queries, width, generator=generator)
    k, v = (torch.randn(batch, key_heads, slots, width, generator=generator) for _ in range(2))
    start = torch.randint(slots - queries + 1, (batch,), generator=generator)
    visible = (start + queries + torch.randint(3, (batch,), generator=generator)).clamp(max=slots)
    for row, seen in enumerate(visible.tolist()):
        k[row, :, seen:], v[row, :, seen:] = 1e4, -1e4
    shown = {
        "none": None,
        "causal": torch.ones(1, queries, queries).tril().bool(),
        "tree": torch.rand(batch, queries, queries, generator=generator) < 0.5,
        "all slots": torch.rand(batch, queries, slots, generator=generator) < 0.5,
    }[tile]
    if tile == "all slots":
        start = torch.zeros_like(start)
    on = [x.to(device, dtype) for x in (q, k, v)]
    return (*on, start.to(device), visible.to(device), None if shown is None else shown.to(device))


def compare_cached(size: tuple[int, ...], tile: str, dtype: torch.dtype, implementation: str, device: str) -> None:
    """The cached form against float64, memory poisoned."""
    q, k, v, start, visible, shown = cached_case(size, tile, dtype, device)
    allowed = cached_mask(start, visible, q.shape[2], k.shape[2], shown)
    expected = attention(q.double(), k.double(), v.double(), allowed, 0.4)
    with poisoned():
        found = block_attention(q, k, v, start, visible, shown, scale=0.4, implementation=implementation)
    assert found.dtype == dtype
    close(found, expected, TOLERANCES[dtype], f"block_attention, tile {tile}")
    if tile not in ("none", "tree"):
        return
    rows = torch.randperm(2 * len(q), generator=torch.Generator().manual_seed(sum(size)))[: len(q)].to(device)
    stored = [
        torch.full((2 * len(q), *x.shape[1:]), 1e4, dtype=dtype, device=device).index_copy(0, rows, x) for x in (k, v)
    ]
    with poisoned():
        found = block_attention(q, *stored, start, visible, shown, rows, scale=0.4, implementation=implementation)
    close(found, expected, TOLERANCES[dtype], f"block_attention of rows {rows.tolist()}, tile {tile}")


def training_ids(length: int, size: int, views: int, documents: int, device: str) -> dict[str, Tensor]:
    """[view 1 | ... | clean], blocks and positions counted from the start of each document."""
    bounds = torch.linspace(0, length, documents + 1).long()
    document = torch.bucketize(torch.arange(length), bounds[1:], right=True).clamp(max=documents - 1)
    position = torch.arange(length) - bounds[document]
    ids = {"block": position // size + 1000 * document, "position": position + 1000 * document, "document": document}
    found = {name: one.repeat(views + 1)[None].to(device) for name, one in ids.items()}
    streams = torch.arange(1, views + 2).repeat_interleave(length) % (views + 1)
    return {"stream": streams[None].to(device), **found}


def compare_training(
    size: tuple[int, ...], rule: tuple[str, str], dtype: torch.dtype, implementation: str, device: str
) -> None:
    """The training form and its gradients against float64, memory poisoned."""
    length, block_size, views, batch, heads, key_heads, width, documents = size
    ids = training_ids(length, block_size, views, documents, device)
    order = ids["position"] if rule[0] == "token" else None
    document = ids["document"] if documents > 1 else None
    generator = torch.Generator().manual_seed(sum(size))
    total = length * (views + 1)
    given = [
        torch.randn(batch, n, total, width, generator=generator).to(device, dtype).requires_grad_()
        for n in (heads, key_heads, key_heads)
    ]
    wide = [one.detach().double().requires_grad_() for one in given]
    slope = torch.randn(batch, heads, total, width, generator=generator).to(device, dtype)
    allowed = training_mask(ids["stream"], ids["block"], ids["block"] if order is None else order, document, rule[1])
    expected = attention(*wide, allowed, 0.4)
    wanted = torch.autograd.grad((expected * slope.double()).sum(), wide)
    with poisoned():
        found = block_diffusion_attention(
            *given,
            ids["stream"],
            ids["block"],
            order,
            document,
            context=rule[1],
            scale=0.4,
            implementation=implementation,
        )
        gradients = torch.autograd.grad((found * slope).sum(), given)
    most = TOLERANCES[dtype]
    close(found, expected, most, f"block_diffusion_attention, {rule}")
    for name, one, other in zip("qkv", gradients, wanted, strict=True):
        # A query with one key has a constant output: its scores have no gradient.
        if other.abs().max() > 1e-9:
            close(one, other, 5 * most, f"gradient of {name}, {rule}")


def compare_edges(implementation: str, device: str) -> None:
    """A tile without slots, a scale of 0, and rows that are read more than once."""
    q, k, v, start, visible, _ = cached_case((3, 4, 2, 3, 20, 4), "none", torch.float32, device)
    places = {"start": start, "visible": visible, "implementation": implementation}
    expected = block_attention(q, k, v, **places)
    for lines in (1, 3):
        tile = torch.zeros(lines, 3, 0, dtype=torch.bool, device=device)
        close(block_attention(q, k, v, tile=tile, **places), expected, 1e-6, "a tile without slots")
    mask = cached_mask(start, visible, 3, 20, None)
    close(block_attention(q, k, v, scale=0.0, **places), attention(q, k, v, mask, 0.0), 3e-6, "scale 0")
    rows = torch.tensor([1, 0, 1], device=device)
    for seen in (visible, visible * 0 + 9):
        places["visible"] = seen
        found = block_attention(q, k[:2], v[:2], rows=rows, **places)
        mask = cached_mask(start, seen, 3, 20, None)
        close(found, attention(q, k[rows], v[rows], mask, 0.5), 3e-6, "repeated rows")
    ids = training_ids(5, 2, 1, 1, device)
    x = torch.randn(3, 1, 1, 10, 4, generator=torch.Generator().manual_seed(0)).to(device)
    found = block_diffusion_attention(*x, ids["stream"], ids["block"], scale=0.0, implementation=implementation)
    allowed = training_mask(ids["stream"], ids["block"], ids["block"], None, "clean")
    close(found, attention(*x, allowed, 0.0), 3e-6, "scale 0 in training")


def compare_cached_runs(implementation: str, device: str) -> None:
    """Two runs of the cached form, with as many parts as the slots allow and with one."""
    for size in ((2, 4, 2, 5, 600, 16), (1, 2, 1, 64, 300, 8), (3, 2, 2, 1, 33, 5)):
        for tile in ("none", "tree"):
            given = cached_case(size, tile, torch.float32, device)
            repeatable(lambda given=given: [block_attention(*given, implementation=implementation)])


def compare_training_runs(implementation: str, device: str) -> None:
    """Two runs of the training form and its gradients, heads that share keys among them."""
    for (length, size, views, documents), rule in zip(((70, 8, 1, 1), (61, 7, 2, 3)), RULES[1:3]):
        ids = training_ids(length, size, views, documents, device)
        generator = torch.Generator().manual_seed(length)
        q, k, v = (
            torch.randn(2, heads, (views + 1) * length, 8, generator=generator).to(device).requires_grad_()
            for heads in (4, 2, 2)
        )
        places = (ids["stream"], ids["block"], ids["position"] if rule[0] == "token" else None, ids["document"])

        def run(q=q, k=k, v=v, places=places, context=rule[1]) -> tuple[Tensor, ...]:
            output = block_diffusion_attention(q, k, v, *places, context=context, implementation=implementation)
            return (output, *torch.autograd.grad(output.square().sum(), (q, k, v)))

        repeatable(run)


def compile_whole(implementation: str, device: str) -> None:
    """Both forms inside `torch.compile` in one graph, the second with gradients; and what `torch.library` asks of an op."""
    triton = implementation == "triton"
    q, k, v, start, visible, tile = cached_case((2, 4, 2, 3, 10, 4), "tree", torch.float32, device)
    for shown, rows in ((None, None), (tile, torch.tensor([1, 0], device=device))):
        arguments = (q, k, v, start, visible, shown, rows)
        torch.library.opcheck(torch.ops.ar_kernels.block_attention.default, (*arguments, 0.5, triton))
        compiled = torch.compile(block_attention, fullgraph=True, backend="aot_eager")
        found, expected = (op(*arguments, implementation=implementation) for op in (compiled, block_attention))
        assert torch.equal(found, expected)
    ids = training_ids(20, 4, 1, 2, device)
    given = [
        torch.randn(2, n, 40, 4, generator=torch.Generator().manual_seed(n)).to(device).requires_grad_()
        for n in (4, 2, 2)
    ]
    if triton:
        packed = torch.stack([ids[name] for name in ("stream", "block", "position", "document")])
        # Its check of a compiled backward pass differentiates all outputs, and the normaliser is a constant.
        checks = ("test_schema", "test_autograd_registration", "test_faketensor")
        op = torch.ops.ar_kernels.block_diffusion_attention.default
        torch.library.opcheck(op, (*given, packed, False, 0.5), test_utils=checks)
        plain = [one.detach() for one in given]
        output, normaliser = op(*plain, packed, False, 0.5)
        torch.library.opcheck(
            torch.ops.ar_kernels.block_diffusion_attention_backward.default,
            (output, *plain, output, normaliser, packed, False, 0.5),
        )

    def layer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return block_diffusion_attention(
            q, k, v, ids["stream"], ids["block"], document=ids["document"], implementation=implementation
        )

    outputs = torch.compile(layer, fullgraph=True, backend="aot_eager")(*given), layer(*given)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-6)
    found, expected = (torch.autograd.grad(output.square().sum(), given) for output in outputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
