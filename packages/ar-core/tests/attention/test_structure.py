"""Masks in words, and the calls of flash-attn and xformers that they become."""

import sys
from types import SimpleNamespace

import pytest
import torch
from ar_core.attention import attend, choose, flash_attn, xformers
from ar_core.attention.structure import Structure, structure
from ar_core.errors import BackendError
from ar_core.masks import Mask, Tokens, bidirectional, block_causal, causal, document, padding, sliding_window


def tokens(length: int, **more: torch.Tensor) -> Tokens:
    return Tokens(position=torch.arange(length), **more)


DOCUMENTS = torch.tensor([[0, 0, 0, 1, 1, 2], [5, 5, 5, 5, 5, 5]])
RESTARTING = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]])
LENGTHS = (3, 2, 1, 6)
PACKED = Tokens(position=RESTARTING, document=DOCUMENTS)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, Structure()),
        (Mask.self_attention(bidirectional(), tokens(6)), Structure()),
        (Mask.self_attention(causal(), tokens(6)), Structure(causal=True)),
        (Mask(causal(), tokens(6).slice(4, 6), tokens(6)), Structure(causal=True)),
        (Mask.self_attention(causal() & sliding_window(3), tokens(6)), Structure(causal=True, window=3)),
        (Mask.self_attention(causal() & document(), PACKED), Structure(causal=True, documents=LENGTHS)),
        (Mask.self_attention(document(), PACKED), Structure(documents=LENGTHS)),
        (
            Mask.self_attention(causal() & sliding_window(2) & document(), PACKED),
            Structure(causal=True, window=2, documents=LENGTHS),
        ),
        (
            Mask.self_attention(document() & causal(), tokens(6, document=torch.tensor([0, 0, 1, 1, 1, 1]))),
            Structure(causal=True, documents=(2, 4, 2, 4)),
        ),
    ],
    ids=["none", "full", "causal", "window-of-a-cache", "sliding", "packed", "packed-full", "packed-sliding", "shared"],
)
def test_masks_in_words(mask, expected):
    assert structure(mask, 2) == expected


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (Mask.self_attention(block_causal(), Tokens(block=torch.arange(6))), "the rule block_causal.* is none of full"),
        (Mask.self_attention(causal() & padding(), tokens(6, valid=torch.ones(6).long())), "is none of full"),
        (Mask.self_attention(~causal(), tokens(6)), "is none of full"),
        (Mask(causal(), tokens(6).slice(1, 3), tokens(6)), "do not count one by one up to the same end"),
        (Mask.self_attention(causal(), Tokens(position=torch.tensor([0, 2, 1]))), "do not count one by one"),
        (Mask(causal(), tokens(3).slice(2, 3), Tokens(position=torch.tensor([1, 0, 2]))), "do not count one by one"),
        (Mask.self_attention(document(), tokens(3, document=torch.tensor([0, 1, 0]))), "lies in several pieces"),
        (
            Mask.self_attention(causal() & document(), Tokens(position=DOCUMENTS, document=DOCUMENTS)),
            "do not count one by one within each document",
        ),
        (Mask(document(), Tokens(document=DOCUMENTS), Tokens(document=DOCUMENTS)), "within one sequence only"),
    ],
    ids=[
        "blocks",
        "padding",
        "other-way",
        "not-at-the-end",
        "permuted",
        "permuted-cache",
        "pieces",
        "positions",
        "cache",
    ],
)
def test_masks_that_libraries_do_not_have(mask, why):
    found = structure(mask, 2)
    assert isinstance(found, str)
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(found)


@pytest.fixture
def on_cuda(monkeypatch):
    """Both libraries as if they were there, recording how they are called; answers have the right shape and are zeros."""
    calls = []

    def flash(q, k, v, **options):
        calls.append((tuple(q.shape), tuple(k.shape), options))
        return torch.zeros_like(q)

    def efficient(q, k, v, attn_bias=None, scale=None):
        calls.append((tuple(q.shape), tuple(k.shape), attn_bias, scale))
        return torch.zeros_like(q)

    def bias(name):
        def make(*arguments):
            return (name, *arguments)

        return make

    class Blocks:
        @staticmethod
        def from_seqlens(lengths):
            return Blocks(lengths)

        def __init__(self, lengths):
            self.lengths = lengths

        def __eq__(self, other):
            return ("documents", self.lengths) == other

        def make_causal(self):
            return ("causal documents", self.lengths)

    biases = SimpleNamespace(
        BlockDiagonalMask=Blocks,
        LowerTriangularFromBottomRightMask=bias("causal"),
        LowerTriangularFromBottomRightLocalAttentionMask=bias("window"),
    )
    ops = SimpleNamespace(memory_efficient_attention=efficient, fmha=SimpleNamespace(attn_bias=biases))
    library = SimpleNamespace(flash_attn_func=flash, flash_attn_varlen_func=flash)
    for name, module in (("flash_attn", library), ("xformers", SimpleNamespace(ops=ops)), ("xformers.ops", ops)):
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def heads(mask: Mask | None, dtype=torch.bfloat16) -> list[torch.Tensor]:
    queries, keys = (6, 6) if mask is None else mask.shape[2:]
    return [torch.zeros(2, n, length, 8, dtype=dtype) for n, length in ((4, queries), (2, keys), (2, keys))]


