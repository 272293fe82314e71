"""The GloTok benchmark: arms that differ in the two losses alone, and tiny ones through training, measuring and tables."""

import dataclasses
import json

import numpy as np
import pytest
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config

PICTURES = 100


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"glotok.{name}")


@pytest.fixture
def study(module, benchmark_module, tmp_path):
    folders = benchmark_module("images.parts").Folders(tmp_path / "runs", tmp_path / "cifar10", tmp_path / "staged", 3)
    return module("arms").GlotokStudy(folders)


@pytest.fixture
def pictured(study, data_dir, benchmark_module, tmp_path, monkeypatch):
    """A study of pictures of noise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = dataclasses.replace(study.folders, staged=data_dir)
    draw = np.random.default_rng(0)
    folders.cifar10.mkdir()
    for split, count in (("train", PICTURES), ("test", 80)):
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        benchmark_module("cifar10.prepare")._write(folders.cifar10 / split, pixels, np.arange(count) % 10)
    return dataclasses.replace(study, folders=folders)


def test_arms_differ_in_the_two_losses_alone(module, monkeypatch):
    for name in ("AR_CIFAR10_DIR", "AR_DATA_DIR"):
        monkeypatch.setenv(name, "somewhere")
    arms = module("arms")
    configs = {arm: read_run_config(recipe("glotok"), "cifar10", list(entries)) for arm, entries in arms.ARMS.items()}
    both = configs["both"]
    assert (both.method.histogram_weight, both.method.residual_weight) == (0.01, 0.5)
    for arm, config in configs.items():
        assert bool(config.method.histogram_weight) == (arm in ("histogram", "both"))
        assert bool(config.method.residual_weight) == (arm in ("residual", "both"))
        settings = {**config.model.settings, "residual": None}
        assert settings == {**both.model.settings, "residual": None}
        assert dataclasses.replace(config, method=both.method, model=both.model) == both
        differing = {n for n, value in vars(config.method).items() if value != getattr(both.method, n)}
        assert differing <= {"teacher", "histogram_weight", "residual_weight"}
    with pytest.raises(DataError, match="there is no arm 'botj': give some of none, histogram"):
        arms.require_arm("botj")


def test_what_is_not_there_is_named_with_its_command(study):
    with pytest.raises(DataError, match=r"benchmarks\.glotok train --seed 3 --arms both"):
        study.model("both", "far")


def test_tiny_arms_are_trained_measured_and_drawn(module, pictured, tmp_path, capsys):
    few = ("train.batch_size=4", "train.precision=fp32", "evaluation.images=4")
    far = (
        *few,
        "model.layers=1",
        "model.dim=16",
        "model.heads=1",
        "data.codes.held_out=0.2",
        "evaluation.batch_size=4",
    )
    teacher = ("method.clusters=3", "method.pictures_per_group=3")
    done = module("training").train(
        pictured, ("none", "both"), steps=2, far_steps=2, more=few, more_far=far, more_teacher=teacher
    )
    assert done
    results = tmp_path / "results"
    for _ in range(2):
        rows = module("measuring").measure(
            pictured, results, ("none", "both"), count=80, guidance=(1.0, 2.0), test_images=70
        )
    assert len(rows) == 6
    row = next(one for one in rows if one["name"] == "both, tokenizer")
    assert {"psnr", "lpips[alexnet]", "reconstruction_frechet[resnet20-cifar10]", "codes_used_semantic"} <= row[
        "values"
    ].keys()
    assert {"density_cv_semantic", "log_density_visual", "uses_gini_visual", "histogram_divergence_semantic"} <= row[
        "values"
    ].keys()
    assert sum(row["profiles"]["semantic"]) == pytest.approx(1)
    assert row["training"]["steps"] == 2
    head = json.loads((results / "glotok_cifar10_seed3.json").read_text())
    assert head["teacher"]["source"]["vectors"] == 30
    assert (head["test_images"], head["steps"]) == (70, {"tokenizer": 2, "far": 2})
    plotting = module("plotting")
    tables = plotting.tables(results)
    assert "both (GloTok)" in tables["glotok_cifar10"]
    assert tables["glotok_cifar10_codebooks"].count("\n| semantic") == 2
    assert tables["glotok_cifar10_far"].count("\n") == 6
    assert "FAR: class accuracy, %, g = 2 | higher" in tables["glotok_cifar10_changes"]
    assert tables["glotok_cifar10_changes"].count("unclear (one seed)") == 17
    plotting.plot(results)
    assert (results / "glotok_histograms.svg").read_text().startswith("<svg")
    assert plotting.tables(tmp_path) == {}


@pytest.mark.parametrize(
    ("better", "differences", "expected"),
    [
        ("higher", (0.5, 0.6, 0.7), "+0.6 ± 0.1, better"),
        ("lower", (0.5, 0.6, 0.7), "+0.6 ± 0.1, worse"),
        ("lower", (-2.0, -2.0), "-2.0 ± 0.0, better"),
        ("higher", (0.1, 0.1, 4.0), "+1.4 ± 2.3, unclear"),
        ("higher", (1.0, 1.0, -0.1), "+0.6 ± 0.6, unclear"),
        ("higher", (0.0, 0.0), "+0.0 ± 0.0, unclear"),
        ("higher", (3.0,), "+3.0, unclear (one seed)"),
        ("higher", (), ""),
    ],
)
def test_a_measure_moved_where_all_seeds_agree_by_two_standard_errors(module, better, differences, expected):
    changes = module("changes")
    assert changes.verdict(differences, changes.Measure("x", "tokenizer", "x", better, 1)) == expected


def test_changes_pair_arms_of_one_seed(module):
    """Seed 0 lies far from seed 1; the arms differ by the same in both, and a seed without the arm is left out."""

    def row(arm, psnr):
        return {"what": "tokenizer", "arm": arm, "values": {"psnr": psnr}}

    seeds = [
        {"rows": [row("none", 10.0), row("both", 10.5)]},
        {"rows": [row("both", 20.6), row("none", 20.0)]},
        {"rows": [row("none", 30.0)]},
    ]
    changes = module("changes")
    psnr = changes.MEASURES[0]
    assert changes._differences(seeds, psnr, "both", None) == pytest.approx([0.5, 0.6])
    assert changes._differences(seeds, psnr, "residual", None) == []


def test_arms_of_unequal_steps_are_refused(module, study):
    def trained(arm, part, steps):
        (study.of(arm, part) / "final").mkdir(parents=True)
        (study.of(arm, part) / "metrics.jsonl").write_text(json.dumps({"step": steps, "steps_per_s": 1.0}) + "\n")

    for arm, steps in (("none", 4), ("both", 4), ("residual", 8)):
        trained(arm, "tokenizer", steps)
        trained(arm, "far", 2)
    measuring = module("measuring")
    assert measuring.equal_steps(study, ("none", "both")) == {"tokenizer": 4, "far": 2}
    with pytest.raises(DataError, match=r"runs of the tokenizer have unequal steps \(both 4, residual 8\)"):
        measuring.equal_steps(study, ("both", "residual"))
