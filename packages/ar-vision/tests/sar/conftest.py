"""SAR on models of two blocks and pictures of random codes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_vision.backbones.flexvar.schedule_sampler import ScheduleSampler
from ar_vision.sar.config import SarConfig
from ar_vision.sar.objective import SarObjective
from ar_vision.scales import ScaleSchedule

SIDES = ScaleSchedule.square(1, 2, 3, 4)
FIXED = {"fixed": True, "default": (1, 2, 3, 4)}


@pytest.fixture
def make_samples() -> Callable[..., list[dict[str, Any]]]:
    """So many samples with codes of the sides 1 to 4, from number ``start`` on."""

    def make(count: int, start: int = 0) -> list[dict[str, Any]]:
        return [
            {
                "index": index,
                "codes": torch.randint(24, (SIDES.total,), generator=torch.Generator().manual_seed(index)),
                "label": torch.tensor(index % 5),
            }
            for index in range(start, start + count)
        ]

    return make


@pytest.fixture
def make_objective() -> Callable[..., SarObjective]:
    """SAR with settings of its own, on the fixed schedule 1, 2, 3, 4 unless ``schedules`` says otherwise."""

    def make(model, step_samples: int = 3, **settings: Any) -> SarObjective:
        schedules = ScheduleSampler(**settings.pop("schedules", FIXED))
        config = SarConfig(final_resolution=16, schedules=schedules, **settings)
        return SarObjective(config, model, SIDES, step_samples)

    return make


@pytest.fixture
def step(make_flexvar, vq_tokenizer, make_samples, make_objective) -> Callable[..., Any]:
    """From settings of the method to models, objective, prepared micro-batch and sums of one step of three samples."""

    def run(count: int = 3, seed: int = 0, model=None, **settings: Any):
        models = {"model": make_flexvar() if model is None else model, "tokenizer": vq_tokenizer}
        objective = make_objective(models["model"], count, **settings)
        prepared = objective.prepare(make_samples(count), SampleRng(seed))
        return models, objective, prepared, objective.sums(models, prepared)

    return run


@pytest.fixture
def bounds(monkeypatch) -> Callable[..., list[int]]:
    """From modules and names of functions in them to a list that takes their ``max_logits``, call by call."""

    def watch(*functions: tuple[Any, str]) -> list[int]:
        seen: list[int] = []

        def noting(function: Callable[..., Any]) -> Callable[..., Any]:
            def noted(*given: Any, **settings: Any) -> Any:
                seen.append(settings["max_logits"])
                return function(*given, **settings)

            return noted

        for owner, name in functions:
            monkeypatch.setattr(owner, name, noting(getattr(owner, name)))
        return seen

    return watch
