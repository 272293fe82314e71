"""Passes of fixed shapes: the tokens of every decoder, in storage that is used again."""

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import CacheError, UnsupportedModelError
from ar_core.hf import HFBackbone, StaticBackbone, load_causal_lm
from ar_core.masks import Mask, Tokens, causal
from ar_core.sampling import Sampler
from ar_core.verification import Jacobi, MultiBlock, NgramLookup, Recycling, speculative
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

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


ENGINES = ["eager", "graph", "compile"] if torch.cuda.is_available() else ["eager"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_gives_the_same_tokens_in_the_same_passes(llama, name, engine):
    llama.double().to("cpu" if engine == "eager" else "cuda")
    stop = StopRule(max_new_tokens=23, stop_ids=(7, 11))
    plain, fixed = HFBackbone(llama), StaticBackbone(llama, engine)
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


def models_apart():
    """Models whose layers, or whose positions, do not let a pass have a fixed shape."""
    from transformers import MistralConfig, Phi3Config

    window = {"sliding_window": 8, "pad_token_id": 0}
    long = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    small = {**SIZES, "original_max_position_embeddings": 16, "pad_token_id": 0}
    return {
        "window": MistralConfig(**SIZES, **window),
        "window of Phi": Phi3Config(**SIZES, **window),
        "long": Phi3Config(**small, rope_parameters={**long, "original_max_position_embeddings": 16}),
        "dynamic": LlamaConfig(**{**SIZES, "max_position_embeddings": 64}, rope_parameters=dynamic),
    }


@pytest.mark.parametrize("name", models_apart())
def test_models_without_fixed_shapes_run_as_ever(name):
    model = randomise(AutoModelForCausalLM.from_config(models_apart()[name])).double()
    stop = StopRule(max_new_tokens=20, stop_ids=())
    fixed = StaticBackbone(model, "eager")
    for decoder in ("autoregressive", "blocks"):
        expected = DECODERS[decoder](HFBackbone(model), stop=stop).tokens
        for _ in range(2):
            assert DECODERS[decoder](fixed, stop=stop).tokens == expected
    assert fixed.static_passes == 0


def test_layers_with_a_window_refuse_a_pass_of_fixed_shape():
    model = randomise(AutoModelForCausalLM.from_config(models_apart()["window"]))
    fixed = StaticBackbone(model, "eager")
    fixed._fixed = True
    with pytest.raises(
        UnsupportedModelError, match="has a sliding window, which passes of fixed shapes do not compute"
    ):
        DECODERS["autoregressive"](fixed, stop=StopRule(max_new_tokens=3, stop_ids=()))


def test_inference_mode_and_none_take_turns(llama):
    fixed, stop = StaticBackbone(llama, "eager"), StopRule(max_new_tokens=6, stop_ids=())
    expected = DECODERS["blocks"](HFBackbone(llama), stop=stop).tokens
    for mode in (True, False, True):
        with torch.inference_mode(mode):
            assert DECODERS["blocks"](fixed, stop=stop).tokens == expected


def test_nothing_of_a_wider_pass_is_left_in_a_narrower_one(llama):
    backbone = StaticBackbone(llama, "eager")
    for batch, context in ((4, 40), (3, 4)):
        cache = backbone.new_cache(batch, 64)
        ids = torch.full((batch, context), 5)
        with torch.no_grad():
            for length in (context, 3):
                cache.window(length)
                mask = Mask(
                    causal(), Tokens(position=cache.query_positions()), Tokens(position=torch.arange(cache.span))
                )
                backbone.hidden(ids[:, :length], positions=cache.query_positions(), mask=mask, cache=cache)
                cache.keep(length)
    (one,) = [one for kind, one in cache.storage.built.items() if kind.length == 4 and cache.storage.lines == 4]
    assert not one._ids[3].any()
    assert not one._positions[3].any()
    assert one._positions[:3, 3].eq(0).all()


def test_a_cache_whose_rows_cannot_move_stays_as_it_was(llama, monkeypatch):
    backbone = StaticBackbone(llama, "eager")
    cache = backbone.new_cache(4, 10)
    cache.window(2)
    for layer in range(2):
        values = torch.arange(4.0)[:, None, None, None].expand(4, 2, 2, 8)
        cache.update(layer, values, values)
    cache.keep(2)
    storage = cache.storage

    def full(batch, capacity, owner):
        raise MemoryError

    monkeypatch.setattr(backbone._pool, "take", full)
    with pytest.raises(MemoryError):
        cache.rows([3, 1])
    assert (cache.batch, cache.lengths, cache.storage) == (4, [2] * 4, storage)
    cache.window(1)
    ones = torch.ones(4, 2, 1, 8)
    assert cache.update(0, ones, ones)[0][:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_gradients_are_refused_as_by_any_cache(llama):
    backbone = StaticBackbone(llama, "eager")
    cache = backbone.new_cache(1, 10)
    cache.window(1)
    with pytest.raises(CacheError, match="that need a gradient"):
        backbone.hidden(torch.tensor([[1]]), positions=torch.tensor([[0]]), mask=None, cache=cache)
