"""Every objective follows one trajectory of losses and gradient norms, however its step is split, driven and computed.

The objectives are those of the registry: a new recipe is covered when it is announced. What a variant does not hold for stands in
``EXCLUDED`` with its reason.
"""

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ar_core.registry import recipes
from ar_core.training import build_job, train

HERE = Path(__file__).parent
STEPS = 4
SAME = [f"train.steps={STEPS}", "train.batch_size=4", "train.eval_every=null"]
OBJECTIVES = sorted([*(name for name, one in recipes().items() if one.makes == "model"), "nsarm_joint", "vq_tokenizer"])

LOSS, NORM = 2e-5, 5e-4
"""Largest relative difference of a loss, and of a gradient norm, in float32 after up to three optimiser steps."""

FSDP2, FSDP2_LAYERS = "FSDP2, 2 ranks, micro-batches of 1", "FSDP2 by layers, 2 ranks"
SPLITS = {"micro-batches of 1": 1, "micro-batches of 3 and 1": 3}
RANKS = {
    "2 ranks": (["train.micro_batch_size=null"], False),
    "2 ranks, micro-batches of 1": (["train.micro_batch_size=1"], False),
    FSDP2: (["train.micro_batch_size=1", "train.sharding=fsdp2", "train.sharding_unit=model"], False),
    "Lightning, DDP, 2 ranks": (["train.micro_batch_size=1"], True),
}
LAYERED = {
    "fast_dllm_v2": ["model.scratch.layers=3", "model.gradient_checkpointing=true"],
    "var": ["model.scratch.depth=3"],
    "diffusionvl": ["model.language.scratch.layers=3"],
}
"""Objectives whose tiny models get a stack of layers, of which one is whole at a time."""

BACKENDS = ("segments",)
"""Beside what is chosen by itself for so few tokens, `sdpa`. Of the others none has a backward pass on a CPU."""

SETTLES = "it changes its codebook without a gradient, for which it must be whole: refused by name"
CONVOLUTIONS = "its tokenizer is convolutions and a codebook: nothing attends"
EXCLUDED: dict[tuple[str, str], str] = {
    **{(backend, name): CONVOLUTIONS for backend in BACKENDS for name in ("image_tokenizer", "vq_tokenizer")},
    **{(backend, "nsarm"): "its first stage trains layers of torch alone" for backend in BACKENDS},
    **{(FSDP2, name): SETTLES for name in ("image_tokenizer", "vq_tokenizer", "glotok")},
}
"""By variant and objective. Packed and unpacked rows differ by design where noise belongs to the sample, which is the row, and are held
together for next-token training in `packages/dlm-text/tests/autoregressive`."""


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE.parent))
        yield importlib.import_module("benchmarks.tiny_runs")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True, scope="module")
