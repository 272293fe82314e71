"""The training objectives of VAR and FlexVAR."""

from collections import Counter
from random import Random

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_vision.backbones.flexvar.objective import FlexVarObjective
from ar_vision.backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler, draw_schedule
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.backbones.scale_transformer.objective_config import ScaleObjectiveConfig
from ar_vision.backbones.var.objective import VarObjective
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs

SIDES = ScaleSchedule.square(1, 2, 3, 4, 5, 6)
SMALL = {
    "default": (1, 2, 3, 4),
    "middle": (3, 4),
    "middle_count": 1,
    "fine": (5,),
    "fine_count": 1,
    "last": 6,
    "max_tokens": 70,
}


def samples(count, length, start=0):
    return [
        {
            "index": index,
            "codes": torch.randint(24, (length,), generator=torch.Generator().manual_seed(index)),
            "label": torch.tensor(index % 5),
        }
        for index in range(start, start + count)
    ]


def flexvar_objective(model, step_samples, **settings):
    schedules = ScheduleSampler(**SMALL | settings.pop("schedules", {}))
    config = FlexVarObjectiveConfig(final_resolution=24, schedules=schedules, **settings)
    return FlexVarObjective(config, model, SIDES, step_samples)


@pytest.mark.parametrize("max_logits", [None, 24 * 7])
def test_var_loss_is_the_mean_cross_entropy_over_all_codes(make_var, var_tokenizer, max_logits):
    model = make_var()
    objective = VarObjective(ScaleObjectiveConfig(label_dropout=0, accuracy=True, max_logits=max_logits), model)
    prepared = objective.prepare(samples(3, 30), SampleRng(0))
    found = objective.sums({"model": model, "tokenizer": var_tokenizer}, prepared)
    codes, condition = prepared.tensors["codes"], model.condition(prepared.tensors["labels"])
    inputs = teacher_inputs(var_tokenizer.history(3, model.schedule), model.schedule.split(codes))
    logits = model.head(model.teacher_forced(condition, inputs, model.schedule), condition)
    expected = F.cross_entropy(logits.flatten(0, 1), codes.flatten())
    torch.testing.assert_close(found[TERM] / prepared.weights[TERM], expected)
    right = model.schedule.split((logits.argmax(-1) == codes).float())
    for k, scale in enumerate(right):
        name = f"accuracy_{k + 1}x{k + 1}"
        assert found[name].item() / prepared.weights[name] == pytest.approx(scale.mean().item())
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    ours = torch.autograd.grad(found[TERM] / prepared.weights[TERM], list(model.parameters()))
    for one, other in zip(ours, gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_the_tokenizer_gets_no_gradient(make_var, var_tokenizer):
    model = make_var()
    var_tokenizer.requires_grad_(True)
    objective = VarObjective(ScaleObjectiveConfig(), model)
    models = {"model": model, "tokenizer": var_tokenizer}
    objective.sums(models, objective.prepare(samples(2, 30), SampleRng(0)))[TERM].backward()
    assert all(parameter.grad is None for parameter in var_tokenizer.parameters())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_who_loses_its_class_is_a_matter_of_the_sample(make_var):
    objective = VarObjective(ScaleObjectiveConfig(label_dropout=0.3), make_var())
    batch, rng = samples(400, 30), SampleRng(7)
    labels = objective.prepare(batch, rng).tensors["labels"]
    apart = torch.cat([objective.prepare([sample], rng).tensors["labels"] for sample in batch])
    assert torch.equal(labels, apart)
    dropped = labels == 5
    assert 0.22 < dropped.float().mean() < 0.38
    given = torch.tensor([int(sample["label"]) for sample in batch])
    assert torch.equal(labels[~dropped], given[~dropped])
    always = VarObjective(ScaleObjectiveConfig(label_dropout=0), make_var()).prepare(batch, rng)
    assert torch.equal(always.tensors["labels"], given)


def test_weight_decay_spares_what_published_training_spares(make_var, make_flexvar):
    def spared(objective):
        return set(objective.players()[0].no_decay)

    always = {"start", "positions", "log_scale"}
    assert spared(VarObjective(ScaleObjectiveConfig(), make_var())) == always | {"scale_embedding.weight"}
    assert spared(flexvar_objective(make_flexvar(shared_adaln=True), 1)) == always | {"offset"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            {"codes": torch.zeros(29, dtype=torch.int64)},
            r"sample 0 has codes of shape \[29\], and the scales 1,2,3,4 have 30",
        ),
        ({"label": 5}, "the label 5 was given: classes run from 0 to 4: correct it"),
        ({"label": -1}, "the label -1 was given"),
    ],
)
def test_samples_that_do_not_fit(make_var, change, part):
    objective = VarObjective(ScaleObjectiveConfig(), make_var())
    with pytest.raises(DataError, match=part):
        objective.prepare([samples(1, 30)[0] | change], SampleRng(0))


