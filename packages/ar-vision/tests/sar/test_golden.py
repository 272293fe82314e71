"""One step of SAR against what the published trainer recorded in five modes."""

import json

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.sampling import var_filter
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.sar import objective as module
from ar_vision.sar.config import SarConfig
from ar_vision.sar.objective import STUDENT, SarObjective
from ar_vision.sar.rollout import null_hidden, roll_out, rollout_guidance
from ar_vision.scales import ScaleSchedule
from safetensors import safe_open
from safetensors.torch import load_file

MODES = {
    "csfl_argmax": {},
    "csfl_argmax_sigma1": {"sigma": 1.0},
    "sf_gt_argmax": {"target": "gt"},
    "csfl_sample_cfg1.2_k8_p0.96": {
        "rollout_sampling": "sample",
        "rollout_guidance": 2.2,
        "rollout_top_k": 8,
        "rollout_top_p": 0.96,
    },
    "csfl_argmax_124": {"schedules": (1, 2, 4)},
}
SEED = 5
"""Of torch's global generator where the sampled mode was recorded; its draws are those of ``torch.multinomial``."""


@pytest.fixture(scope="module")
def case(golden_dir):
    path = golden_dir / "vision_a" / "sar_step.safetensors"
    with safe_open(path, "pt") as file:
        recorded = set(json.loads(file.metadata()["runs"]))
    assert recorded == set(MODES)
    return load_file(path)


@pytest.fixture
def model(golden_flexvar):
    """Trainable for the test alone: the fixture is shared."""
    golden_flexvar.requires_grad_(True)
    yield golden_flexvar
    golden_flexvar.zero_grad()
    golden_flexvar.requires_grad_(False)


class Step:
    """A step whose inputs, logits, losses and gradient can be looked at."""

    def __init__(self, monkeypatch, model, tokenizer, case, settings):
        sides = settings.pop("schedules", (1, 2, 3, 4))
        base = {"sigma": 0.01, "rollout_sampling": "argmax", "rollout_guidance": 1.0, "label_dropout": 0.0}
        schedules = ScheduleSampler(fixed=True, default=sides)
        config = SarConfig(rollout="released", final_resolution=64, schedules=schedules, **base | settings)
        stored = ScaleSchedule.square(1, 2, 3, 4)
        codes = torch.cat(tokenizer.quantize(tokenizer.encode(case["img"]), stored), dim=1)
        samples = [
            {"index": number, "codes": row, "label": label.long()}
            for number, (row, label) in enumerate(zip(codes, case["label"], strict=True))
        ]
        self.objective = SarObjective(config, model, stored, step_samples=2)
        self.prepared = self.objective.prepare(samples, SampleRng(0))
        self.models = {"model": model, "tokenizer": tokenizer}
        self.forced = self.objective.teacher_pass(self.models, self.prepared)
        seen, passed = {}, module.student_hidden

        def student_hidden(model, condition, inputs, *rest):
            hidden = passed(model, condition, inputs, *rest)
            seen["inputs"], seen["logits"] = inputs, model.head(hidden, condition)
            return hidden

        monkeypatch.setattr(module, "student_hidden", student_hidden)
        self.seen = seen

    def run(self):
        sums = self.objective.sums(self.models, self.prepared)
        means = {name: sums[name] / self.prepared.weights[name] for name in (TERM, STUDENT)}
        self.total = sum(self.objective.coefficients[name] * mean for name, mean in means.items())
        self.total.backward()
        return means


def flat(inputs):
    return torch.cat([one.flatten(2).transpose(1, 2) for one in inputs], dim=1)


