"""What training computes is what cached decoding computes. Oracle numbers: the method's specification."""

import pytest
import torch
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.cache import WindowedKVCache
from ar_core.corruption import PositionDependent, SampleRng, hide
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, causal
from torch import Tensor


def training_pass(backbone: HFBackbone, noised: Tensor, clean: Tensor, size: int, stream: str) -> tuple[Tensor, Tensor]:
    """Hidden states [1, L, C] of the noised and of the clean half, in one 2L pass."""
    layout = block_diffusion_layout(block_grid(clean.shape[1], size), num_views=1)
    ids = layout.sequence([noised], clean)
    mask = block_diffusion_mask(layout.tokens, clean=stream)  # type: ignore[arg-type]
    first, second = backbone.hidden(ids, positions=layout.positions.expand_as(ids), mask=mask).chunk(2, dim=1)
    return first, second


def cached_pass(backbone: HFBackbone, cache: WindowedKVCache, ids: Tensor, *, commit: bool, by_token: bool) -> Tensor:
    """Hidden states of one block behind the cache: all its tokens see the cache and each other, or what is before them."""
    cache.window(ids.shape[1])
    positions = cache.query_positions()
    mask = None
    if by_token:
        mask = Mask(causal(), Tokens(position=positions[0]), Tokens(position=torch.arange(cache.span)))
    hidden = backbone.hidden(ids, positions=positions, mask=mask, cache=cache)
    cache.keep(ids.shape[1] if commit else 0)
    return hidden


@pytest.mark.parametrize("stream", ["block", "token"])
@pytest.mark.parametrize(("length", "size"), [(24, 8), (27, 8), (9, 1), (13, 13)], ids=["8x3", "tail", "one", "whole"])
@torch.no_grad()
def test_training_rows_equal_cached_passes(qwen3, mask_id: int, length: int, size: int, stream: str) -> None:
    """Oracles 7 and 8: noised rows of block b equal a denoising pass behind the committed clean blocks before b, and clean
    rows equal the commit pass, block-causal or, for the hybrid, causal."""
    backbone = HFBackbone(qwen3)
    clean = torch.randint(mask_id, (1, length), generator=torch.Generator().manual_seed(0))
    blocks = torch.arange(length) // size
    hidden = PositionDependent(size)(torch.ones(length, dtype=torch.bool), blocks, SampleRng(1).row(0, "mask"))
    noised = hide(clean, hidden[None], mask_id=mask_id)
    assert 0 < hidden.sum() < length
    expected, committed = training_pass(backbone, noised, clean, size, stream)
    cache = backbone.new_cache(1, length)
    for start in range(0, length, size):
        block = slice(start, min(start + size, length))
        got = cached_pass(backbone, cache, noised[:, block], commit=False, by_token=False)
        torch.testing.assert_close(got, expected[:, block], rtol=0, atol=1e-5)
        got = cached_pass(backbone, cache, clean[:, block], commit=True, by_token=stream == "token")
        torch.testing.assert_close(got, committed[:, block], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stream", ["block", "token"])
@torch.no_grad()
def test_clean_rows_do_not_see_the_noise(qwen3, mask_id: int, stream: str) -> None:
    """Oracle 8: the clean half is invariant to the draw."""
    backbone = HFBackbone(qwen3)
    clean = torch.randint(mask_id, (1, 14), generator=torch.Generator().manual_seed(0))
    halves = [training_pass(backbone, noised, clean, 4, stream) for noised in (torch.full_like(clean, mask_id), clean)]
    assert torch.equal(halves[0][1], halves[1][1])
    assert not torch.equal(halves[0][0], halves[1][0])
