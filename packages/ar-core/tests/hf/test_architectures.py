"""Ten architectures, tiny and random: what we compute is what transformers computes."""

import inspect

import pytest
import torch
import transformers as t
from ar_core.decoding import StopRule, autoregressive, causal_pass
from ar_core.errors import UnsupportedModelError
from ar_core.hf import HFBackbone, WindowedCacheForGenerate
from ar_core.hf.agreement import TESTED
from ar_core.masks import Mask, Tokens, causal
from ar_core.sampling import Sampler

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
ARCHITECTURES = {
    "llama": (t.LlamaConfig, {}),
    "qwen2": (t.Qwen2Config, {}),
    "qwen2_window": (t.Qwen2Config, {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    "qwen3": (t.Qwen3Config, {"head_dim": 16}),
    "mistral": (t.MistralConfig, {"sliding_window": None}),
    "mistral_window": (t.MistralConfig, {"sliding_window": 5}),
    "smollm3": (t.SmolLM3Config, {"no_rope_layer_interval": 2}),
    "phi3": (t.Phi3Config, {}),
    "granite": (
        t.GraniteConfig,
        {
            "logits_scaling": 8.0,
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.22,
            "embedding_multiplier": 12.0,
        },
    ),
    "olmo2": (t.Olmo2Config, {}),
    "gemma3": (t.Gemma3TextConfig, {"head_dim": 16, "sliding_window": 7, "query_pre_attn_scalar": 20}),
}
CACHE = "cache" if "cache" in inspect.signature(t.LlamaForCausalLM.forward).parameters else "past_key_values"
PROMPTS = [[5, 17, 3, 88, 41, 2, 9, 64, 30, 11], [90, 4, 33], [7], [12, 13, 14, 15, 16, 17]]
NEW_TOKENS = 12


def build(name: str, attention: str) -> t.PreTrainedModel:
    config_class, settings = ARCHITECTURES[name]
    config = config_class(**SIZES, **settings, attn_implementation=attention)
    model = t.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():  # biases, norms and all: nothing stays at a neutral value
            parameter.normal_(0.02, 0.25, generator=generator)
    return model.float().eval()


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def models(request: pytest.FixtureRequest) -> tuple[t.PreTrainedModel, t.PreTrainedModel]:
    """The same weights under transformers' eager attention and under ours."""
    theirs, ours = build(request.param, "eager"), build(request.param, "eager")
    HFBackbone(ours)
    return theirs, ours


def generate(model: t.PreTrainedModel, prompt: list[int], **settings: object) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False, **settings
    )
    return out[0, len(prompt) :].tolist()


def test_logits_equal_eager_and_sdpa(models):
    theirs, ours = models
    ids = torch.randint(0, 97, (2, 23), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(23).expand(2, 23)
    backbone = HFBackbone(ours)
    with torch.no_grad():
        mask = Mask.self_attention(causal(), Tokens(position=positions[0]))
        mine = backbone.head(backbone.hidden(ids, positions=positions, mask=mask))
        for attention in ("eager", "sdpa"):
            theirs.set_attn_implementation(attention)
            expected = theirs(ids, use_cache=False).logits
            assert (mine - expected).abs().max() <= 3e-5 * max(1.0, float(expected.abs().max()))
        theirs.set_attn_implementation("eager")


def test_none_and_padding_masks_equal_transformers(models):
    theirs, ours = models
    ids = torch.randint(0, 97, (2, 15), generator=torch.Generator().manual_seed(1))
    padding = torch.ones_like(ids)
    padding[0, :6] = 0
    with torch.no_grad():
        for mask in (None, padding):
            expected = theirs(ids, attention_mask=mask, use_cache=False).logits
            mine = ours(ids, attention_mask=mask, use_cache=False).logits
            real = slice(None) if mask is None else padding.bool()
            error = (mine - expected)[real].abs().max()
            assert error <= 3e-5 * max(1.0, float(expected.abs().max()))


def test_packed_positions_equal_transformers(models):
    theirs, ours = models
    ids = torch.randint(0, 97, (1, 14), generator=torch.Generator().manual_seed(2))
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8]])
    with torch.no_grad():
        expected = theirs(ids, position_ids=positions, use_cache=False).logits
        mine = ours(ids, position_ids=positions, use_cache=False).logits
    assert (mine - expected).abs().max() <= 3e-5 * max(1.0, float(expected.abs().max()))


def test_autoregressive_equals_generate_single_and_ragged(models):
    theirs, ours = models
    backbone = HFBackbone(ours)
    stop = StopRule(frozenset(), NEW_TOKENS)
    expected = [generate(theirs, prompt) for prompt in PROMPTS]
    together = autoregressive(backbone, PROMPTS, stop=stop, sampler=Sampler())
    assert together.tokens == expected
    for prompt, tokens in zip(PROMPTS, expected):
        assert autoregressive(backbone, [prompt], stop=stop, sampler=Sampler()).tokens == [tokens]


def test_generate_accepts_our_cache(models):
    theirs, ours = models
    backbone = HFBackbone(ours)
    for prompt in PROMPTS[:2]:
        cache = WindowedCacheForGenerate(backbone.new_cache(1, len(prompt) + NEW_TOKENS))
        assert generate(ours, prompt, **{CACHE: cache}) == generate(theirs, prompt)


def test_roll_back_equals_a_fresh_pass(models):
    _, ours = models
    backbone = HFBackbone(ours)
    prompt = torch.tensor([PROMPTS[0], PROMPTS[3] + [1, 2, 3, 4]])
    draft, other = torch.tensor([[1, 2, 3, 4], [8, 7, 6, 5]]), torch.tensor([[9, 8, 7], [1, 1, 2]])
    with torch.no_grad():
        cache = backbone.new_cache(2, 32)
        causal_pass(backbone, cache, prompt)
        cache.keep([10, 6])  # row 1 keeps less: its draft overwrites the rest
        causal_pass(backbone, cache, draft)
        cache.keep([2, 0])
        logits = backbone.head(causal_pass(backbone, cache, other))
        for row, sequence in enumerate([[*PROMPTS[0], 1, 2, 9, 8, 7], [*PROMPTS[3], 1, 1, 2]]):
            fresh = backbone.new_cache(1, 32)
            expected = backbone.head(causal_pass(backbone, fresh, [sequence]))[0, -3:]
            assert (logits[row] - expected).abs().max() <= 3e-5 * max(1.0, float(expected.abs().max()))


def test_all_listed_architectures_are_tested():
    covered = {config_class.model_type for config_class, _ in ARCHITECTURES.values()}
    assert covered == TESTED


def test_gemma2_is_refused_because_of_its_softcap():
    model = t.AutoModelForCausalLM.from_config(t.Gemma2Config(**SIZES, head_dim=16, query_pre_attn_scalar=16))
    with pytest.raises(UnsupportedModelError, match=r"'gemma2' has softcapped attention scores \(attn_logit_soft"):
        HFBackbone(model)
