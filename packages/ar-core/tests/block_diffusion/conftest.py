"""For decoder tests: a small random transformer in plain torch, a backbone whose predictions are scripted, and a decoder
without cache."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone
from ar_core.masks import Mask, Tokens, block_causal
from torch import Tensor


class TinyTransformer:
    """A random decoder-only transformer: RoPE, grouped queries, biases; its logits are spread wide, so that argmax
    is safe."""

    def __init__(self, seed: int = 0, vocab: int = 97, context: int = 512, dtype: torch.dtype = torch.float32) -> None:
        self.vocab_size, self.context_length, self.dtype, self.device = vocab, context, dtype, torch.device("cpu")
        self.heads, self.kv_heads, self.head_dim, self.layers = 4, 2, 8, 2
        self.calls: list[dict[str, Any]] = []
        generator = torch.Generator().manual_seed(seed)
        width = self.heads * self.head_dim

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

        self.table = draw(vocab, width)
        self.blocks = [
            {
                "q": draw(width, width, scale=0.3),
                "k": draw(width, self.kv_heads * self.head_dim, scale=0.3),
                "v": draw(width, self.kv_heads * self.head_dim, scale=0.3),
                "bias": draw(width, scale=0.3),
                "o": draw(width, width, scale=0.3),
                "up": draw(width, 2 * width, scale=0.3),
                "down": draw(2 * width, width, scale=0.2),
            }
            for _ in range(self.layers)
        ]
        self.out = draw(width, vocab, scale=0.5)

    def embed(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def head(self, hidden: Tensor) -> Tensor:
        return hidden @ self.out

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        return WindowedKVCache(self.layers, batch, self.kv_heads, self.head_dim, capacity, self.dtype)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        x = self.embed(ids) if embeds is None else embeds
        if cache is not None:
            self.calls.append({"ids": ids, "starts": cache.starts, "visibles": cache.visibles, "length": x.shape[1]})
        for i, block in enumerate(self.blocks):
            h = _norm(x)
            q = self._split(h @ block["q"] + block["bias"], self.heads, positions)
            k = self._split(h @ block["k"], self.kv_heads, positions)
            v = self._split(h @ block["v"], self.kv_heads, None)
            if cache is not None:
                k, v = cache.update(i, k, v)
            attended = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=None if mask is None else mask.dense(), enable_gqa=True
            )
            x = x + attended.transpose(1, 2).flatten(2) @ block["o"]
            x = x + torch.nn.functional.silu(_norm(x) @ block["up"]) @ block["down"]
        return _norm(x)

    def _split(self, x: Tensor, heads: int, positions: Tensor | None) -> Tensor:
        x = x.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)
        if positions is None:
            return x
        half = self.head_dim // 2
        angle = positions[:, None, :, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        first, second = x[..., :half], x[..., half:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Scripted:
    """A backbone without weights: position i is predicted as `script(i)`, a token and the probability it is given.

    Predictions do not depend on what is known so far, so a script says exactly what a decoder must produce. The
    hidden state at position i-1 (shift) or i carries the position, the head turns it into logits.
    """

    def __init__(self, script: Callable[[int], tuple[int, float]], vocab: int = 50, shift: bool = True) -> None:
        self.script, self.vocab_size, self.context_length, self.shift = script, vocab, 4096, shift
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.calls: list[dict[str, Any]] = []
        self.predicted: list[list[int]] = []

    def embed(self, ids: Tensor) -> Tensor:
        return ids[..., None].float()

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        return WindowedKVCache(1, batch, 1, 1, capacity)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        self.calls.append({"ids": ids, "starts": cache.starts, "visibles": cache.visibles, "length": ids.shape[1]})
        cache.update(0, ids[:, None, :, None].float(), ids[:, None, :, None].float())
        return positions[..., None].float()

    def head(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1).long() + self.shift
        self.predicted.append(flat.tolist())
        said = [self.script(position) for position in flat.tolist()]
        rest = [[math.log((1 - probability) / (self.vocab_size - 1))] for _, probability in said]
        logits = torch.tensor(rest).repeat(1, self.vocab_size)
        logits[range(len(said)), [token for token, _ in said]] = torch.tensor([math.log(p) for _, p in said])
        return logits.view(*hidden.shape[:-1], self.vocab_size)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TinyTransformer]:
    """Makes a small random transformer."""
    return TinyTransformer


@pytest.fixture(scope="session")
def scripted() -> Callable[..., Scripted]:
    """Makes a backbone whose predictions are written down."""
    return Scripted


Passes = list[dict[int, int]]
"""What each pass fixed: offset into the generated tokens to token."""


@torch.no_grad()
def _recompute(backbone: Backbone, prompt: list[int], policy: BlockPolicy, n: int) -> tuple[list[int], Passes]:
    """Fast-dLLM v2 without cache, batch or bookkeeping: every pass runs the whole sequence, greedily, without stops.

    Gives the n tokens and what each pass fixed.
    """
    size, window, fused = policy.block_size, policy.window, policy.commit == "fused"
    ids, start, end = list(prompt), len(prompt), len(prompt) + n
    masked: list[int] = []
    passes: Passes = []

    def predict(length: int) -> list[tuple[float, int]]:
        passes.append({})
        positions = torch.arange(length)[None]
        mask = Mask.self_attention(block_causal(), Tokens(block=positions // size))
        hidden = backbone.hidden(torch.tensor([ids[:length]]), positions=positions, mask=mask)
        logits = backbone.head(hidden)[0]
        logits[:, policy.mask_id] = -math.inf
        best = logits.softmax(-1).max(-1)
        return [(0.0, 0), *zip(best.values.tolist(), best.indices.tolist())]

    def fix(predicted: list[tuple[float, int]], positions: list[int], forced: int) -> None:
        for i in positions:
            if i == forced or (policy.threshold < 1 and predicted[i][0] >= policy.threshold):
                ids[i] = passes[-1][i - start] = predicted[i][1]
                masked.remove(i)

    def open_block(first: int) -> None:
        masked.extend(i for i in range(first, min(first + size, end)) if i >= len(ids))
        ids.extend([policy.mask_id] * (first + size - len(ids)))

    block = start // size * size
    open_block(block)
    if block:
        predicted = predict(block)
        if masked[0] == block:
            fix(predicted, [block], block)
    while True:
        while masked:
            candidates = [i for i in masked if (i - block) // window == (masked[0] - block) // window]
            predicted = predict(block + size)
            fix(predicted, candidates, max(candidates, key=lambda i: predicted[i][0]))
        block += size
        if block >= end:
            return ids[start:end], passes
        open_block(block)
        candidates = [i for i in masked if i < block + window] if fused else [block]
        predicted = predict(block + size if len(candidates) > 1 else block)
        fix(predicted, candidates, block)


@pytest.fixture(scope="session")
def recompute() -> Callable[[Backbone, list[int], BlockPolicy, int], tuple[list[int], Passes]]:
    """A decoder without cache, to hold the cached one against."""
    return _recompute