def test_calls_of_flash_attn(on_cuda):
    for mask, causal_, window in (
        (None, False, (-1, -1)),
        (Mask(causal(), tokens(9).slice(7, 9), tokens(9)), True, (-1, -1)),
        (Mask.self_attention(causal() & sliding_window(3), tokens(6)), True, (2, 0)),
    ):
        q, k, v = heads(mask)
        assert flash_attn.compute(q, k, v, mask, 0.5).shape == q.shape
        asked_q, asked_k, options = on_cuda.pop()
        assert asked_q == (2, q.shape[2], 4, 8)
        assert asked_k == (2, k.shape[2], 2, 8)
        assert options == {"softmax_scale": 0.5, "causal": causal_, "window_size": window}
    mask = Mask.self_attention(causal() & document(), PACKED)
    q, k, v = heads(mask)
    assert flash_attn.compute(q, k, v, mask, None).shape == q.shape
    asked_q, asked_k, options = on_cuda.pop()
    assert (asked_q, asked_k) == ((12, 4, 8), (12, 2, 8))
    edges = options.pop("cu_seqlens_q")
    assert edges.dtype == torch.int32
    assert edges.tolist() == options.pop("cu_seqlens_k").tolist() == [0, 3, 5, 6, 12]
    assert options == {
        "max_seqlen_q": 6, "max_seqlen_k": 6, "softmax_scale": None, "causal": True, "window_size": (-1, -1),
    }  # fmt: skip


def test_calls_of_xformers(on_cuda):
    for mask, bias in (
        (None, None),
        (Mask(causal(), tokens(9).slice(7, 9), tokens(9)), ("causal",)),
        (Mask.self_attention(causal() & sliding_window(3), tokens(6)), ("window", 3)),
    ):
        q, k, v = heads(mask)
        assert xformers.compute(q, k, v, mask, 0.5).shape == q.shape
        assert on_cuda.pop() == ((2, q.shape[2], 2, 2, 8), (2, k.shape[2], 2, 2, 8), bias, 0.5)
    for rule, bias in ((causal() & document(), "causal documents"), (document(), "documents")):
        mask = Mask.self_attention(rule, PACKED)
        q, k, v = heads(mask)
        assert xformers.compute(q, k, v, mask, None).shape == q.shape
        asked_q, asked_k, given, scale = on_cuda.pop()
        assert (asked_q, asked_k, scale) == ((1, 12, 2, 2, 8), (1, 12, 2, 2, 8), None)
        assert given == (bias, list(LENGTHS))


def test_refusals_say_why():
    q, k, _ = heads(None)
    assert flash_attn.refuses(q.float(), k.float(), None) == (
        "flash-attn computes in float16 and bfloat16 and was given float32"
    )
    assert flash_attn.refuses(q, k, None) == "flash-attn runs on CUDA and the tensors are on cpu"
    assert xformers.refuses(q.double(), k.double(), None) == "xformers has no kernel for float64"
    assert xformers.refuses(q, k, None) == "xformers runs on CUDA and the tensors are on cpu"
    on_cuda = SimpleNamespace(dtype=torch.bfloat16, device=SimpleNamespace(type="cuda"), shape=(2, 4, 6, 8))
    blocks = Mask.self_attention(block_causal(), Tokens(block=torch.arange(6)))
    for library in (flash_attn, xformers):
        assert library.refuses(on_cuda, on_cuda, None) is None
        assert "is none of full" in library.refuses(on_cuda, on_cuda, blocks)
    both = Mask.self_attention(causal() & sliding_window(2) & document(), PACKED)
    assert flash_attn.refuses(on_cuda, on_cuda, both) is None
    assert xformers.refuses(on_cuda, on_cuda, both) == "xformers has no sliding window over packed documents"


@pytest.mark.parametrize(("name", "package"), [("flash_attn", "flash-attn"), ("xformers", "xformers")])
def test_absent_libraries_are_named_with_what_installs_them(name, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    q, k, v = heads(None)
    with pytest.raises(
        BackendError, match=rf"'{name}' cannot be used here: {package} is not installed \(pip install 'ar-core\["
    ):
        attend(q, k, v, None, backend=name)
    assert choose(q, k, None).name == "sdpa"


def test_ids_are_read_once_a_mask(monkeypatch):
    reads = []
    monkeypatch.setattr(
        torch.Tensor, "tolist", lambda tensor, real=torch.Tensor.tolist: (reads.append(1), real(tensor))[1]
    )
    mask = Mask.self_attention(causal() & document(), PACKED)
    first = structure(mask, 2)
    count = len(reads)
    assert count > 0
    assert structure(mask, 2) is first
    assert len(reads) == count
