"""Packed weights: the same products, of one row and of several."""

import copy

import pytest
import torch
from ar_core.block_diffusion import BlockPolicy, decode_blocks
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import BackendError
from ar_core.hf import HFBackbone, PackedLinear, can_pack, load_causal_lm, pack_weights
from ar_core.sampling import Sampler
from torch import nn

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not can_pack(torch.bfloat16, CPU), reason="this torch has no oneDNN")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1), (7, 5), (64, 96), (33, 130)], ids=str)
def test_a_packed_layer_is_the_layer(dtype, bias, sizes):
    generator = torch.Generator().manual_seed(sum(sizes))
    linear = nn.Linear(*sizes, bias=bias)
    for parameter in linear.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    linear = linear.to(dtype)
    packed = PackedLinear(linear)
    with torch.no_grad():
        for shape in ((1,), (1, 1), (3, 1), (2, 8), (70,), (0,)):
            x = torch.randn(*shape, sizes[0], generator=generator).to(dtype)
            exact = torch.nn.functional.linear(
                x.double(), linear.weight.double(), linear.bias.double() if bias else None
            )
            found = packed(x)
            assert found.dtype == dtype
            assert found.shape == exact.shape
            scale = exact.square().mean().sqrt() if x.numel() else 1.0
            assert ((found - exact).abs() <= (2e-2 if dtype == torch.bfloat16 else 1e-5) * scale).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_in_bfloat16_and_with_one_row_the_bits_are_those_of_the_layer(dtype):
    generator = torch.Generator().manual_seed(1)
    linear = nn.Linear(576, 1536, bias=False).to(dtype)
    linear.weight.data = torch.randn(1536, 576, generator=generator).to(dtype)
    packed = PackedLinear(linear)
    with torch.no_grad():
        for rows in (1, 2, 8, 32, 300) if dtype == torch.bfloat16 else (1,):
            x = torch.randn(1, rows, 576, generator=generator).to(dtype)
            assert torch.equal(packed(x), linear(x)), rows


def test_a_packed_layer_is_saved_copied_and_moved_like_any_other(tmp_path):
    linear = nn.Linear(8, 6)
    packed = PackedLinear(linear)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    expected = packed(x)
    assert packed.state_dict().keys() == {"weight", "bias"}
    assert packed.weight is linear.weight
    assert torch.equal(copy.deepcopy(packed)(x), expected)
    low = copy.deepcopy(packed).bfloat16()
    assert low(x.bfloat16()).dtype == torch.bfloat16
    assert torch.allclose(low(x.bfloat16()).float(), expected, atol=0.1)
    with pytest.raises(BackendError, match="Weights in float64 on cpu cannot be packed"):
        packed.double()


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(BackendError, match="Weights in float64 on cpu cannot be packed"):
        pack_weights(nn.Sequential(nn.Linear(3, 3)).double())
    assert not can_pack(torch.bfloat16, torch.device("cuda"))


@pytest.mark.data
@pytest.mark.smollm2
@pytest.mark.slow
def test_smollm2_decodes_as_before(smollm2_gguf):
    model = load_causal_lm(smollm2_gguf, dtype=torch.float32).model
    backbone, prompts = HFBackbone(model), [[1, 4093, 198, 30], [1, 504, 2025]]
    policy = BlockPolicy(block_size=8, mask_id=0, threshold=0.9)
    stop = StopRule(frozenset(), 8)
    expected = autoregressive(backbone, prompts, stop=stop, sampler=Sampler()).tokens
    blocks = decode_blocks(backbone, prompts, policy, stop=stop).tokens
    pack_weights(model)
    packed = HFBackbone(model)
    assert not [module for module in model.modules() if type(module) is nn.Linear]
    assert autoregressive(packed, prompts, stop=stop, sampler=Sampler()).tokens == expected
    assert decode_blocks(packed, prompts, policy, stop=stop).tokens == blocks
