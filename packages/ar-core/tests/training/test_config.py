import math

import pytest
from ar_core.config import from_dict, to_dict
from ar_core.errors import ConfigError
from ar_core.training import TrainConfig
from ar_core.training.schedule import lr_fraction


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps is 0 and must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0 and must be at least 1"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0 and must be at least 1, or null"),
        ({"batch_size": 4, "micro_batch_size": 5}, "micro_batch_size is 5 and batch_size only 4"),
        ({"lr": 0.0}, "lr is 0.0 and must be a positive number"),
        ({"lr": math.nan}, "lr is nan and must be a positive number"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1 and must be at least 0"),
        ({"betas": (0.9, 1.0)}, "betas is (0.9, 1.0) and must be two numbers in [0, 1)"),
        ({"steps": 5, "warmup_steps": 6}, "warmup_steps is 6 and steps only 5"),
        ({"steps": 5, "hold_steps": -1, "schedule": "linear"}, "hold_steps is -1 and must be at least 0"),
        ({"steps": 5, "warmup_steps": 2, "hold_steps": 3, "schedule": "linear"}, "together 5 and steps only 5"),
        ({"hold_steps": 3}, "hold_steps is 3 and schedule is constant"),
        ({"schedule": "cosin"}, "schedule is 'cosin' and must be constant, cosine or linear"),
        ({"schedule": "cosine", "final_lr_fraction": 2.0}, "final_lr_fraction is 2.0 and must be in [0, 1]"),
        ({"final_lr_fraction": 0.1}, "schedule is constant, which never uses it"),
        ({"past_steps": 5}, "past_steps is 5 and schedule is constant"),
        ({"past_steps": -1}, "past_steps is -1 and must be at least 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0 and must be positive, or null"),
        ({"precision": "fp16"}, "precision is 'fp16' and must be fp32 or bf16"),
        ({"ema": 1.0}, "ema is 1.0 and must be in (0, 1), or null"),
        ({"num_workers": -1}, "num_workers is -1 and must be at least 0"),
        ({"keep": 0}, "keep is 0 and must be at least 1"),
        ({"log_every": 0}, "log_every is 0 and must be at least 1"),
        ({"eval_every": 0}, "eval_every is 0 and must be at least 1, or null"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps is 0 and must be at least 1, or null"),
        ({"checkpoint_every_seconds": -1.0}, "checkpoint_every_seconds is -1.0 and must be at least 0, or null"),
    ],
)
def test_each_bad_value_is_one_sentence(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**settings)
    assert sentence in str(caught.value)


def test_plain_data_and_back():
    config = from_dict(TrainConfig, {"steps": 3, "betas": [0.9, 0.95], "schedule": "linear", "lr": 1})
    assert config.betas == (0.9, 0.95)
    assert from_dict(TrainConfig, to_dict(config)) == config


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_schedule(schedule, warmup):
    final = 0.0 if schedule == "constant" else 0.2
    config = TrainConfig(steps=11, warmup_steps=warmup, schedule=schedule, final_lr_fraction=final)
    values = [lr_fraction(config, step) for step in range(11)]
    assert values[:warmup] == [(step + 1) / warmup for step in range(warmup)]
    assert values[warmup] == pytest.approx(1)
    if schedule == "constant":
        assert set(values[warmup:]) == {1.0}
    else:
        assert values[warmup:] == sorted(values[warmup:], reverse=True)
        assert lr_fraction(config, 11) == pytest.approx(0.2)
        middle = warmup + (11 - warmup) / 2
        assert lr_fraction(config, middle) == pytest.approx(0.6)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_run_that_goes_on_has_the_rates_of_one_that_never_stopped(schedule):
    shape = {"warmup_steps": 4, "hold_steps": 3, "schedule": schedule, "final_lr_fraction": 0.1}
    whole = TrainConfig(steps=20, **shape)
    rates = [lr_fraction(whole, step) for step in range(20)]
    for past in (0, 2, 5, 9, 19):
        rest = TrainConfig(steps=20 - past, past_steps=past, **shape)
        assert [lr_fraction(rest, step) for step in range(20 - past)] == rates[past:]


def test_warmup_over_the_whole_run():
    config = TrainConfig(steps=3, warmup_steps=3, schedule="cosine")
    assert [lr_fraction(config, step) for step in range(3)] == [1 / 3, 2 / 3, 1]


def test_the_peak_is_held_before_the_decay():
    config = TrainConfig(steps=10, warmup_steps=2, hold_steps=3, schedule="linear", final_lr_fraction=0.5)
    expected = [0.5, 1, 1, 1, 1, 1, 0.9, 0.8, 0.7, 0.6]
    assert [lr_fraction(config, step) for step in range(10)] == pytest.approx(expected)
    assert lr_fraction(config, 10) == pytest.approx(0.5)
