"""Recorded runs of the published implementation."""

import json

import pytest
import torch
import torch.nn.functional as F
from ar_vision.backbones.infinity import model as model_module
from ar_vision.backbones.infinity.bit_sampler import BitSampler
from ar_vision.backbones.infinity.config import CHUNKS, PRESETS
from ar_vision.backbones.infinity.decode import InfinityOptions, InfinityPasses, pick_bits
from ar_vision.backbones.infinity.loading import to_published
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.backbones.infinity.self_correction import bit_targets
from ar_vision.decoding.scalewise import generate_scales
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.bsq.bit_history import BitHistory

pytestmark = pytest.mark.golden


def test_teacher_forced_logits(case, published):
    recorded = case("tiny_teacher_forced_r1")
    schedule = recorded.schedule
    targets = bit_targets(recorded.tensors["features"], BitHistory(2, schedule, 8))
    fed = torch.cat([x.flatten(2).transpose(1, 2) for x in targets.inputs], dim=1)
    torch.testing.assert_close(fed, recorded.tensors["x_BLC_wo_prefix"], atol=1e-5, rtol=0)
    assert torch.equal(torch.cat(targets.labels, dim=1), recorded.tensors["gt_bits"].bool())
    with torch.no_grad():
        logits = published(targets.inputs, recorded.text, schedule)
    torch.testing.assert_close(logits, recorded.tensors["logits"], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny_ar_greedy_cfg1", "tiny_ar_sampled_plain_r15"])
def test_logits_of_every_scale_while_decoding(case, published, name):
    recorded, tensors = case(name), case(name).tensors
    text = recorded.text if "text_kv_compact" in tensors else case("tiny_teacher_forced_r1").text
    greedy = json.loads(recorded.settings["call"])["top_k"] == 1
    seen = []

    def pick(scale, logits, generators):
        seen.append(logits)
        bits = tensors[f"bits_{scale}"].flatten(1, -2).bool()
        if greedy:
            assert torch.equal(BitSampler(top_k=1).pick(logits, generators), bits)
        return bits

    schedule = recorded.schedule
    passes = InfinityPasses(published, text, schedule, [1.0] * schedule.count)
    generate_scales(passes, BitHistory(text.rows, schedule, 8), pick)
    for scale, logits in enumerate(seen):
        torch.testing.assert_close(logits.unflatten(-1, (8, 2)), tensors[f"logits_{scale}"], atol=2e-4, rtol=1e-4)


def test_published_draws_give_the_recorded_bits(case, published):
    recorded = case("tiny_ar_sampled_plain_r15")
    schedule, call = recorded.schedule, json.loads(recorded.settings["call"])
    options = InfinityOptions(guidance=(1.0,), temperature=(1.0,), top_p=None, draw="multinomial")
    passes = InfinityPasses(published, recorded.text, schedule, [1.0] * schedule.count)
    draw = pick_bits(options, schedule)
    one = torch.Generator().manual_seed(call["g_seed"])
    bits, _ = generate_scales(passes, BitHistory(1, schedule, 8), lambda k, logits, _: draw(k, logits, [one]))
    for scale, drawn in enumerate(bits):
        assert torch.equal(drawn, recorded.tensors[f"bits_{scale}"].flatten(1, -2).bool())


def test_positions_that_restart_at_every_scale_would_give_other_logits(case, published, monkeypatch):
    recorded = case("tiny_ar_greedy_cfg1")
    schedule, text = recorded.schedule, case("tiny_teacher_forced_r1").text
    right = model_module.angles

    def restarting(schedule, grid, head_dim, scale=None):
        cos, sin = right(schedule, grid, head_dim)
        length = schedule.lengths[scale]
        return cos[:length], sin[:length]

    monkeypatch.setattr(model_module, "angles", restarting)
    worst = []

    def pick(scale, logits, generators):
        worst.append((logits.unflatten(-1, (8, 2)) - recorded.tensors[f"logits_{scale}"]).abs().max().item())
        return recorded.tensors[f"bits_{scale}"].flatten(1, -2).bool()

    generate_scales(InfinityPasses(published, text, schedule, [1.0] * 7), BitHistory(2, schedule, 8), pick)
    assert worst[0] < 2e-4
    assert worst[1] > 0.1


@pytest.mark.parametrize("name", ["sq", "patchify"])
def test_self_correction_with_recorded_flips(case, name):
    recorded = case(f"bsq_{name}")
    tensors, side = recorded.tensors, 2 if recorded.settings["patchify"] == "1" else 1
    schedule = ScaleSchedule(tuple((h // side, w // side) for h, w in recorded.schedule.sizes))
    d_v = tensors["features"].shape[1] * side**2

    def tokens(bits):
        grid = bits[:, 0].permute(0, 3, 1, 2).float()
        return (F.pixel_unshuffle(grid, side) if side > 1 else grid).flatten(2).transpose(1, 2).bool()

    labels = schedule.split(tensors["bscflip_gt"].bool())
    flips = [tokens(tensors[f"bscflip_pred_bits_{k}"]) ^ labels[k] for k in range(3)]
    assert any(flip.any() for flip in flips)
    targets = bit_targets(tensors["features"], BitHistory(2, schedule, d_v, side=side), flips)
    assert torch.equal(torch.cat(targets.labels, dim=1), tensors["bscflip_gt"].bool())
    fed = torch.cat([x.flatten(2).transpose(1, 2) for x in targets.inputs], dim=1)
    torch.testing.assert_close(fed, tensors["bscflip_x_BLC_wo_prefix"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("listed", "preset"), [("infinity_layer12 (125M)", "layer12"), ("infinity_2b", "2b"), ("infinity_8b", "8b")])  # fmt: skip
def test_names_shapes_and_counts_of_published_sizes(golden_dir, listed, preset):
    entry = json.loads((golden_dir / "vision_b" / "infinity_state_dict_patterns.json").read_text())[listed]
    with torch.device("meta"):
        model = Infinity(PRESETS[preset])
    assert sum(parameter.numel() for parameter in model.parameters()) == entry["num_params"]
    ours: dict[str, list] = {}
    for name, tensor in to_published(model, CHUNKS[preset]).items():
        parts = name.split(".")
        if parts[0] == "block_chunks":
            assert int(parts[3]) < entry["blocks_per_chunk"]
            parts[1], parts[3] = "{c}", "{j}"
        pattern = ours.setdefault(".".join(parts), [list(tensor.shape), 0])
        pattern[1] += 1
    assert ours == entry["patterns {key: [shape, count]}"]
