"""What training computes is what cached decoding computes, and what the published code computed."""

import json
from pathlib import Path

import pytest
import torch
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.corruption import SampleRng, UniformRatePerBlock, complementary_pair, hide
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM


def training_pass(backbone: HFBackbone, views: list[Tensor], clean: Tensor, size: int) -> list[Tensor]:
    """Hidden states [1, L, C] of each view and of the clean stream, in one 3L pass."""
    layout = block_diffusion_layout(block_grid(clean.shape[1], size))
    ids = layout.sequence(views, clean)
    hidden = backbone.hidden(ids, positions=layout.positions.expand_as(ids), mask=block_diffusion_mask(layout.tokens))
    return list(hidden.split(clean.shape[1], dim=1))


def cached_pass(backbone: HFBackbone, cache, ids: Tensor, *, commit: bool) -> Tensor:
    """Hidden states of one block behind the cache: all its tokens see the cache and each other."""
    cache.window(ids.shape[1])
    length = cache.span
    everything = torch.zeros(length, dtype=torch.int64)
    mask = Mask(block_causal(), Tokens(block=everything[: ids.shape[1]]), Tokens(block=everything))
    hidden = backbone.hidden(ids, positions=cache.query_positions(ids.shape[1]), mask=mask, cache=cache)
    cache.keep(ids.shape[1] if commit else 0)
    return hidden


@pytest.mark.parametrize(("length", "size"), [(24, 8), (27, 8), (9, 1), (13, 13)], ids=["8x3", "tail", "one", "whole"])
@torch.no_grad()
def test_training_rows_equal_cached_passes(model, mask_id: int, length: int, size: int) -> None:
    """Oracles 3 and 4: noised rows of block b equal a denoising pass behind the committed blocks before b, and clean
    rows equal the commit pass."""
    backbone = HFBackbone(model)
    clean = torch.randint(mask_id, (1, length), generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones(length, dtype=torch.bool)
    drawn = UniformRatePerBlock()(everywhere, torch.arange(length) // size, SampleRng(1).row(0, "mask"))
    views = [hide(clean, view[None], mask_id=mask_id) for view in complementary_pair(drawn, everywhere)]
    *noised, committed = training_pass(backbone, views, clean, size)
    cache = backbone.new_cache(1, length)
    for start in range(0, length, size):
        block = slice(start, min(start + size, length))
        for view, expected in zip(views, noised):
            got = cached_pass(backbone, cache, view[:, block], commit=False)
            torch.testing.assert_close(got, expected[:, block], rtol=0, atol=1e-5)
        got = cached_pass(backbone, cache, clean[:, block], commit=True)
        torch.testing.assert_close(got, committed[:, block], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_clean_stream_does_not_see_the_views(model, mask_id: int) -> None:
    """What makes one clean stream enough for both views: it is the same whatever is hidden."""
    backbone = HFBackbone(model)
    clean = torch.randint(mask_id, (1, 14), generator=torch.Generator().manual_seed(0))
    hidden = torch.full_like(clean, mask_id)
    with_noise = training_pass(backbone, [hidden, clean], clean, 4)[-1]
    without = training_pass(backbone, [clean, clean], clean, 4)[-1]
    torch.testing.assert_close(with_noise, without, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def published(golden_dir: Path) -> HFBackbone:
    """The tiny recorded model."""
    fields = json.loads((golden_dir / "text/fdv2_tiny_config.json").read_text())
    kept = {k: v for k, v in fields.items() if k not in ("architectures", "model_type")}
    model = Qwen2ForCausalLM(Qwen2Config(**kept)).eval()
    model.load_state_dict(load_file(golden_dir / "text/fdv2_tiny_weights.safetensors"), strict=True)
    return HFBackbone(model)


@pytest.mark.golden
@pytest.mark.parametrize("size", [32, 8])
@torch.no_grad()
def test_the_clean_stream_equals_the_recorded_forward(published: HFBackbone, golden_dir: Path, size: int) -> None:
    """Clean rows of a training pass have the logits of the published evaluation forward (text/fdv2_eval_forward)."""
    recorded = load_file(golden_dir / "text/fdv2_eval_forward.safetensors")
    ids = recorded["eval_ids"]
    clean = training_pass(published, [ids, ids], ids, size)[-1]
    torch.testing.assert_close(published.head(clean), recorded[f"eval_logits_b{size}"], rtol=0, atol=1e-4)


@torch.no_grad()
def test_block_of_one_is_the_base_model(model, mask_id: int) -> None:
    """Oracle 2: with D = 1 the clean training stream has the logits of the plain causal model."""
    backbone = HFBackbone(model)
    ids = torch.randint(mask_id, (2, 17), generator=torch.Generator().manual_seed(0))
    clean = training_pass(backbone, [ids, ids], ids, 1)[-1]
    reference = type(model)(model.config).double().eval()
    reference.load_state_dict(model.state_dict())
    reference.set_attn_implementation("sdpa")
    torch.testing.assert_close(backbone.head(clean), reference(ids).logits, rtol=0, atol=1e-6)
