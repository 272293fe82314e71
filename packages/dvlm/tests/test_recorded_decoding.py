"""The published decoder's recorded outputs and numbers of passes."""

import json

import pytest
from ar_core.decoding import StopRule
from ar_core.hf import HFBackbone
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from transformers import Qwen2Config, Qwen2ForCausalLM


@pytest.fixture(scope="module")
def cases(golden_dir):
    return json.loads((golden_dir / "dvlm" / "generate.json").read_text())


@pytest.fixture(scope="module")
def recorded_model(golden_dir, recorded):
    facts = json.loads((golden_dir / "dvlm" / "text_model.json").read_text())
    # With plain positions the text part of Qwen2.5-VL is Qwen2.
    fields = {key: value for key, value in facts["text_config"].items() if key not in ("rope_scaling", "rope_theta")}
    rope = {"rope_type": "default", "rope_theta": facts["text_config"]["rope_theta"]}
    model = Qwen2ForCausalLM(Qwen2Config(**fields, rope_parameters=rope)).eval()
    model.load_state_dict(recorded("gen_model"))
    return HFBackbone(model), facts["mask_token_id"], facts["eos_token_id"]


def test_recorded_generations(recorded_model, recorded, cases):
    """All twenty cases: tokens up to the first end token, and the passes (less the last commit, which nothing reads)."""
    backbone, mask, end = recorded_model
    tensors = recorded("generate")
    for case in cases:
        prompt, expected = (tensors[f"{case['case']}.{name}"].tolist() for name in ("prompt_ids", "output_ids"))
        dynamic = case["strategy"].endswith("dynamic")
        config = DiffusionVLDecodeConfig(
            mask_id=mask, diffusion_block_size=case["block_size"], steps=case["steps"], commit="separate",
            strategy="dynamic" if dynamic else "static", threshold=case["confidence_threshold"] or 0.85,
            whole_last_block=True, stop_together=True,
        )  # fmt: skip
        rule = StopRule(frozenset({end}), case["gen_length"])
        found = generate(backbone, prompt, config, stop=rule)
        for tokens, reason, row in zip(found.tokens, found.finish, expected, strict=True):
            until = row.index(end) if end in row else len(row)
            # Blocks that were never decoded are masks in the recording.
            until = min(until, row.index(mask) if mask in row else until)
            assert tokens == row[:until], case["case"]
            assert (reason == "stop_id") == (end in row[: len(tokens) + 1] and len(tokens) < len(row))
        if case["batch"] == 1 and not case["has_eos"]:
            partial = (len(prompt[0]) + case["gen_length"]) % case["block_size"]
            assert found.stats.forwards["commit"] == case["n_forward_commit"] - 1 - (
                case["prompt_len"] >= case["block_size"]
            )
            if not partial:
                # Of an incomplete last block we stop once the tokens that are output are known.
                assert found.stats.nfe == case["n_forward_total"] - 1, case["case"]
            fused = generate(
                backbone, prompt, DiffusionVLDecodeConfig(**{**vars(config), "commit": "fused"}), stop=rule
            )
            assert fused.tokens == found.tokens
            assert fused.stats.nfe == found.stats.nfe - found.stats.forwards["commit"]


def test_the_schedule_of_passes(recorded):
    """Tokens revealed at each pass, as published; it counts one pass more than steps."""
    for name, counts in recorded("sampling_utils").items():
        if name.startswith("num_transfer"):
            size, steps = (int(part[1:]) for part in name.split("_")[2:])
            policy = DiffusionVLDecodeConfig(mask_id=1, diffusion_block_size=size, steps=steps).policy()
            for step, count in enumerate(counts.flatten().tolist()[:-1]):
                if sum(counts.flatten().tolist()[:step]) < size:
                    assert policy.floor(step) == count
