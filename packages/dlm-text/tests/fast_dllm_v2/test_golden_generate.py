"""Parity with recorded generations of the published code: tokens, and every forward with what it stored.

No case deviates: the recording holds no prompt of exactly D tokens, no positive temperature and no stop, which are where
we differ on purpose. Cases: P = 5, 33, 64; tau = 1, .9, .6; D = 32, S = 8, N = 96, sub-block cache off.
"""

import json
from pathlib import Path

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig, generate
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

pytestmark = pytest.mark.golden

MASK, STOP = 500, 501


class Recorder(WindowedKVCache):
    """A cache that notes each pass in the columns of the recording."""

    def window(self, length, start=None, visible=None, rows=None):
        super().window(length, start, visible, rows)
        self.passes = getattr(self, "passes", [])
        self.passes.append([length, 0, 0, -1, self.starts[0]])

    def keep(self, n):
        super().keep(n)
        self.passes[-1][1] = int(n[0] > 0)


class RecordingBackbone(HFBackbone):
    def new_cache(self, batch, capacity):
        plain = super().new_cache(batch, capacity)
        keys = plain._keys[0]
        self.cache = Recorder(plain.num_layers, batch, keys.shape[1], keys.shape[3], capacity, plain.dtype)
        return self.cache


@pytest.fixture(scope="module")
def backbone(golden_dir: Path) -> RecordingBackbone:
    fields = json.loads((golden_dir / "text/fdv2_tiny_config.json").read_text())
    config = Qwen2Config(
        **{k: v for k, v in fields.items() if k not in ("architectures", "model_type", "rope_scaling")}
    )
    model = Qwen2ForCausalLM(config).eval()
    model.load_state_dict(load_file(golden_dir / "text/fdv2_tiny_weights.safetensors"), strict=True)
    return RecordingBackbone(model)


def cases() -> list:
    return [
        pytest.param(number, id=f"P{length}-tau{threshold}")
        for number, (length, threshold) in enumerate((p, t) for p in (5, 33, 64) for t in (1.0, 0.9, 0.6))
    ]


@pytest.mark.parametrize("number", cases())
def test_tokens_and_forwards_equal_the_recording(number: int, backbone: RecordingBackbone, golden_dir: Path):
    case = json.loads((golden_dir / "text/fdv2_generate.json").read_text())["cases"][number]
    assert case["use_block_cache"] is False
    config = FastDLLMv2DecodeConfig(
        mask_id=MASK,
        diffusion_block_size=case["block_size"],
        sub_block_size=case["small_block_size"],
        threshold=case["threshold"],
        strict_threshold=True,
        whole_blocks=True,
    )
    stop = StopRule(frozenset({case["stop_token"]}), case["max_new_tokens"], keep_stop=True)

    decoded = generate(backbone, [case["prompt"]], config, stop=stop, trace=True)

    assert case["prompt"] + decoded.tokens[0] == case["output"]
    assert decoded.stats.nfe == case["nfe"]
    assert backbone.cache.passes == case["trace"]
    assert decoded.trace is not None
    fixed = [position for entry in decoded.trace.to_list() for position in entry["positions"]]
    assert sorted(fixed) == list(range(len(decoded.tokens[0])))


def test_all_recorded_cases_are_tested(golden_dir: Path):
    recorded = json.loads((golden_dir / "text/fdv2_generate.json").read_text())
    assert recorded["trace_columns"] == ["q_len", "update_past", "use_block_cache", "replace_position", "past_len"]
    seen = [(len(case["prompt"]), case["threshold"]) for case in recorded["cases"]]
    assert seen == [(p, t) for p in (5, 33, 64) for t in (1.0, 0.9, 0.6)]


def test_batched_equals_the_recording(backbone: RecordingBackbone, golden_dir: Path):
    """The three prompts in one ragged batch, each with the tokens it has alone."""
    recorded = json.loads((golden_dir / "text/fdv2_generate.json").read_text())["cases"]
    for threshold in (1.0, 0.9, 0.6):
        chosen = [case for case in recorded if case["threshold"] == threshold]
        config = FastDLLMv2DecodeConfig(mask_id=MASK, threshold=threshold, strict_threshold=True, whole_blocks=True)
        stop = StopRule(frozenset({STOP}), 96, keep_stop=True)
        decoded = generate(backbone, [case["prompt"] for case in chosen], config, stop=stop)
        assert [case["prompt"] + tokens for case, tokens in zip(chosen, decoded.tokens)] == [
            case["output"] for case in chosen
        ]
        assert sum(decoded.stats.row_forwards.values()) == sum(case["nfe"] for case in chosen)


def test_exact_length_begins_like_the_published_one(backbone: RecordingBackbone, golden_dir: Path):
    """Exact N differs from whole blocks in where it ends, not in what it says before that (N at a sub-block's end)."""
    case = json.loads((golden_dir / "text/fdv2_generate.json").read_text())["cases"][2]
    for n in (59, 99):
        config = FastDLLMv2DecodeConfig(mask_id=MASK, threshold=case["threshold"], strict_threshold=True)
        decoded = generate(backbone, [case["prompt"]], config, stop=StopRule(frozenset({STOP}), n))
        assert len(decoded.tokens[0]) == n
        assert decoded.tokens[0][:92] == case["output"][5 : 5 + n][:92]


def test_float64_keeps_the_recording(backbone: RecordingBackbone, golden_dir: Path):
    """The recorded tokens do not hang on float32 rounding."""
    model = Qwen2ForCausalLM(backbone.model.config).double().eval()
    model.load_state_dict(backbone.model.state_dict())
    exact = HFBackbone(model)
    case = json.loads((golden_dir / "text/fdv2_generate.json").read_text())["cases"][5]
    config = FastDLLMv2DecodeConfig(mask_id=MASK, threshold=0.6, strict_threshold=True, whole_blocks=True)
    assert exact.dtype == torch.float64
    decoded = generate(exact, [case["prompt"]], config, stop=StopRule(frozenset({STOP}), 96))
    assert case["prompt"] + decoded.tokens[0] == case["output"]