def published_draws(step):
    """Codes of all scales as the published trainer drew them, from our own guided logits."""
    forced = step.forced
    null = null_hidden(forced)
    guidance = rollout_guidance(2.2, forced.schedule)
    with torch.no_grad():
        given, beside = (
            forced.model.head(hidden, condition)
            for hidden, condition in ((forced.hidden, forced.condition), (null, forced.model.null_condition(2)))
        )
    guided = [
        other + strength * (one - other)
        for one, other, strength in zip(
            forced.schedule.split(given), forced.schedule.split(beside), guidance, strict=True
        )
    ]
    before = torch.get_rng_state()
    torch.manual_seed(SEED)
    codes = []
    for logits in guided:
        chances = var_filter(logits, 8, 0.96).softmax(-1)
        codes.append(torch.multinomial(chances.flatten(0, 1), 1, replacement=True).view(2, -1))
    torch.set_rng_state(before)
    return codes


@pytest.mark.parametrize("mode", MODES)
def test_a_step_of_every_mode(monkeypatch, model, golden_flexvar_tokenizer, case, mode):
    step = Step(monkeypatch, model, golden_flexvar_tokenizer, case, dict(MODES[mode]))
    if "sample" in mode:
        codes = published_draws(step)
        monkeypatch.setattr(module, "roll_out", lambda forced, scales, *rest, **settings: [codes[k] for k in scales])
    means = step.run()
    rows = slice(0, 2)
    torch.testing.assert_close(flat(step.forced.inputs), case[f"{mode}.tf_input"][rows], atol=1e-5, rtol=0)
    logits = model.head(step.forced.hidden, step.forced.condition)
    torch.testing.assert_close(logits, case[f"{mode}.tf_logits"][rows], atol=1e-4, rtol=0)
    torch.testing.assert_close(flat(step.seen["inputs"]), case[f"{mode}.sf_input"], atol=1e-5, rtol=0)
    torch.testing.assert_close(step.seen["logits"], case[f"{mode}.sf_logits"], atol=1e-4, rtol=0)
    for found, name in ((means[TERM], "tf_loss"), (means[STUDENT], "sf_loss"), (step.total, "total")):
        torch.testing.assert_close(found, case[f"{mode}.{name}"][0], atol=1e-4, rtol=0)
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(norm, case[f"{mode}.grad_norm"][0], atol=1e-4, rtol=0)


def test_the_null_half_is_the_recorded_one(monkeypatch, model, golden_flexvar_tokenizer, case):
    name = "csfl_sample_cfg1.2_k8_p0.96"
    step = Step(monkeypatch, model, golden_flexvar_tokenizer, case, dict(MODES[name]))
    logits = model.head(null_hidden(step.forced), model.null_condition(2))
    torch.testing.assert_close(logits, case[f"{name}.tf_logits"][2:], atol=1e-4, rtol=0)


def test_our_draws_are_from_the_published_distribution(monkeypatch, model, golden_flexvar_tokenizer, case):
    """Our rollout with the recorded draws' own mass: halfway into the interval of a code it gives that code."""
    name = "csfl_sample_cfg1.2_k8_p0.96"
    step = Step(monkeypatch, model, golden_flexvar_tokenizer, case, dict(MODES[name]))
    forced, sampler, guidance = (
        step.forced,
        step.objective.config.sampler,
        rollout_guidance(2.2, ScaleSchedule.square(1, 2, 3, 4)),
    )
    codes, null = published_draws(step), null_hidden(forced)
    given = model.head(forced.hidden, forced.condition)
    beside = model.head(null, model.null_condition(2))
    strengths = torch.repeat_interleave(torch.tensor(guidance), torch.tensor(forced.schedule.lengths))[:, None]
    chances = var_filter(beside + strengths * (given - beside), 8, 0.96).softmax(-1).double()
    chosen = torch.cat(codes, dim=1)[..., None]
    middle = (chances.cumsum(-1) - chances / 2).gather(-1, chosen)[..., 0]
    rolled = roll_out(forced, range(4), sampler, middle, null=null, guidance=guidance)
    assert all(torch.equal(one, other) for one, other in zip(rolled, codes, strict=True))
