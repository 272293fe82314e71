"""VAR against what its published code recorded."""

import json

import pytest
import torch
import torch.nn.functional as F
from ar_vision.backbones.var.decode import VarDecoding, generate, guidance_of
from ar_vision.backbones.var.loading import to_published
from ar_vision.backbones.var.more_smooth import SmoothScales, smooth_weights
from ar_vision.decoding.image_sampler import ImageSampler
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from ar_vision.tokenizers.scale_history import teacher_inputs

LABELS = [3, 7]
"""Classes of the recorded generations."""


def test_teacher_forced_logits_and_loss_of_a_class_and_of_none(golden_var, golden_var_tokenizer, var_case):
    tensors, schedule = var_case.tensors, golden_var.schedule
    assert tensors["label"].tolist() == [3, 10]
    inputs = teacher_inputs(golden_var_tokenizer.history(2, schedule), schedule.split(tensors["gt_idx"]))
    given = torch.cat([fed.flatten(2).transpose(1, 2) for fed in inputs], dim=1)
    torch.testing.assert_close(given, tensors["x_in"], atol=1e-5, rtol=0)
    condition = golden_var.condition(tensors["label"])
    logits = golden_var.head(golden_var.teacher_forced(condition, inputs, schedule), condition)
    torch.testing.assert_close(logits, tensors["tf_logits"], atol=1e-4, rtol=0)
    loss = F.cross_entropy(logits.flatten(0, 1), tensors["gt_idx"].flatten())
    torch.testing.assert_close(loss, tensors["tf_loss"][0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("cfg", ["1.5", "0"])
def test_greedy_generation(golden_var, golden_var_tokenizer, var_case, cfg):
    features = []
    found = generate(
        golden_var,
        golden_var_tokenizer,
        LABELS,
        VarDecoding(guidance=1 + float(cfg), temperature=0),
        on_scale=lambda k, now: features.append(now),
    )
    for codes, expected in zip(found.codes, var_case.scales(f"greedy_cfg{cfg}.idx"), strict=True):
        assert torch.equal(codes, expected)
    torch.testing.assert_close(features[-1], var_case.tensors[f"greedy_cfg{cfg}.fhat"], atol=1e-5, rtol=0)
    if cfg == "1.5":
        torch.testing.assert_close(found.images / 2 + 0.5, var_case.tensors["greedy_cfg1.5.img"], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "cfg"), [("greedy_cfg1.5", 1.5), ("greedy_cfg0", 0.0), ("seed123_cfg1.5_k5_p0.9", 1.5)]
)
def test_guided_logits_with_the_recorded_codes_forced(golden_var, golden_var_tokenizer, var_case, name, cfg):
    schedule = golden_var.schedule
    passes = ScalePasses(
        golden_var,
        golden_var.condition(torch.tensor(LABELS)),
        golden_var.null_condition(2),
        schedule,
        guidance_of(VarDecoding(guidance=1 + cfg), schedule.count),
    )
    history, seen = golden_var_tokenizer.history(2, schedule), []
    recorded = var_case.scales(f"{name}.idx")

    def pick(scale, logits, generators):
        seen.append(logits)
        return recorded[scale]

    generate_scales(passes, history, pick)
    for logits, expected in zip(seen, var_case.scales(f"{name}.cfg_logits"), strict=True):
        torch.testing.assert_close(logits, expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(history.features, var_case.tensors[f"{name}.fhat"], atol=1e-5, rtol=0)


def test_recorded_samples_are_within_the_filters(golden_var, var_case):
    sampler = ImageSampler(top_k=5, top_p=0.9)
    name = "seed123_cfg1.5_k5_p0.9"
    for logits, codes in zip(var_case.scales(f"{name}.cfg_logits"), var_case.scales(f"{name}.idx"), strict=True):
        assert sampler.filtered(logits).gather(-1, codes[..., None]).isfinite().all()


def test_more_smooth_with_the_recorded_draws(golden_var, golden_var_tokenizer, var_case):
    """Published code draws a code, which it then does not use, before it draws the noise of the mixture."""
    schedule, rng = golden_var.schedule, torch.Generator().manual_seed(7)

    class Recorded(SmoothScales):
        def pick(self, scale, logits, generators):
            torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, replacement=True, generator=rng)
            noise = -torch.empty_like(logits).exponential_(generator=rng).log()
            weights = smooth_weights(logits, noise, scale / 3)
            self._mixtures = (weights @ self._table).transpose(1, 2).unflatten(2, schedule.sizes[scale])
            return weights.argmax(-1)

    smooth = Recorded(golden_var_tokenizer, 2, schedule, ImageSampler())
    condition, null = golden_var.condition(torch.tensor(LABELS)), golden_var.null_condition(2)
    guidance = guidance_of(VarDecoding(guidance=2.5), schedule.count)
    generate_scales(ScalePasses(golden_var, condition, null, schedule, guidance), smooth, smooth.pick)
    torch.testing.assert_close(smooth.features, var_case.tensors["more_smooth_seed7.fhat"], atol=1e-4, rtol=0)


def test_the_published_state_dict_comes_back(golden_dir, golden_var, var_case):
    back = to_published(golden_var)
    keys = json.loads((golden_dir / "vision_a" / "var_transformer_d2_keys.json").read_text())
    assert {name: [list(t.shape), str(t.dtype)] for name, t in back.items()} == keys
    for name, tensor in var_case.weights.items():
        torch.testing.assert_close(back[name], tensor, atol=0, rtol=0)
