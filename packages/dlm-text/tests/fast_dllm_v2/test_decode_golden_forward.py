"""Parity with recorded evaluation-mode logits of the published code: block-causal passes, whole and from the cache."""

import json
from pathlib import Path

import pytest
import torch
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def backbone(golden_dir: Path) -> HFBackbone:
    fields = json.loads((golden_dir / "text/fdv2_tiny_config.json").read_text())
    config = Qwen2Config(
        **{k: v for k, v in fields.items() if k not in ("architectures", "model_type", "rope_scaling")}
    )
    model = Qwen2ForCausalLM(config).eval()
    model.load_state_dict(load_file(golden_dir / "text/fdv2_tiny_weights.safetensors"), strict=True)
    return HFBackbone(model)


@pytest.fixture(scope="module")
def recorded(golden_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(golden_dir / "text/fdv2_eval_forward.safetensors")


@pytest.mark.parametrize("size", [32, 8])
def test_block_causal_forward(backbone: HFBackbone, recorded: dict[str, torch.Tensor], size: int):
    ids = recorded["eval_ids"]
    positions = torch.arange(ids.shape[1])
    mask = Mask.self_attention(block_causal(), Tokens(block=positions // size))
    with torch.no_grad():
        logits = backbone.head(backbone.hidden(ids, positions=positions.expand_as(ids), mask=mask))
    assert (logits - recorded[f"eval_logits_b{size}"]).abs().max() < 1e-4


def test_second_block_from_the_cache(backbone: HFBackbone, recorded: dict[str, torch.Tensor]):
    """The committed first block, then the second without any mask; the pass is read-only, so it can be repeated."""
    ids = recorded["eval_ids"]
    cache = backbone.new_cache(2, 64)
    with torch.no_grad():
        cache.window(32)
        backbone.hidden(ids[:, :32], positions=cache.query_positions(), mask=None, cache=cache)
        cache.keep(32)
        for _ in range(2):
            cache.window(32)
            hidden = backbone.hidden(ids[:, 32:], positions=cache.query_positions(), mask=None, cache=cache)
            cache.keep(0)
            difference = (backbone.head(hidden) - recorded["eval_logits_cached_second_block"]).abs().max()
            assert difference < 1e-4
    assert cache.lengths == [32, 32]
