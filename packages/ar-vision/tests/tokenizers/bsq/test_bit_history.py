"""The quantiser: recorded cases, and what follows from its definition."""

import json
import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.io import read_header, read_tensors
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.bsq.bit_history import BitHistory
from ar_vision.tokenizers.scale_history import teacher_inputs


def _quantized(features, schedule, side=1):
    history = BitHistory(len(features), schedule, features.shape[1] * side**2, side=side)
    bits = []
    for _ in range(schedule.count):
        bits.append(history.bits_of(history.residual(features)))
        history.add(bits[-1])
    return bits, history


@pytest.mark.golden
@pytest.mark.parametrize("name", ["sq", "patchify"])
def test_recorded_quantiser(golden_dir, name):
    path = golden_dir / "vision_b" / f"infinity_bsq_{name}.safetensors"
    case, settings = read_tensors(path), read_header(path)["__metadata__"]
    side = 2 if settings["patchify"] == "1" else 1
    cells = [(h, w) for _, h, w in json.loads(settings["scale_schedule"])]
    schedule = ScaleSchedule(tuple((h // side, w // side) for h, w in cells))
    bits, history = _quantized(case["features"], schedule, side)
    for k, (tokens, size) in enumerate(zip(bits, schedule.sizes)):
        grid = tokens.transpose(1, 2).unflatten(2, size).float()
        grid = torch.pixel_shuffle(grid, side) if side > 1 else grid
        assert torch.equal(grid.permute(0, 2, 3, 1).bool(), case[f"bits_{k}"][:, 0].bool())
    torch.testing.assert_close(history.features, case["quantized_out"], atol=1e-5, rtol=0)
    torch.testing.assert_close(history.features, case["summed_codes_from_bits"], atol=1e-5, rtol=0)
    inputs = teacher_inputs(BitHistory(2, schedule, bits[0].shape[-1], side=side), bits)
    fed = torch.cat([x.flatten(2).transpose(1, 2) for x in inputs], dim=1)
    torch.testing.assert_close(fed, case["bsc0_x_BLC_wo_prefix"], atol=1e-5, rtol=0)
    assert torch.equal(torch.cat(bits, dim=1), case["bsc0_gt"].bool())


@pytest.mark.parametrize("side", [1, 2])
def test_the_sum_of_enlarged_codes_is_what_the_history_holds(side):
    schedule = ScaleSchedule(((1, 1), (2, 3), (4, 5)))
    features = torch.randn(2, 5, 4 * side, 5 * side, generator=torch.Generator().manual_seed(0))
    bits, history = _quantized(features, schedule, side)
    total = torch.zeros_like(features)
    for k, tokens in enumerate(bits):
        codes = history.codes_of(tokens, k)
        torch.testing.assert_close(codes.norm(dim=1), torch.ones_like(codes[:, 0]))
        torch.testing.assert_close(codes.abs(), torch.full_like(codes, 1 / math.sqrt(5)))
        assert torch.equal(history.bits_of(codes), tokens)
        total += torch.nn.functional.interpolate(
            codes[:, :, None], size=(1, 4 * side, 5 * side), mode="trilinear", align_corners=False
        )[:, :, 0]
    torch.testing.assert_close(history.features, total, atol=1e-6, rtol=0)


def test_a_single_scale_keeps_signs_and_zero_is_bit_0():
    features = torch.randn(1, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    features[0, 0, 0, 0] = 0.0
    (bits,), history = _quantized(features, ScaleSchedule.square(3))
    assert torch.equal(bits, (features > 0).flatten(2).transpose(1, 2))
    assert not bits[0, 0, 0]
    assert torch.equal(history.features > 0, features > 0)


def test_a_token_of_four_cells_has_their_bits_channel_by_channel():
    history = BitHistory(1, ScaleSchedule.square(1), 8, side=2)
    cells = torch.tensor([[[[1.0, -1.0], [1.0, 1.0]], [[-1.0, 1.0], [-1.0, -1.0]]]])
    assert history.bits_of(cells).tolist() == [[[True, False, True, True, False, True, False, False]]]
    torch.testing.assert_close(history.codes_of(history.bits_of(cells), 0) * math.sqrt(2), cells)


def test_what_does_not_fit_is_refused():
    history = BitHistory(1, ScaleSchedule.square(1, 2), 4)
    with pytest.raises(
        ConfigError, match=r"bits of shape \[1, 4, 4\] were given for scale 0 of 1,2, which takes \[1, 1, 4\]"
    ):
        history.add(torch.zeros(1, 4, 4))
    with pytest.raises(ConfigError, match=r"features of shape \[4, 3, 3\] .* give images of 2x2 tokens"):
        history.residual(torch.zeros(1, 4, 3, 3))
    history.add(torch.zeros(1, 1, 4))
    history.add(torch.zeros(1, 4, 4))
    with pytest.raises(ConfigError, match="all 2 scales of 1,2 are there"):
        history.next_input()
