"""What holds exactly of a step of SAR, whatever the weights."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_vision.backbones.flexvar.objective import FlexVarObjective
from ar_vision.backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from ar_vision.sar import objective as module
from ar_vision.sar import stagger
from ar_vision.sar.objective import DIVERGENCE, STUDENT
from ar_vision.sar.rollout import roll_out
from ar_vision.sar.stagger import predicted, student_hidden, student_inputs, transitions
from ar_vision.scales import ScaleSchedule
from torch import nn

SIDES = ScaleSchedule.square(1, 2, 3, 4)
VARIANTS = pytest.mark.parametrize("rollout", ["full", "released", "single"])


def loss_of(objective, prepared, sums):
    return sum(
        factor * sums[name] / prepared.weights[name]
        for name, factor in objective.coefficients.items()
        if prepared.weights[name]
    )


def gradients(loss, model, **options):
    return torch.autograd.grad(loss, list(model.parameters()), **options)


def test_oracle_1_sigma_zero_is_plain_training_to_the_bit(step, make_samples):
    models, objective, prepared, sums = step(sigma=0.0)
    config = FlexVarObjectiveConfig(final_resolution=16, schedules=ScheduleSampler(fixed=True, default=(1, 2, 3, 4)))
    plain = FlexVarObjective(config, models["model"], SIDES, 3)
    same = plain.prepare(make_samples(3), SampleRng(0))
    expected = plain.sums(models, same)
    assert objective.coefficients == plain.coefficients
    assert sums.keys() == expected.keys() == {TERM}
    assert prepared.weights == same.weights
    assert all(torch.equal(prepared.tensors[name], same.tensors[name]) for name in same.tensors)
    assert torch.equal(sums[TERM], expected[TERM])
    for one, other in zip(
        gradients(sums[TERM], models["model"]), gradients(expected[TERM], models["model"]), strict=True
    ):
        assert torch.equal(one, other)


def test_the_first_pass_does_not_depend_on_sigma(step):
    """So that an arm and its control see the same teacher-forced loss at the same weights."""
    for settings in ({"rollout": "full"}, {"rollout": "released"}, {"rollout_guidance": 1.0}):
        assert torch.equal(step(**settings)[3][TERM], step(sigma=0.0)[3][TERM])


def test_oracle_2_full_with_the_truth_rolled_out_is_the_first_pass_again(step, monkeypatch):
    models, objective, prepared, _ = step()
    forced = objective.teacher_pass(models, prepared)
    truth = SIDES.split(forced.codes)
    fed = transitions("full", 4, 0)
    inputs = student_inputs(models["tokenizer"], truth, fed, SIDES)
    assert all(torch.equal(one, other) for one, other in zip(inputs, forced.inputs, strict=True))
    hidden = student_hidden(models["model"], forced.condition, inputs, fed, SIDES, "full")
    assert torch.equal(hidden, forced.hidden[:, 1:])
    monkeypatch.setattr(module, "roll_out", lambda forced, scales, *rest, **settings: [truth[k] for k in scales])
    sums = objective.sums(models, prepared)
    logits = models["model"].head(forced.hidden, forced.condition)[:, 1:]
    expected = F.cross_entropy(logits.flatten(0, 1), forced.codes[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(sums[STUDENT], expected)


def test_oracle_3_full_leaves_the_first_scale_as_the_first_pass_has_it(step):
    models, objective, prepared, _ = step()
    forced = objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, range(3), prepared.tensors["uniforms"])
    assert not torch.equal(torch.cat(rolled, dim=1), forced.codes)
    inputs = student_inputs(models["tokenizer"], rolled, range(3), SIDES)
    hidden = models["model"].teacher_forced(forced.condition, inputs, SIDES)
    first = [models["model"].head(one, forced.condition)[:, :1] for one in (hidden, forced.hidden)]
    torch.testing.assert_close(*first, atol=1e-6, rtol=0)
    assert not torch.allclose(hidden[:, 1:], forced.hidden[:, 1:], atol=1e-3)


@VARIANTS
@pytest.mark.parametrize("target", ["teacher", "gt", "soft"])
def test_oracle_4_no_gradient_leads_through_the_rollout(step, rollout, target, monkeypatch):
    models, objective, prepared, _ = step(rollout=rollout, target=target, sigma=1.0)
    models["tokenizer"].requires_grad_(True)
    forced = []
    passed = objective.teacher_pass

    def teacher_pass(*given):
        forced.append(passed(*given))
        forced[-1].hidden.retain_grad()
        return forced[-1]

    monkeypatch.setattr(objective, "teacher_pass", teacher_pass)
    objective.sums(models, prepared)[STUDENT].backward()
    assert forced[0].hidden.grad is None
    assert models["model"].word_embed.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in models["tokenizer"].parameters())


def test_oracle_5_released_runs_the_class_token_and_the_last_scale_alone(step, monkeypatch):
    models, objective, prepared, _ = step(rollout="released")
    lengths, run = [], models["model"].hidden
    monkeypatch.setattr(
        models["model"], "hidden", lambda x, *rest, **kw: lengths.append(x.shape[1]) or run(x, *rest, **kw)
    )
    objective.sums(models, prepared)
    assert lengths == [30, 30, 1 + 16]
    assert prepared.weights[STUDENT] == 3 * 16
    # Class token of condition and mean position, without start, which the first pass has.
    model, pair = models["model"], ScaleSchedule.square(1, 4)
    condition = model.condition(prepared.tensors["labels"])
    inputs = [torch.zeros(3, 8, 4, 4)]
    before = student_hidden(model, condition, inputs, range(2, 3), SIDES, "released")
    with torch.no_grad():
        model.start += 1
    assert torch.equal(student_hidden(model, condition, inputs, range(2, 3), SIDES, "released"), before)
    mean = model.positions.mean((2, 3))
    torch.testing.assert_close(model.positions_of(0, pair)[0], mean)
    with torch.no_grad():
        model.positions.zero_()
    assert not torch.equal(student_hidden(model, condition, inputs, range(2, 3), SIDES, "released"), before)


def test_released_has_one_class_token_whatever_the_first_grid(step, monkeypatch):
    models, objective, prepared, sums = step(rollout="released", schedules={"fixed": True, "default": (2, 3, 4)})
    model, part = models["model"], ScaleSchedule.square(2, 3, 4)
    forced = objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, range(1, 2), prepared.tensors["uniforms"])
    inputs = student_inputs(models["tokenizer"], rolled, range(1, 2), part)
    mean = forced.condition + model.positions.mean((2, 3))
    x = torch.cat([mean[:, None], model.embed(2, inputs[0], forced.condition, part)], dim=1)
    pair = ScaleSchedule.square(1, 4)
    hidden = model.hidden(x, forced.condition, scale=None, schedule=pair, mask=scale_mask(pair, x.device))
    logits = model.head(hidden, forced.condition)[:, 1:]
    expected = F.cross_entropy(logits.flatten(0, 1), rolled[1].flatten(), reduction="sum")
    torch.testing.assert_close(sums[STUDENT], expected)


def test_oracle_5_released_sees_earlier_scales_only_in_what_was_rolled_out(step, monkeypatch):
    models, objective, prepared, sums = step(rollout="released", sigma=1.0)
    rolled = objective._rolled(objective.teacher_pass(models, prepared), range(2, 3), prepared.tensors["uniforms"])
    monkeypatch.setattr(module, "roll_out", lambda *given, **settings: rolled)
    fixed = objective.sums(models, prepared)[STUDENT]
    torch.testing.assert_close(fixed, sums[STUDENT])
    changed = prepared.tensors["codes"].clone()
    changed[:, :14] = (changed[:, :14] + 1) % 24
    prepared.tensors["codes"] = changed
    assert torch.equal(objective.sums(models, prepared)[STUDENT], fixed)
    monkeypatch.undo()
    assert not torch.equal(objective.sums(models, prepared)[STUDENT], fixed)


def test_full_sees_all_earlier_scales_as_they_were_rolled_out(step):
    models, objective, prepared, _ = step()
    forced = objective.teacher_pass(models, prepared)
    rolled = SIDES.split(forced.codes)
    last = [
        student_hidden(
            models["model"],
            forced.condition,
            student_inputs(models["tokenizer"], codes, range(3), SIDES),
            range(3),
            SIDES,
            "full",
        )[:, -16:]
        for codes in (rolled, [(rolled[0] + 1) % 24, *rolled[1:]])
    ]
    assert not torch.allclose(*last, atol=1e-4)


def test_oracle_7_the_loss_is_the_sum_of_both_and_sigma_its_factor(step):
    losses = {}
    for sigma in (0.0, 0.25, 0.5):
        _, objective, prepared, sums = step(sigma=sigma)
        losses[sigma] = loss_of(objective, prepared, sums)
    student = sums[STUDENT] / prepared.weights[STUDENT]
    truth = sums[TERM] / prepared.weights[TERM]
    assert torch.equal(losses[0.0], truth)
    torch.testing.assert_close(losses[0.5], truth + 0.5 * student, atol=1e-6, rtol=0)
    torch.testing.assert_close(losses[0.5] - losses[0.25], 0.25 * student, atol=1e-6, rtol=0)


def test_both_losses_against_formulas_written_out(step):
    """Including which places of which scales, with targets that were drawn under guidance."""
    models, objective, prepared, sums = step(rollout_top_k=5, rollout_top_p=0.8)
    model, codes = models["model"], prepared.tensors["codes"]
    forced = objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, range(3), prepared.tensors["uniforms"])
    own, hidden = torch.cat(rolled, dim=1), None
    table = F.normalize(models["tokenizer"].codebook.weight, dim=-1)
    inputs = []
    for k in range(3):
        grid = table[rolled[k]].transpose(1, 2).unflatten(2, SIDES.sizes[k])
        inputs.append(F.interpolate(grid, size=SIDES.sizes[k + 1], mode="bicubic", align_corners=False))
    hidden = model.teacher_forced(forced.condition, inputs, SIDES)
    logits = model.head(hidden, forced.condition)
    expected = F.cross_entropy(logits[:, 1:].flatten(0, 1), own[:, 1:].flatten())
    torch.testing.assert_close(sums[STUDENT] / prepared.weights[STUDENT], expected, atol=1e-5, rtol=0)
    truth = F.cross_entropy(model.head(forced.hidden, forced.condition).flatten(0, 1), codes.flatten())
    torch.testing.assert_close(sums[TERM] / prepared.weights[TERM], truth, atol=1e-5, rtol=0)
    for one, other in zip(
        gradients(sums[STUDENT] / prepared.weights[STUDENT], model, allow_unused=True),
        gradients(expected, model, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@VARIANTS
def test_oracle_9_inputs_are_those_that_decoding_would_feed(step, rollout):
    models, objective, prepared, _ = step(rollout=rollout)
    fed, model = prepared.meta["fed"], models["model"]
    forced = objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, fed, prepared.tensors["uniforms"])
    inputs = student_inputs(models["tokenizer"], rolled, fed, SIDES)
    chosen = dict(zip(fed, rolled, strict=False))
    truth, seen = SIDES.split(forced.codes), {}
    passes = ScalePasses(model, forced.condition, None, SIDES, (1.0,) * 4)
    asked = passes.logits
    passes.logits = _recording(asked, seen)
    generate_scales(
        passes, models["tokenizer"].history(3, SIDES), lambda k, logits, generators: chosen.get(k, truth[k])
    )
    for j, given in zip(fed, inputs, strict=True):
        torch.testing.assert_close(given, seen[j + 1], atol=1e-6, rtol=0)


def _recording(asked, seen):
    def logits(scale, features):
        seen[scale] = features
        return asked(scale, features)

    return logits


@pytest.mark.parametrize(("guidance", "without_graph"), [(1.0, 0), (2.2, 1)])
@pytest.mark.parametrize("settings", [{"rollout": "full"}, {"rollout": "released"}, {"target": "soft"}])
def test_oracle_10_two_passes_have_a_graph_and_the_null_class_has_none(
    step, monkeypatch, guidance, without_graph, settings
):
    models, objective, prepared, _ = step(rollout_guidance=guidance, **settings)
    passes, run = [], models["model"].hidden

    def hidden(x, *rest, **kw):
        found = run(x, *rest, **kw)
        passes.append((len(x), found.requires_grad))
        return found

    monkeypatch.setattr(models["model"], "hidden", hidden)
    objective.sums(models, prepared)
    assert passes == [(3, True)] + [(3, False)] * without_graph + [(3, True)]
    passes.clear()
    none = step(sigma=0.0, model=models["model"])
    passes.clear()
    none[1].sums(models, none[2])
    assert passes == [(3, True)]


def test_oracle_13_it_fits_four_images(make_flexvar, vq_tokenizer, make_samples, make_objective):
    model = make_flexvar().train()
    objective = make_objective(model, 4, sigma=0.5, label_dropout=0.0)
    models = {"model": model, "tokenizer": vq_tokenizer}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = []
    for number in range(120):
        samples = [sample | {"index": 4 * number + place} for place, sample in enumerate(make_samples(4))]
        prepared = objective.prepare(samples, SampleRng(0))
        sums = objective.sums(models, prepared)
        optimizer.zero_grad()
        loss_of(objective, prepared, sums).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        found.append(float(sums[STUDENT].detach()) / prepared.weights[STUDENT])
        if found[-1] < math.log(24) / 2:
            break
    assert found[0] > math.log(24) / 2
    assert found[-1] < math.log(24) / 2


def test_places_of_the_second_pass():
    assert predicted(range(3), SIDES) == slice(1, 30)
    assert predicted(range(2, 3), SIDES) == slice(14, 30)
    assert predicted(range(0, 1), SIDES) == slice(1, 5)
    assert transitions("full", 4, 0) == range(3)
    assert transitions("released", 4, 0) == range(2, 3)
    assert [transitions("single", 4, drawn) for drawn in range(3)] == [range(j, j + 1) for j in range(3)]
    assert not any(transitions(rollout, 1, 0) for rollout in ("full", "released", "single"))


def picture(name, rollout, drawn, model, monkeypatch):
    """Rows and columns of scales, from the mask that the second pass runs under."""
    fed, run, seen = transitions(rollout, 4, drawn), model.hidden, []
    monkeypatch.setattr(model, "hidden", lambda x, *rest, **kw: seen.append(kw) or run(x, *rest, **kw))
    inputs = [torch.zeros(1, 8, *SIDES.sizes[j + 1]) for j in fed]
    student_hidden(model, model.condition(torch.tensor([0])), inputs, fed, SIDES, rollout)
    dense, schedule = seen[0]["mask"].dense().squeeze(), seen[0]["schedule"]
    firsts = [place.start for place in schedule.slices]
    scales = [SIDES.sizes.index(size) for size in schedule.sizes]
    rows = [[("a" if column else "c") if dense[row, column] else "." for column in firsts] for row in firsts]
    head = len(name) + 3
    lines = [name.ljust(head) + " ".join(map(str, scales))]
    return lines + [f"{scale}   ".rjust(head) + " ".join(row) for scale, row in zip(scales, rows, strict=True)]


def test_the_picture_is_that_of_the_masks(make_flexvar, monkeypatch):
    drawn = [
        picture(name, rollout, number, make_flexvar(), monkeypatch)
        for name, rollout, number in (
            ("full    ", "full", 0),
            ("released", "released", 0),
            ("single, j = 1", "single", 1),
        )
    ]
    lines = [
        "        ".join(block[n] if n < len(block) else " " * len(block[0]) for block in drawn).rstrip()
        for n in range(5)
    ]
    docs = Path(__file__).parents[4] / "docs" / "methods" / "sar.md"
    assert "\n".join(lines) in docs.read_text()
    assert "\n".join(f"    {line}" for line in lines) in stagger.__doc__


def test_soft_targets_are_the_first_pass_itself(step):
    models, objective, prepared, sums = step(target="soft", rollout="released")
    model, forced = models["model"], objective.teacher_pass(models, prepared)
    rolled = objective._rolled(forced, range(2, 3), prepared.tensors["uniforms"])
    inputs = student_inputs(models["tokenizer"], rolled, range(2, 3), SIDES)
    hidden = student_hidden(model, forced.condition, inputs, range(2, 3), SIDES, "released")
    mine = model.head(hidden, forced.condition).log_softmax(-1)
    taught = model.head(forced.hidden, forced.condition)[:, 14:].log_softmax(-1)
    torch.testing.assert_close(sums[STUDENT], -(taught.exp() * mine).sum())
    torch.testing.assert_close(sums[DIVERGENCE], (taught.exp() * (taught - mine)).sum())
    assert prepared.weights[DIVERGENCE] == prepared.weights[STUDENT] == 48


@pytest.mark.parametrize("target", ["teacher", "soft"])
def test_each_pass_runs_under_its_own_labels(step, target):
    """With classes dropped apart: the rollout and its distribution are the first pass's, what learns is the second's."""
    models, objective, prepared, _ = step(target=target, share_label_dropout=False, rollout_guidance=1.0)
    prepared.tensors["labels"] = torch.tensor([0, 5, 2])
    prepared.tensors["student_labels"] = torch.tensor([5, 1, 2])
    model, forced = models["model"], objective.teacher_pass(models, prepared)
    rolled = roll_out(forced, range(4), objective.config.sampler, prepared.tensors["uniforms"])
    inputs = student_inputs(models["tokenizer"], rolled, range(3), SIDES)
    condition = model.condition(prepared.tensors["student_labels"])
    mine = model.head(model.teacher_forced(condition, inputs, SIDES), condition)[:, 1:].log_softmax(-1)
    if target == "soft":
        taught = model.head(forced.hidden, model.condition(prepared.tensors["labels"]))[:, 1:].softmax(-1)
        expected = -(taught * mine).sum()
    else:
        expected = -mine.gather(-1, torch.cat(rolled, dim=1)[:, 1:, None]).sum()
    torch.testing.assert_close(objective.sums(models, prepared)[STUDENT], expected)