def test_flexvar_takes_the_codes_of_the_drawn_sides(make_flexvar):
    objective = flexvar_objective(make_flexvar(), 4, label_dropout=0)
    batch = samples(4, SIDES.total, start=8)
    prepared = objective.prepare(batch, SampleRng(3))
    sides = draw_schedule(objective.sampler, Random(SampleRng(3).key(2, "schedule")))
    assert prepared.meta["sizes"] == tuple((side, side) for side in sides)
    stored = dict(zip(range(1, 7), SIDES.split(torch.stack([sample["codes"] for sample in batch])), strict=True))
    assert torch.equal(prepared.tensors["codes"], torch.cat([stored[side] for side in sides], dim=1))


def test_a_schedule_belongs_to_the_step(make_flexvar):
    objective = flexvar_objective(make_flexvar(), 4)
    stream, rng = samples(80, SIDES.total), SampleRng(1)
    sizes = [objective.prepare([sample], rng).meta["sizes"] for sample in stream]
    by_step = [set(sizes[start : start + 4]) for start in range(0, 80, 4)]
    assert all(len(step) == 1 for step in by_step)
    assert len(set().union(*by_step)) > 2
    assert sizes != [objective.prepare([sample], SampleRng(2)).meta["sizes"] for sample in stream]
    held_out = flexvar_objective(make_flexvar(), None)
    assert {held_out.prepare([sample], rng).meta["sizes"] for sample in stream} == {((1, 1), (2, 2), (3, 3), (4, 4))}


def test_flexvar_loss_is_that_of_the_schedule(make_flexvar, vq_tokenizer):
    model = make_flexvar()
    objective = flexvar_objective(model, 2, label_dropout=0)
    prepared = objective.prepare(samples(2, SIDES.total), SampleRng(0))
    schedule, codes = ScaleSchedule(prepared.meta["sizes"]), prepared.tensors["codes"]
    condition = model.condition(prepared.tensors["labels"])
    inputs = teacher_inputs(vq_tokenizer.history(2, schedule), schedule.split(codes))
    logits = model.head(model.teacher_forced(condition, inputs, schedule), condition)
    found = objective.sums({"model": model, "tokenizer": vq_tokenizer}, prepared)
    expected = F.cross_entropy(logits.flatten(0, 1), codes.flatten())
    torch.testing.assert_close(found[TERM] / prepared.weights[TERM], expected)


def test_samples_without_all_sides(make_flexvar):
    with pytest.raises(DataError, match=r"encode the images with the schedule 1, 2, 3, \.\.\. 6"):
        flexvar_objective(make_flexvar(), 1).prepare(samples(1, 30), SampleRng(0))


def test_a_fixed_schedule_is_the_default_at_every_step(make_flexvar):
    fixed = {"fixed": True, "default": (1, 2, 5), "drops": (1.0,), "max_tokens": 1}
    objective = flexvar_objective(make_flexvar(), 2, schedules=fixed)
    assert objective.sampler.largest == 5
    sizes = {objective.prepare([sample], SampleRng(0)).meta["sizes"] for sample in samples(20, SIDES.total)}
    assert sizes == {((1, 1), (2, 2), (5, 5))}


def test_published_schedules_lose_the_last_grid_and_ours_do_not():
    random = Random(1)
    reference = [draw_schedule(ScheduleSampler(cut="reference"), random) for _ in range(20000)]
    tokens = [sum(side * side for side in sides) for sides in reference]
    assert max(tokens) <= 680
    assert sum(tokens) / len(tokens) == pytest.approx(591, abs=3)
    assert sum(sides[-1] == 16 for sides in reference) / len(reference) == pytest.approx(0.666, abs=0.015)
    kept = [draw_schedule(ScheduleSampler(), random) for _ in range(5000)]
    assert {sides[-1] for sides in kept} == {16}
    assert {sides[:2] for sides in kept} == {(1, 2)}
    assert max(sum(side * side for side in sides) for sides in kept) <= 680
    assert Counter(sides == ScheduleSampler().default for sides in kept)[True] / 5000 == pytest.approx(0.045, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"middle_count": 9}, "middle_count is 9; it must be 0 to 8"),
        ({"default": (1, 4, 2)}, r"default is \[1, 4, 2\]; sides rise"),
        ({"fine": (9, 11)}, "coarse, middle, fine and last is"),
        ({"drops": (0.1, 0.2)}, "cannot be likelier"),
        ({"default_share": 1.5}, "probabilities lie in"),
        ({"cut": "last"}, "choose reference or keep_last"),
        ({"max_tokens": 200}, "the grid of 16x16 alone has 256 tokens"),
        ({"default": (1, 2, 64)}, "the grid of 64x64 alone has 4096 tokens"),
    ],
)
def test_what_is_no_schedule_sampler(settings, part):
    with pytest.raises(ConfigError, match=part):
        ScheduleSampler(**settings)


@pytest.mark.parametrize(
    ("settings", "part"), [({"label_dropout": 1.1}, "label_dropout is 1.1"), ({"max_logits": 0}, "max_logits is 0")]
)
def test_what_is_no_objective(settings, part):
    with pytest.raises(ConfigError, match=part):
        ScaleObjectiveConfig(**settings)
