"""Weights change their dtype and computed buffers do not."""

import torch
from ar_core.hf import LlamaScratch, ModelConfig, build_model, cast_weights
from torch import nn


def test_rotary_frequencies_are_not_rounded():
    scratch = LlamaScratch(hidden=16, layers=1, heads=2, kv_heads=1, intermediate=16, vocab=20, rope_theta=1e6)
    whole = build_model(ModelConfig(scratch=scratch)).model
    half = build_model(ModelConfig(scratch=scratch, dtype="bfloat16")).model
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert torch.equal(half.model.rotary_emb.inv_freq, whole.model.rotary_emb.inv_freq)


def test_persistent_buffers_and_ties_follow():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 3))
    module[2].weight = module[1].weight
    cast_weights(module, torch.float64)
    assert module[0].running_mean.dtype == torch.float64
    assert module[0].num_batches_tracked.dtype == torch.int64
    assert module[2].weight is module[1].weight
    assert module[1].weight.dtype == torch.float64
