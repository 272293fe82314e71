"""Real models, converted to hybrids for a few steps: one token at a time they are their causal forward, exactly.

Numbers in docstrings are those of the oracles in the method's specification. Decoding runs in float64, where passes of
different widths cannot disagree about an argmax.
"""

import json
from pathlib import Path

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.decoding import Decoded, StopRule
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_diffusion
from ar_core.registry import recipe
from ar_core.sampling import Sampler
from ar_core.training import read_run_config, run_recipe
from dlm_text.efficient_dlm.checkpoint import Checkpoint, load_checkpoint
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate
from dlm_text.efficient_dlm.objective import EfficientDLMObjective
from transformers import AutoModelForCausalLM, PreTrainedModel

STORIES = [
    "Once upon a time there was a little girl named Lily. She had a red ball and went to the park with it.",
    "Tom saw a big dog. The dog was sad. Tom gave the dog a bone and the dog was happy. They played all day.",
    "Ben and Mia went to the sea. They made a house of sand. A wave came and took it. They laughed and made a new one.",
    "One day a bird fell from a tree. Sam took it home and gave it water. The next day the bird could fly again.",
] * 3
HYBRID = ["method.clean=token", "method.ar_weight=1", "method.diffusion_weight=0.3"]
PROMPTS = ["Once upon a time", "Lily and Ben went to the park. They saw a big", "Tom"]


def converted(tmp_path: Path, config: str, *overrides: str) -> Checkpoint:
    """A hybrid by the shipped recipe, after a few steps on a few stories, in float64."""
    (tmp_path / "stories.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in STORIES))
    data = f"data={{kind: text, path: {tmp_path}/stories.jsonl, seq_len: 64, cache_dir: {tmp_path}/rows}}"
    settings = [
        data, "train.steps=3", "train.warmup_steps=1", "train.batch_size=2", "train.eval_every=null", "train.device=cpu",
        f"train.checkpoint_dir={tmp_path}/run", *HYBRID, *overrides,
    ]  # fmt: skip
    run_recipe(recipe("efficient_dlm"), read_run_config(recipe("efficient_dlm"), config, settings))
    return load_checkpoint(tmp_path / "run" / "final", dtype=torch.float64)


def check(tmp_path: Path, found: Checkpoint, *, tokens: int) -> None:
    """AR mode, clean half and self-speculation against transformers' own causal forward of the saved folder."""
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final", dtype=torch.float64).eval()
    assert plain.config._attn_implementation != "ar_core"
    assert found.tokenizer is not None
    options = EfficientDLMDecodeConfig.of_checkpoint(found.model.config, found.tokenizer)
    assert options["context"] == "causal"
    backbone, mask_id = HFBackbone(found.model), options["mask_id"]
    prompts = [found.tokenizer.encode(text) for text in PROMPTS]

    def decode(mode: str, temperature: float = 0.0) -> Decoded:
        config = EfficientDLMDecodeConfig(**options, mode=mode)  # type: ignore[arg-type]
        stop, sampler = StopRule(frozenset(), tokens), Sampler(temperature)
        return generate(backbone, prompts, config, stop=stop, sampler=sampler, seed=1)

    one = decode("autoregressive")
    for prompt, written in zip(prompts, one.tokens, strict=True):
        with torch.no_grad():
            logits = plain(torch.tensor([prompt + written])).logits[0, len(prompt) - 1 : -1]
        logits[:, mask_id] = -torch.inf
        assert logits.argmax(-1).tolist() == written
    for temperature in (0.0, 0.8):
        drafted = decode("self_speculation", temperature)
        assert drafted.tokens == decode("autoregressive", temperature).tokens
        assert drafted.stats.forwards["draft"] > 0
    assert all(len(row) == tokens and mask_id not in row for row in decode("diffusion").tokens)
    clean_half(found.model, plain, prompts[1] + one.tokens[1], found.conversion.diffusion_block_size, mask_id)


@torch.no_grad()
def clean_half(model: PreTrainedModel, plain: PreTrainedModel, ids: list[int], size: int, mask_id: int) -> None:
    """Oracle 8: in the training pass, the clean half has the logits of the causal forward."""
    config = EfficientDLMConfig(diffusion_block_size=size, clean="token", ar_weight=1.0)
    sample = {
        "index": 0,
        "ids": torch.tensor(ids),
        "labels": torch.tensor(ids),
        "document": torch.zeros(len(ids)).long(),
    }
    tensors = EfficientDLMObjective(config, mask_id).prepare([sample], SampleRng(0)).tensors
    assert (tensors["ids"][0, : len(ids)] == mask_id).any()
    backbone = HFBackbone(model)
    mask = Mask.self_attention(
        block_diffusion(clean="token"),
        Tokens(**{name: tensors[name].reshape(-1) for name in ("stream", "block", "position")}),
    )
    positions = tensors["position"].expand_as(tensors["ids"])
    logits = backbone.head(backbone.hidden(tensors["ids"], positions=positions, mask=mask))[:, len(ids) :]
    # Both compute rotary angles in float32, whatever the weights are.
    torch.testing.assert_close(logits, plain(torch.tensor([ids])).logits, rtol=0, atol=1e-5)


@pytest.mark.data
def test_stories260k(tmp_path: Path, stories260k: Path) -> None:
    found = converted(tmp_path, "stories260k", f"model.path={stories260k}", "train.lr=1e-3")
    check(tmp_path, found, tokens=24)


@pytest.mark.smollm2
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_smollm2(tmp_path: Path, smollm2_gguf: Path) -> None:
    found = converted(tmp_path, "smollm2_135m", f"model.path={smollm2_gguf}", "train.micro_batch_size=1")
    check(tmp_path, found, tokens=10)
