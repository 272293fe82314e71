"""Counted operations are those that torch counts, and those of the formula."""

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive, causal_pass
from ar_core.hf import FlopMeter, HFBackbone, LlamaScratch, ModelConfig, PassFlops, build_model
from ar_core.sampling import Sampler
from torch.utils.flop_counter import FlopCounterMode

LAYERS, HIDDEN, HEADS, KV, MLP, VOCAB = 3, 32, 4, 2, 40, 50


@pytest.fixture
def backbone():
    scratch = LlamaScratch(
        hidden=HIDDEN, layers=LAYERS, heads=HEADS, kv_heads=KV, intermediate=MLP, vocab=VOCAB, context=64
    )
    return HFBackbone(build_model(ModelConfig(scratch=scratch)).model.eval())


def test_costs_are_those_of_the_shapes(backbone):
    attention = HIDDEN * HIDDEN * 2 + 2 * HIDDEN * HIDDEN * KV // HEADS
    assert PassFlops.of(backbone) == PassFlops(
        token=2 * LAYERS * (attention + 3 * HIDDEN * MLP), pair=4 * LAYERS * HIDDEN, logits=2 * HIDDEN * VOCAB
    )


@torch.no_grad()
def test_a_pass_costs_what_torch_counts(backbone):
    costs = PassFlops.of(backbone)
    backbone.model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        backbone.model(input_ids=torch.zeros(2, 7, dtype=torch.int64), use_cache=False)
    assert costs.total(tokens=14, pairs=2 * 7 * 7, rows=14) == counter.get_total_flops()


@torch.no_grad()
def test_the_meter_adds_up_passes_through_the_cache(backbone):
    with FlopMeter(backbone) as meter:
        cache = backbone.new_cache(1, 20)
        causal_pass(backbone, cache, [[1] * 6])
        cache.keep(6)
        backbone.head(causal_pass(backbone, cache, [[1] * 3])[:, -1])
    assert (meter.tokens, meter.pairs, meter.rows) == (9, 6 * 6 + 3 * 9, 1)
    causal_pass(backbone, backbone.new_cache(1, 20), [[1] * 6])
    assert meter.tokens == 9


def test_plain_decoding_of_n_tokens_computes_every_token_but_the_last_once(backbone):
    with FlopMeter(backbone) as meter:
        autoregressive(backbone, [[1, 2, 3]], stop=StopRule(frozenset(), 5), sampler=Sampler())
    assert (meter.tokens, meter.rows) == (3 + 4, 5)
    assert meter.flops == meter.costs.total(tokens=7, pairs=9 + 4 + 5 + 6 + 7, rows=5)
