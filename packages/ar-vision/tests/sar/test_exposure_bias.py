"""The metric: cross-entropy of the truth under the model's own inputs, less that under true ones."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.training import mean_loss
from ar_vision.backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from ar_vision.sar import exposure_bias
from ar_vision.sar.exposure_bias import ExposureObjective
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs

SIDES = ScaleSchedule.square(1, 2, 3, 4)
GRIDS = ["1x1", "2x2", "3x3", "4x4"]


def exposure(model, default=(1, 2, 3, 4), max_logits=None, **settings):
    schedules = ScheduleSampler(default=default, middle=(3,), middle_count=1, fine=(), fine_count=0, last=4)
    config = FlexVarObjectiveConfig(
        final_resolution=16, schedules=schedules, label_dropout=0.0, accuracy=True, max_logits=max_logits
    )
    return ExposureObjective(config, model, SIDES, **settings)


@pytest.fixture
def measured(make_flexvar, vq_tokenizer, make_samples):
    def measure(samples=None, batch_size=4, **settings):
        models = {"model": make_flexvar(), "tokenizer": vq_tokenizer}
        objective = exposure(models["model"], **settings)
        return models, objective, mean_loss(objective, models, samples or make_samples(4), batch_size=batch_size)

    return measure


def losses(model, condition, inputs, codes):
    logits = model.head(model.teacher_forced(condition, inputs, SIDES), condition)
    each = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)
    return dict(zip(GRIDS, [scale.mean().item() for scale in SIDES.split(each)], strict=True))


def own_codes(logits, numbers):
    """Inversion written out: the first code whose cumulative mass exceeds the number."""
    mass = logits.softmax(-1).double().cumsum(-1)
    return (mass <= numbers[..., None]).sum(-1).clamp(max=23)


def test_against_the_definition_written_out(measured, make_samples):
    models, objective, found = measured(free=True)
    model, tokenizer = models["model"], models["tokenizer"]
    prepared = objective.prepare(make_samples(4), SampleRng(0))
    codes, numbers = prepared.tensors["codes"], prepared.tensors["uniforms"]
    condition = model.condition(prepared.tensors["labels"])
    inputs = teacher_inputs(tokenizer.history(4, SIDES), SIDES.split(codes))
    truth = losses(model, condition, inputs, codes)
    logits = model.head(model.teacher_forced(condition, inputs, SIDES), condition)
    drawn = SIDES.split(own_codes(logits, numbers))
    own = losses(model, condition, teacher_inputs(tokenizer.history(4, SIDES), drawn), codes)
    free, _ = generate_scales(
        ScalePasses(model, condition, None, SIDES, (1.0,) * 4),
        tokenizer.history(4, SIDES),
        lambda k, logits, generators: own_codes(logits, SIDES.split(numbers)[k]),
    )
    alone = losses(model, condition, teacher_inputs(tokenizer.history(4, SIDES), free), codes)
    for grid in GRIDS:
        assert found[f"nll_{grid}"] == pytest.approx(truth[grid], abs=1e-5)
    for grid in GRIDS[1:]:
        assert found[f"self_nll_{grid}"] == pytest.approx(own[grid], abs=1e-5)
        assert found[f"free_nll_{grid}"] == pytest.approx(alone[grid], abs=1e-5)
        assert found[f"exposure_bias_{grid}"] == pytest.approx(own[grid] - truth[grid], abs=1e-5)
    together = (
        sum(length * (own[grid] - truth[grid]) for grid, length in zip(GRIDS[1:], SIDES.lengths[1:], strict=True)) / 29
    )
    assert found["exposure_bias"] == pytest.approx(together, abs=1e-5)
    assert abs(found["exposure_bias"]) > 0.01
    mean = sum(length * truth[grid] for grid, length in zip(GRIDS, SIDES.lengths, strict=True)) / 30
    assert found["next_scale"] == pytest.approx(mean, abs=1e-5)


def test_no_bias_where_the_model_draws_the_truth(measured, monkeypatch):
    monkeypatch.setattr(exposure_bias, "roll_out", lambda forced, *rest, **settings: SIDES.split(forced.codes))
    found = measured()[2]
    assert found["exposure_bias"] == 0
    assert all(found[f"exposure_bias_{grid}"] == 0 for grid in GRIDS[1:])


def test_batches_and_calls_change_nothing(measured):
    _, _, one = measured(batch_size=4)
    _, _, other = measured(batch_size=3)
    assert one == pytest.approx(other, abs=1e-5)
    assert one == measured(batch_size=4)[2]


def test_one_scale_has_no_inputs_of_its_own(measured):
    alone = measured(default=(4,))[2]
    assert {name for name in alone if "nll" in name or "bias" in name} == {"nll_4x4"}


def test_free_running_is_measured_where_it_is_asked_for(measured):
    assert not any(name.startswith("free") for name in measured()[2])
    assert {name for name in measured(free=True)[2] if name.startswith("free")} == {f"free_nll_{g}" for g in GRIDS[1:]}


def test_no_more_logits_are_held_than_allowed(measured, bounds):
    found = bounds((exposure_bias, "roll_out"), (exposure_bias, "summed_cross_entropy"))
    measured(max_logits=96)
    # The rollout, and each scale under either input.
    assert found == [96] * 9


def test_no_graph_is_kept(measured, make_samples):
    models, objective, _ = measured()
    sums = objective.sums(models, objective.prepare(make_samples(2), SampleRng(0)))
    assert not any(value.requires_grad for value in sums.values())
    assert torch.isfinite(torch.stack(list(sums.values()))).all()