def _one_thread(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


def read(directory):
    """Losses and gradient norms of a run."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines], [line["grad_norm"] for line in lines]


@pytest.fixture(scope="module")
def trajectory(tiny, home, tmp_path_factory):
    """Losses and gradient norms of an objective under a variant."""

    def run(name, *overrides, driver=train):
        directory = tmp_path_factory.mktemp("run")
        tiny.prepare(home, [name])
        config = tiny.run_config(name, home, directory, [*SAME, *overrides])
        driver(build_job(tiny.tiny_runs()[name].record, config), config.train)
        return read(directory)

    return run


@pytest.fixture(scope="module")
def reference(trajectory):
    """The trajectory of an objective whose steps are one batch, on one rank."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = trajectory(name, "train.micro_batch_size=null")
        return known[name]

    return of


@pytest.fixture(scope="module")
def shared(tiny, home, tmp_path_factory, request):
    """Folder of the trajectories on two ranks, of all objectives that this session asks for."""
    ours = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    asked = [item.callspec.params for item in ours if "variant" in getattr(item, "fixturenames", ())]
    names = sorted({params["name"] for params in asked})
    out = tmp_path_factory.mktemp("ranks")
    layered = sorted(
        {item.callspec.params["layered"] for item in ours if "layered" in getattr(item, "fixturenames", ())}
    )
    tiny.prepare(home, [*names, *layered])
    jobs = [
        {"name": name, "variant": variant, "overrides": [*SAME, *overrides], "lightning": lightning}
        for variant, (overrides, lightning) in RANKS.items()
        for name in names
        if (variant, name) not in EXCLUDED
    ]
    sharded = ["train.micro_batch_size=null", "train.sharding=fsdp2"]
    jobs += [
        {"name": name, "variant": FSDP2_LAYERS, "overrides": [*SAME, *sharded, *LAYERED[name]], "lightning": False}
        for name in layered
    ]
    plan = out / "plan.json"
    plan.write_text(json.dumps({"home": str(home), "out": str(out), "jobs": jobs}))
    done = subprocess.run(
        [sys.executable, str(HERE / "invariance_ranks.py"), str(plan)],
        capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def close(found, expected):
    for what, mine, theirs, tolerance in zip(("loss", "gradient norm"), found, expected, (LOSS, NORM)):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance * 1e-2), what


def included(variant, name):
    if (variant, name) in EXCLUDED:
        pytest.skip(EXCLUDED[variant, name])


def without_drift(found, expected):
    """Differences of rounding have no sign: their mean is within four of its standard errors, or below float32's own steps."""
    residuals = [(a - b) / abs(b) for mine, theirs in zip(found, expected) for a, b in zip(mine, theirs)]
    mean = math.fsum(residuals) / len(residuals)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in residuals) / (len(residuals) - 1))
    assert abs(mean) <= 4 * spread / math.sqrt(len(residuals)) + 2.0**-22


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_change_nothing(reference, trajectory, name):
    losses = []
    for variant, size in SPLITS.items():
        included(variant, name)
        found = trajectory(name, f"train.micro_batch_size={size}")
        close(found, reference(name))
        losses.append(found[0])
    without_drift(losses, [reference(name)[0]] * len(losses))


def without_errors(folder):
    errors = [path.read_text() for path in sorted(folder.glob("error-*.txt"))]
    assert not errors, errors
    return read(folder)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("variant", RANKS)
def test_ranks_change_nothing(reference, shared, variant, name):
    included(variant, name)
    found = without_errors(shared / variant / name)
    close(found, reference(name))
    without_drift([found[0]], [reference(name)[0]])


@pytest.mark.parametrize("layered", LAYERED)
def test_layers_that_are_whole_one_at_a_time_change_nothing(trajectory, shared, layered):
    expected = trajectory(layered, "train.micro_batch_size=null", *LAYERED[layered])
    close(without_errors(shared / FSDP2_LAYERS / layered), expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_lightning_changes_nothing(reference, trajectory, name):
    pytest.importorskip("lightning")
    from ar_core.training.lightning_task import fit

    included("Lightning", name)
    assert trajectory(name, "train.micro_batch_size=null", driver=fit) == reference(name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_attention_backends_change_nothing(reference, trajectory, monkeypatch, name):
    choose = importlib.import_module("ar_core.attention.choose")
    # Chunks so short that even these rows have several.
    monkeypatch.setattr(importlib.import_module("ar_core.attention.segments"), "ROWS", 4)
    losses, automatic = [], choose._automatic
    for backend in BACKENDS:
        included(backend, name)
        asked = []

        def forced(q, k, mask, backend=backend, asked=asked):
            asked.append(backend)
            return choose.choose(q, k, mask, backend)

        monkeypatch.setattr(choose, "_automatic", forced)
        found = trajectory(name, "train.micro_batch_size=null")
        monkeypatch.setattr(choose, "_automatic", automatic)
        assert asked, "no attention was computed"
        close(found, reference(name))
        losses.append(found[0])
    without_drift(losses, [reference(name)[0]] * len(losses))


def test_exclusions_name_what_there_is():
    variants = {*SPLITS, *RANKS, *BACKENDS, "Lightning"}
    assert all(variant in variants and name in OBJECTIVES and reason for (variant, name), reason in EXCLUDED.items())
