"""Parity with recorded generations of a generic sampler (NeMo Automodel's) over a tiny checkpoint in the published layout.

The one deviation is wanted: the block of a finished row is never committed, so we need one forward less than recorded.
"""

import json
from pathlib import Path

import pytest
from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone
from dlm_text.efficient_dlm.checkpoint import load_checkpoint
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def backbone(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> HFBackbone:
    """The recorded weights as a folder in the published layout, read by our loader; the head 25 times as large."""
    folder = tmp_path_factory.mktemp("edlm")
    fields = json.loads((golden_dir / "text/edlm_tiny_config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields))
    tensors = load_file(golden_dir / "text/edlm_tiny_weights.safetensors")
    tensors["diffusion_head.weight"] = tensors["diffusion_head.weight"] * 25
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = load_checkpoint(folder)
    assert (loaded.conversion.mask_id, loaded.conversion.diffusion_block_size) == (380, 8)
    assert (loaded.conversion.attention_pattern, loaded.conversion.half_life_ratio) == ("block_clean", 0.1)
    return HFBackbone(loaded.model)


@pytest.mark.parametrize("number", range(21))
def test_recorded_generations(number: int, backbone: HFBackbone, golden_dir: Path) -> None:
    """Schedules and thresholds, several block sizes, bidirectional or causal context, with and without a stop."""
    cases = json.loads((golden_dir / "text/edlm_generate.json").read_text())["cases"]
    assert len(cases) == 21
    case = cases[number]
    n, size, threshold = case["max_new_tokens"], case["block_size"], case["threshold"]
    config = EfficientDLMDecodeConfig(
        mask_id=380,
        diffusion_block_size=size,
        threshold=1.0 if threshold is None else threshold,
        steps=case["steps"] // (n // size) if threshold is None else None,
        context="causal" if case["causal_context"] else "bidirectional",
    )
    stop = StopRule(frozenset({case.get("eos_token_id", 381)}), n, keep_stop=True)
    decoded = generate(backbone, [case["prompt"]], config, stop=stop)
    assert case["prompt"] + decoded.tokens[0] == case["output"]
    assert decoded.stats.nfe == case["forward_calls"] - 1
