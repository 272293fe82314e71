"""FlexVAR against what its published code recorded."""

import json
from random import Random

import pytest
import torch
import torch.nn.functional as F
from ar_vision.backbones.flexvar.decode import FlexVarDecoding, generate, guidance_of
from ar_vision.backbones.flexvar.loading import to_published
from ar_vision.backbones.flexvar.model import sine_map
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler, draw_schedule
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs

LABELS = [3, 7]
"""Classes of the recorded generations."""

RUNS = ["greedy", "greedy_llamagen_cfg", "seed0_k5_p95_with7", "maxpn2"]


def decoding(case, name):
    """The recorded settings under our names, and which scales published code was greedy on."""
    run = case.settings["runs"][name]
    settings = run["kw"]
    constant = settings.get("used_llamagen_cfg", False)
    options = FlexVarDecoding(
        scales=tuple(settings["infer_patch_nums"]),
        guidance=settings["cfg"] + (0 if constant else 1),
        guidance_schedule="constant" if constant else "ramp",
        temperature=0 if settings["top_k"] == 1 else 1,
        top_k=settings["top_k"],
        top_p=settings["top_p"] or None,
        max_side=settings.get("max_pn", 16),
        published_argmax=True,
    )
    return options, [k == 1 for k in run["top_k_used"]]


@pytest.mark.parametrize(("name", "sides"), [("", (1, 2, 3, 4)), ("alt_", (1, 3, 4))])
def test_teacher_forced_logits_on_two_schedules(golden_flexvar, golden_flexvar_tokenizer, flexvar_case, name, sides):
    tensors, schedule = flexvar_case.tensors, ScaleSchedule.square(*sides)
    codes = schedule.split(tensors[f"{name}gt_idx"])
    inputs = teacher_inputs(golden_flexvar_tokenizer.history(2, schedule), codes)
    given = torch.cat([fed.flatten(2).transpose(1, 2) for fed in inputs], dim=1)
    torch.testing.assert_close(given, tensors[f"{name}x_in"], atol=1e-5, rtol=0)
    condition = golden_flexvar.condition(tensors["label"])
    logits = golden_flexvar.head(golden_flexvar.teacher_forced(condition, inputs, schedule), condition)
    torch.testing.assert_close(logits, tensors[f"{name}tf_logits"], atol=1e-4, rtol=0)
    if not name:
        loss = F.cross_entropy(logits.flatten(0, 1), tensors["gt_idx"].flatten())
        torch.testing.assert_close(loss, tensors["tf_loss"][0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["greedy", "greedy_llamagen_cfg"])
def test_greedy_generation(golden_flexvar, golden_flexvar_tokenizer, flexvar_case, name):
    options, _ = decoding(flexvar_case, name)
    found = generate(golden_flexvar, golden_flexvar_tokenizer, LABELS, options)
    for codes, expected in zip(found.codes, flexvar_case.scales(f"{name}.idx"), strict=True):
        assert torch.equal(codes, expected)
    if name == "greedy":
        expected = flexvar_case.tensors["greedy.img"].clamp(-1, 1)
        torch.testing.assert_close(found.images, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", RUNS)
def test_guided_logits_with_the_recorded_codes_forced(golden_flexvar, golden_flexvar_tokenizer, flexvar_case, name):
    options, _ = decoding(flexvar_case, name)
    schedule = ScaleSchedule.square(*options.scales)
    passes = ScalePasses(
        golden_flexvar,
        golden_flexvar.condition(torch.tensor(LABELS)),
        golden_flexvar.null_condition(2),
        schedule,
        guidance_of(options, schedule),
    )
    recorded, seen = flexvar_case.scales(f"{name}.idx"), []

    def pick(scale, logits, generators):
        seen.append(logits)
        return recorded[scale]

    generate_scales(passes, golden_flexvar_tokenizer.history(2, schedule), pick)
    for logits, expected in zip(seen, flexvar_case.scales(f"{name}.cfg_logits"), strict=True):
        torch.testing.assert_close(logits, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", RUNS)
def test_greedy_scales_are_the_recorded_ones(golden_flexvar, golden_flexvar_tokenizer, flexvar_case, name):
    options, greedy = decoding(flexvar_case, name)
    draws = [generate(golden_flexvar, golden_flexvar_tokenizer, [3] * 6, options, seed=n) for n in range(2)]
    # Rows of one class differ as soon as a scale is sampled; until then greedy ones are equal.
    for k, forced in enumerate(greedy):
        if all(greedy[: k + 1]):
            assert all(torch.equal(d.codes[k], draws[0].codes[k][:1].expand_as(d.codes[k])) for d in draws)
        elif not forced:
            assert not torch.equal(draws[0].codes[k], draws[1].codes[k])
    for logits, codes, forced in zip(
        flexvar_case.scales(f"{name}.cfg_logits"), flexvar_case.scales(f"{name}.idx"), greedy, strict=True
    ):
        assert not forced or torch.equal(logits.argmax(-1), codes)


def test_positions_start_from_the_recorded_map(flexvar_case):
    expected = flexvar_case.tensors["pos_init"]
    torch.testing.assert_close(sine_map(48, 32, 32)[..., ::8, ::8], expected, atol=2e-6, rtol=0)


def test_drawn_schedules_are_the_recorded_ones(golden_dir):
    recorded = json.loads((golden_dir / "vision_a" / "flexvar_schedule_sampler.json").read_text())
    sampler, random = ScheduleSampler(cut="reference"), Random(0)
    drawn = [list(draw_schedule(sampler, random)) for _ in range(300)]
    assert drawn == recorded["python_random_seed0_first_300"]


def test_the_published_state_dict_comes_back(golden_dir, golden_flexvar, flexvar_case):
    back = to_published(golden_flexvar)
    keys = json.loads((golden_dir / "vision_a" / "flexvar_transformer_d2_keys.json").read_text())
    shapes = {name: shape for name, (shape, _) in keys.items() if name != "attn_bias_for_masking"}
    assert {name: list(tensor.shape) for name, tensor in back.items()} == shapes
    for name, tensor in flexvar_case.weights.items():
        torch.testing.assert_close(back[name], tensor, atol=0, rtol=0)
