"""Exactness on real weights, stories260K and SmolLM2-135M: float64 exact, float32 equal except at printed near ties."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.hf import HFBackbone, LoadedModel, load_causal_lm
from ar_core.sampling import Sampler

NEAR_TIE = 1e-3


def generate(loaded: LoadedModel, prompt: list[int], new_tokens: int) -> list[int]:
    """What transformers' own loop, cache and sdpa attention decode greedily."""
    ids = torch.tensor([prompt])
    loaded.model.set_attn_implementation("sdpa")
    out = loaded.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def compare(loaded: LoadedModel, prompts: list[list[int]], expected: list[list[int]], got: list[list[int]]) -> None:
    """Equal, or in float32 different from a step on whose top-2 margin is below 1e-3; such steps are printed."""
    backbone = HFBackbone(loaded.model)
    for row, (prompt, want, have) in enumerate(zip(prompts, expected, got)):
        assert len(want) == len(have)
        step = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), None)
        if step is None:
            continue
        assert backbone.dtype == torch.float32, f"prompt {row} differs at step {step} in {backbone.dtype}"
        with torch.no_grad():
            logits = loaded.model(torch.tensor([prompt + want[:step]]), use_cache=False).logits[0, -1].float()
        first, second = logits.topk(2).values.tolist()
        print(f"prompt {row}, step {step}: near tie of {want[step]} and {have[step]}, margin {first - second:.1e}")
        assert first - second < NEAR_TIE, f"prompt {row} differs at step {step}, margin {first - second:.1e}"


def check(loaded: LoadedModel, prompts: list[list[int]], new_tokens: int) -> None:
    """Single rows and one ragged batch, in both orders, against `generate`."""
    expected = [generate(loaded, prompt, new_tokens) for prompt in prompts]
    assert len({tuple(row) for row in expected}) == len(prompts), "the prompts should tell rows apart"
    backbone = HFBackbone(loaded.model)
    settings = {"stop": StopRule(frozenset(), new_tokens), "sampler": Sampler()}
    singles = [autoregressive(backbone, [prompt], **settings).tokens[0] for prompt in prompts]
    compare(loaded, prompts, expected, singles)
    together = autoregressive(backbone, prompts, **settings)
    compare(loaded, prompts, expected, together.tokens)
    order = list(range(len(prompts)))[::-1]
    permuted = autoregressive(backbone, [prompts[i] for i in order], **settings)
    compare(loaded, [prompts[i] for i in order], [together.tokens[i] for i in order], permuted.tokens)


def story_prompts(folder: Path, tokenizer) -> list[list[int]]:
    """The beginnings, 1 to 46 tokens, of the first ten stories."""
    text = gzip.decompress((folder / "text" / "tinystories_valid.txt.gz").read_bytes()).decode()
    stories = [s for s in text.split("\n\n") if len(s) > 400][:10]
    return [[1, *tokenizer.encode(s, add_special_tokens=False)][: 1 + 5 * i] for i, s in enumerate(stories)]


@pytest.mark.data
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_stories260k(stories260k, data_dir, dtype):
    loaded = load_causal_lm(stories260k, dtype=dtype)
    check(loaded, story_prompts(data_dir, loaded.tokenizer), new_tokens=32)


@pytest.mark.smollm2
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("dtype", "new_tokens"), [(torch.float64, 12), (torch.float32, 16)])
def test_smollm2(smollm2_gguf, dtype, new_tokens):
    loaded = load_causal_lm(smollm2_gguf, dtype=dtype)
    questions = json.loads((Path(__file__).parent / "prompts.json").read_text())
    prompts = [loaded.tokenizer.encode(question) for question in questions]
    assert len(prompts) == 10
    check(loaded, prompts, new_tokens)
