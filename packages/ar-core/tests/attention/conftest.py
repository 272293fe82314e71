from collections.abc import Callable

import pytest
import torch
from ar_core.masks import Mask, Tokens, block_diffusion, causal, document, noise_aware_causal, padding
from torch import Tensor


def streams(length: int, block: int, views: int) -> Tokens:
    index = torch.arange(length)
    order = [*range(1, views + 1), 0]
    return Tokens.cat([Tokens(stream=torch.full((length,), s), block=index // block, position=index) for s in order])


def packed() -> Mask:
    lengths = torch.tensor([[150, 1, 149], [40, 60, 200]])
    owner = torch.stack([torch.arange(3).repeat_interleave(row) for row in lengths])
    return Mask.self_attention(causal() & document(), Tokens(position=torch.arange(300), document=owner))


def ragged_cached() -> Mask:
    starts, new, span = torch.tensor([0, 113]), 63, 200
    slots = torch.arange(span)
    queries = Tokens(position=starts[:, None] + torch.arange(new))
    keys = Tokens(position=slots, valid=slots < (starts + new)[:, None])
    return Mask(causal() & padding(), queries, keys)


def hidden_rows() -> Mask:
    valid = (torch.arange(200) >= 140).long()
    return Mask.self_attention(causal() & padding(), Tokens(position=torch.arange(200), valid=valid))


def jacobi() -> Mask:
    prompt, copies = torch.arange(41), torch.arange(90)
    parts = [Tokens(stream=torch.zeros_like(prompt), block=torch.full_like(prompt, -1), position=prompt)]
    parts += [Tokens(stream=torch.full_like(copies, s), block=copies // 9, position=41 + copies) for s in (1, 0)]
    return Mask.self_attention(noise_aware_causal(2), Tokens.cat(parts))


MASKS: dict[str, Callable[[], Mask]] = {
    "causal-1": lambda: Mask.self_attention(causal(), Tokens(position=torch.arange(1))),
    "causal-300": lambda: Mask.self_attention(causal(), Tokens(position=torch.arange(300))),
    "diffusion-2L": lambda: Mask.self_attention(block_diffusion(), streams(128, 32, 1)),
    "diffusion-2L-odd": lambda: Mask.self_attention(block_diffusion(), streams(123, 7, 1)),
    "diffusion-3L": lambda: Mask.self_attention(block_diffusion(), streams(64, 16, 2)),
    "diffusion-3L-odd": lambda: Mask.self_attention(block_diffusion(), streams(100, 33, 2)),
    "jacobi": jacobi,
    "hidden-rows": hidden_rows,
    "packed-per-row": packed,
    "ragged-cached": ragged_cached,
}


@pytest.fixture(params=list(MASKS))
def mask(request: pytest.FixtureRequest) -> Mask:
    return MASKS[request.param]()


@pytest.fixture
def training_mask() -> Mask:
    return MASKS["diffusion-3L-odd"]()


@pytest.fixture
def tensors() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """q, k, v for a mask: batch 2, 6 query heads over 2 key heads of width 8, in float64 unless told otherwise."""

    def make(mask: Mask, dtype: torch.dtype = torch.float64, grad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        _, _, queries, keys = mask.shape
        shapes = [(2, 6, queries, 8), (2, 2, keys, 8), (2, 2, keys, 8)]
        q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
        return q.requires_grad_(grad), k.requires_grad_(grad), v.requires_grad_(grad)

    return make


@pytest.fixture
def poisoned():
    """Uninitialised memory, in Python and inside torch's operators, reads as NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.fixture
def reference() -> Callable[[Tensor, Tensor, Tensor, Mask], Tensor]:
    """Attention written out: softmax over visible keys, 0 where nothing is visible."""

    def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> Tensor:
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        weights = scores.exp() * mask.dense()
        total = weights.sum(-1, keepdim=True)
        return weights @ v / (total + (total == 0))

    return compute
