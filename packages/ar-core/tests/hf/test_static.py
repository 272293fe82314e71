"""Passes of fixed shapes: the tokens of every decoder, in storage that is used again."""

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule, autoregressive
from ar_core.hf import HFBackbone, StaticBackbone, load_causal_lm
from ar_core.sampling import Sampler
from ar_core.verification import Jacobi, MultiBlock, NgramLookup, Recycling, speculative
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8]]


def randomise(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.02, 0.2, generator=generator)
    return model.eval()


@pytest.fixture
def llama() -> LlamaForCausalLM:
    return randomise(LlamaForCausalLM(LlamaConfig(**SIZES)))


def blocks(**settings):
    policy = BlockPolicy(block_size=4, mask_id=60, threshold=0.05, **settings)
    return lambda backbone, **given: decode_blocks(backbone, PROMPTS, policy, **given)


def lossless(proposer):
    return lambda backbone, **given: speculative(
        backbone, PROMPTS, proposer(), sampler=Sampler(), fallback=False, **given
    )


DECODERS = {
    "autoregressive": lambda backbone, **given: autoregressive(backbone, PROMPTS, sampler=Sampler(), **given),
    "blocks": blocks(),
    "fused": blocks(commit="fused"),
    "sub-blocks": blocks(sub_block_size=2, sub_block_cache=True),
    "bidirectional prompt": blocks(grid="prompt", context="bidirectional", shift=False, first_token="denoise"),
    "hybrid": blocks(context="causal", shift=False, first_token="denoise"),
    "lookup": lossless(NgramLookup),
    "jacobi": lossless(lambda: Jacobi(draft_length=5)),
    "recycling": lossless(lambda: Recycling(Jacobi(draft_length=5))),
    "multi-block": lossless(lambda: MultiBlock(block_length=5)),
}


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_gives_the_same_tokens_in_the_same_passes(llama, name):
    llama.double()
    stop = StopRule(max_new_tokens=23, stop_ids=(7, 11))
    plain, fixed = HFBackbone(llama), StaticBackbone(llama, "eager")
    expected = DECODERS[name](plain, stop=stop)
    for _ in range(2):
        found = DECODERS[name](fixed, stop=stop)
        assert found.tokens == expected.tokens
        assert found.stats.nfe == expected.stats.nfe
    assert fixed.static_passes == 2 * expected.stats.nfe


@pytest.mark.data
@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_on_real_weights(stories260k, name):
    model = load_causal_lm(stories260k, dtype=torch.float64).model
    stop = StopRule(max_new_tokens=40, stop_ids=(1, 2))
    expected = DECODERS[name](HFBackbone(model), stop=stop)
    fixed = StaticBackbone(model, "eager")
    found = DECODERS[name](fixed, stop=stop)
    assert (found.tokens, found.stats.nfe) == (expected.tokens, expected.stats.nfe)
    assert fixed.static_passes == expected.stats.nfe


@pytest.mark.data
@pytest.mark.smollm2
@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoregressive", "fused", "sub-blocks", "recycling"])
def test_decoders_on_smollm2(smollm2_gguf, name):
    model = load_causal_lm(smollm2_gguf, dtype=torch.float32).model
    stop = StopRule(max_new_tokens=8, stop_ids=())
    assert (
        DECODERS[name](StaticBackbone(model, "eager"), stop=stop).tokens
        == DECODERS[name](HFBackbone(model), stop=stop).tokens
    )


def test_a_pass_that_comes_again_is_compiled_once(llama, monkeypatch):
    compiled = []

    def compile(function, **_):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile)
    backbone = StaticBackbone(llama, "compile")
    stop = StopRule(max_new_tokens=9, stop_ids=())
    expected = autoregressive(HFBackbone(llama), PROMPTS[:1], stop=stop, sampler=Sampler()).tokens
    for _ in range(3):
        assert autoregressive(backbone, PROMPTS[:1], stop=stop, sampler=Sampler()).tokens == expected
    # Prefill of 5 tokens, and steps of 1.
    assert len(compiled) == 2


def test_rows_that_leave_a_batch_move_within_storage_of_a_power_of_two(llama):
    backbone = StaticBackbone(llama, "eager")
    cache = backbone.new_cache(7, 20)
    first = cache.storage
    assert (first.lines, first.capacity, cache.batch, cache.capacity) == (8, 256, 7, 255)
    cache.window(3)
    for layer in range(2):
        values = torch.arange(7.0)[:, None, None, None].expand(7, 2, 3, 8)
        cache.update(layer, values, -values)
    cache.keep([1, 2, 3, 0, 1, 2, 3])
    cache.rows([6, 0, 2, 3, 5])
    assert cache.storage is first
    cache.rows([1, 0, 4])
    assert (cache.storage.lines, cache.lengths) == (4, [1, 3, 2])
    assert first.free
    cache.window(1)
    keys, values = cache.update(1, torch.ones(3, 2, 1, 8), torch.ones(3, 2, 1, 8))
    assert keys[:, 0, :, 0].tolist() == [[0, 1, 0, 0], [6, 6, 6, 1], [5, 5, 1, 0]]
    assert values[1, 1, :3].eq(-6).all()


def test_storage_is_used_again_where_it_is_large_enough_and_goes_where_it_is_too_small(llama):
    backbone = StaticBackbone(llama, "eager")
    first = backbone.new_cache(2, 300).storage
    assert first.capacity == 512
    again = backbone.new_cache(2, 10)
    assert again.storage is first
    beside = backbone.new_cache(2, 10)
    assert beside.storage is not first
    first.built["pass"] = "graph"
    del again
    larger = backbone.new_cache(2, 600)
    assert larger.storage.capacity == 768
    assert not first.built


@pytest.mark.parametrize("name", ["autoregressive", "fused", "recycling"])
def test_passes_compile_whole(llama, monkeypatch, name):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **given: real(function, backend="aot_eager", **given))
    llama.double()
    stop = StopRule(max_new_tokens=9, stop_ids=())
    expected = DECODERS[name](HFBackbone(llama), stop=stop)
    backbone = StaticBackbone(llama, "compile")
    for _ in range(2):
        assert DECODERS[name](backbone, stop=stop).tokens == expected.tokens
