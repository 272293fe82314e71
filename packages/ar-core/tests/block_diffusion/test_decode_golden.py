"""Parity of the shared block decoder with recorded generations of DiffusionVL.

The recordings of Fast-dLLM v2 and Efficient-DLM are replayed in their own package.

Deviations, all wanted:
- we never commit the block of a finished row, so we need one forward less than recorded;
- the last block is filled beyond the asked length: where the length is not a whole number of blocks, cases are run up to the
  end of the last block and cut, as the published code does;
- one case stops all rows of a batch when one stops: rows are compared up to that point.
"""

import json
from pathlib import Path

import pytest
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def diffusion_vl(golden_dir: Path) -> HFBackbone:
    fields = json.loads((golden_dir / "dvlm/text_model.json").read_text())["text_config"]
    model = Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in fields.items() if k != "rope_scaling"})).eval()
    model.load_state_dict(load_file(golden_dir / "dvlm/gen_model.safetensors"), strict=True)
    return HFBackbone(model)


@pytest.mark.parametrize("number", range(20))
def test_diffusion_vl(number: int, diffusion_vl: HFBackbone, golden_dir: Path):
    """Absolute grid, unshifted, first tokens denoised, block-causal context; schedule alone or with a threshold."""
    cases = json.loads((golden_dir / "dvlm/generate.json").read_text())
    assert len(cases) == 20
    case = cases[number]
    tensors = load_file(golden_dir / "dvlm/generate.safetensors")
    prompts = tensors[f"{case['case']}.prompt_ids"].tolist()
    expected = tensors[f"{case['case']}.output_ids"].tolist()
    size, threshold = case["block_size"], case["confidence_threshold"]
    policy = BlockPolicy(
        block_size=size,
        mask_id=120,
        threshold=1.0 if threshold is None else threshold,
        strict=True,
        steps=case["steps"],
        shift=False,
        first_token="denoise",
    )
    whole = -(case["prompt_len"] + case["gen_length"]) % size + case["gen_length"]
    decoded = decode_blocks(diffusion_vl, prompts, policy, stop=StopRule(frozenset({121}), whole, keep_stop=True))
    for tokens, recorded in zip(decoded.tokens, expected, strict=True):
        # What the published code had not reached when it stopped the batch is returned as masks.
        reached = recorded.index(120) if 120 in recorded else case["gen_length"]
        kept = tokens[:reached]
        assert kept == recorded[: len(kept)]
        assert len(kept) == reached or kept[-1] == 121
    if len(prompts) == 1 and not case["has_eos"]:
        assert decoded.stats.nfe == case["n_forward_total"] - 1


@pytest.mark.parametrize("commit", ["separate", "fused"])
def test_fused_commit_is_exact_where_all_tokens_are_denoised(commit: str, diffusion_vl: HFBackbone, golden_dir: Path):
    """DiffusionVL oracle 14: same tokens, one forward less for every block but the last."""
    tensors = load_file(golden_dir / "dvlm/generate.safetensors")
    prompt = tensors["c12.prompt_ids"].tolist()
    policy = BlockPolicy(
        block_size=4, mask_id=120, steps=3, threshold=1.0, shift=False, first_token="denoise", commit=commit
    )
    decoded = decode_blocks(diffusion_vl, prompt, policy, stop=StopRule(frozenset({121}), 18))
    assert decoded.tokens[0][:16] == tensors["c12.output_ids"][0].tolist()
    assert decoded.stats.nfe == {"separate": 18, "fused": 14}[commit]
