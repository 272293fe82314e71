"""Fast-dLLM v2 decoding on random Hugging Face models of two families.

Numbers in docstrings are those of the oracles in the method's specification.
"""

import random
from collections.abc import Callable

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal
from ar_core.sampling import Sampler
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig, generate
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

SIZES = {
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
MASK = 130


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A random float64 model whose weights, Qwen2's biases included, are wide enough that argmax is safe."""
    kinds: dict[str, Callable[[], PreTrainedModel]] = {
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    }
    built = kinds[request.param]().double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if "norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.25)
    return built


def prompts(vocab: int = 120, lengths: tuple[int, ...] = (1, 7, 8, 9, 16, 21, 3, 24), seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(5, vocab) for _ in range(n)] for n in lengths]


def settings(**changed) -> FastDLLMv2DecodeConfig:
    return FastDLLMv2DecodeConfig(
        **{"mask_id": MASK, "diffusion_block_size": 8, "sub_block_size": 4, "threshold": 0.2, **changed}
    )


def test_block_causal_with_blocks_of_one_is_the_base_model(model: PreTrainedModel):
    """Oracle 2: with D = 1 the logits are those of the causal model with the same weights."""
    ids = torch.tensor(prompts(lengths=(21, 21)))
    backbone = HFBackbone(model)
    positions = torch.arange(21)
    mask = Mask.self_attention(block_causal(), Tokens(block=positions))
    with torch.no_grad():
        ours = backbone.head(backbone.hidden(ids, positions=positions.expand(2, 21), mask=mask))
        # Not "eager", whose softmax is float32.
        model.set_attn_implementation("sdpa")
        theirs = model(ids).logits
    assert (ours - theirs).abs().max() < 1e-6


def test_block_size_one_is_autoregression(model: PreTrainedModel):
    """The same weights as a plain autoregressive model, greedy and sampled."""
    backbone = HFBackbone(model)
    config = settings(diffusion_block_size=1)
    stop = StopRule(frozenset(range(0, 120, 19)), 20)
    for sampler in (Sampler(banned_ids=(MASK,)), Sampler(temperature=0.9, top_p=0.95, banned_ids=(MASK,))):
        plain = autoregressive(backbone, prompts(), stop=stop, sampler=sampler, seed=3)
        blocks = generate(backbone, prompts(), config, stop=stop, sampler=sampler, seed=3)
        assert blocks.tokens == plain.tokens
        assert blocks.finish == plain.finish
        assert blocks.stats.nfe == plain.stats.nfe


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sub_block_cache": True},
        {"commit": "fused"},
        {"commit": "fused", "sub_block_cache": True},
        {"diffusion_block_size": 32, "sub_block_size": 8, "sub_block_cache": True, "threshold": 1.0},
        {"batch_size": 3},
    ],
    ids=str,
)
def test_ragged_batch_equals_rows_alone(model: PreTrainedModel, changed: dict):
    """Oracles 12, 13: prompts of 1 to 3 blocks, sub-block cache off and on."""
    backbone, stop = HFBackbone(model), StopRule(frozenset(range(0, 120, 11)), 27, keep_stop=True)
    together = generate(backbone, prompts(), settings(**changed), stop=stop)
    backwards = generate(backbone, prompts()[::-1], settings(**changed), stop=stop)
    alone = [generate(backbone, [row], settings(**changed), stop=stop).tokens[0] for row in prompts()]
    assert together.tokens == alone
    assert backwards.tokens == alone[::-1]


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_block_size_can_change_at_decoding(model: PreTrainedModel, size: int):
    """Paper, section 4: any D at inference; S larger than D covers it; exact length for every one."""
    config = settings(diffusion_block_size=size, sub_block_size=8)
    assert config.policy().window == min(8, size)
    decoded = generate(HFBackbone(model), prompts(), config, stop=StopRule(frozenset(), 19))
    assert [len(tokens) for tokens in decoded.tokens] == [19] * 8
    assert all(MASK not in tokens for tokens in decoded.tokens)


def test_a_model_that_wants_to_say_the_mask_token(model: PreTrainedModel):
    """Oracle 16: M is raised above all other logits at every position; decoding ends, without it."""
    backbone = HFBackbone(model)
    plain = backbone.head

    def biased(hidden: torch.Tensor) -> torch.Tensor:
        logits = plain(hidden).clone()
        logits[..., MASK] = logits.max() + 50
        return logits

    backbone.head = biased  # type: ignore[method-assign]
    for temperature in (0.0, 1.0):
        decoded = generate(
            backbone,
            prompts(),
            settings(),
            stop=StopRule(frozenset(), 17),
            sampler=Sampler(temperature=temperature),
        )
        assert [len(tokens) for tokens in decoded.tokens] == [17] * 8
        assert all(MASK not in tokens for tokens in decoded.tokens)


def test_config_reaches_the_policy():
    config = FastDLLMv2DecodeConfig(
        mask_id=5, threshold=0.7, strict_threshold=True, whole_blocks=True, sub_block_cache=True, commit="fused"
    )
    policy = config.policy()
    assert (policy.mask_id, policy.block_size, policy.window, policy.threshold) == (5, 32, 8, 0.7)
    assert (policy.strict, policy.whole_blocks, policy.sub_block_cache, policy.commit) == (True, True, True, "fused")


def test_config_is_checked_when_made():
    with pytest.raises(ConfigError, match="The sub-block size is 8, which does not divide the block size 12"):
        FastDLLMv2DecodeConfig(mask_id=5, diffusion_block_size=12)
    with pytest.raises(ConfigError, match="'separate', 'fused'"):
        FastDLLMv2DecodeConfig(mask_id=5, commit="both")  # type: ignore[arg-type]
