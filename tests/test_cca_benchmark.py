"""The CCA benchmark: arms of tiny models from training to tables, and what tables and figures make of known numbers."""

import dataclasses
import json
import sys

import pytest
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.checkpoint import load_checkpoint

FRECHET, ACCURACY = "frechet[resnet20-cifar10]", "class_accuracy[resnet20-cifar10]"
COUNT = 70


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"cca.{name}")


def _record(folder, steps):
    lines = [
        {"step": steps, "loss": 1.0, "steps_per_s": 2.0},
        {"step": steps, "evaluation": {"held_out_nll": 3.0}},
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


@pytest.fixture
def folders(benchmark_module, noise_pictures, tiny_base, encoded, tmp_path, data_dir, monkeypatch):
    """Tiny bases with random weights, their tokenizers and codes, where benchmarks.images leaves them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AR_DATA_DIR", str(data_dir))
    made = benchmark_module("images.parts").Folders(tmp_path / "runs", tmp_path / "cifar10", data_dir, 0)
    noise_pictures(made.cifar10)
    for name, codes in (("var", "var_codes"), ("llamagen", "grid_codes")):
        tiny_base(made, name)
        _record(made.of(name), 4000)
        encoded(made, codes)
    return made


def command(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cca", *map(str, arguments)])
    return module("__main__").main()


@pytest.mark.parametrize("name", ["var", "llamagen"])
def test_arms_are_trained_measured_and_tabled(module, folders, name, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    results.mkdir()
    where = ["--cifar10", folders.cifar10, "--runs", folders.runs, "--results", results, "--weights", "1", "10"]
    measure = ("measure", name, *where, "--count", COUNT, "--guidance", "1", "2")
    assert command(module, monkeypatch, *measure) == 2
    assert "python -m benchmarks.cca train --seed 0" in capsys.readouterr().err
    assert command(module, monkeypatch, "train", name, *where, "--steps", "2") == 0
    study = module("arms").study_of(name, folders, 0)
    stored = list(study.of("log_probs").glob("chunk-*"))
    assert len(stored) == 1
    assert command(module, monkeypatch, *measure) == 0
    file = results / f"cca_{name}_seed0.json"
    one = json.loads(file.read_text())
    assert one["images"] == COUNT
    beta = read_run_config(recipe("cca"), f"cifar10_{name}").method.beta
    names = [f"cca_beta{beta:g}_lambda{weight}" for weight in (1, 10)]
    assert [row["name"] for row in one["rows"]] == [
        "base, g = 1",
        "base, g = 2",
        *names,
    ]
    assert one["most_steps"] == {"var": 200, "llamagen": 300}[name]
    assert len({row["checkpoint"] for row in one["rows"][2:]}) == 2
    for row in one["rows"]:
        assert row["values"][FRECHET] > 0
        assert 0 <= row["values"][ACCURACY] <= 1
        assert row["images"] == COUNT
        way = module("plotting").way(one, row)
        # Half the operations: no null half. VAR's ramp runs the head of scale 0, which has one token, without it in any case.
        assert way["flops"] == pytest.approx(1.0 if row["guidance"] != 1 else 0.5, abs=1e-3)
    assert one["rows"][2]["training"]["steps"] == 2
    assert "held_out_nll" in one["rows"][2]["training"]["evaluations"][-1]["evaluation"]
    # Started again, everything is there.
    before = file.read_text()
    assert command(module, monkeypatch, *measure) == 0
    assert json.loads(file.read_text())["rows"] == json.loads(before)["rows"]
    assert command(module, monkeypatch, "plot", "--results", results) == 0
    assert {path.name for path in results.glob("*.svg")} == {f"cca_{name}_diversity.svg", f"cca_{name}_accuracy.svg"}
    assert set(module("plotting").tables(results)) == {f"cca_{name}"}
    arm = load_checkpoint(study.model(names[1]))
    assert arm.provenance["negative_weight"] == 10


def test_arms_have_at_most_five_percent_of_the_steps(module, folders):
    training, arms = module("training"), module("arms")
    assert arms.most_steps("var") == 200
    assert arms.most_steps("llamagen") == 300
    with pytest.raises(DataError, match="--steps is 201 and 5 % of the pretraining of 'var' are 200"):
        training.train(arms.study_of("var", folders, 0), [], steps=201)
    with pytest.raises(DataError, match="there is no base 'flexvar'"):
        arms.study_of("flexvar", folders, 0)
    other = arms.study_of("llamagen", folders, 3)
    assert arms.overrides(other)[-1] == "train.seed=3"
    assert other.home != arms.study_of("llamagen", dataclasses.replace(folders, seed=1), 3).home


ROWS = {
    "base, g = 0.5": ("base", None, 0.5, 20.0, 0.30, 0.60, 0.65, 200.0),
    "base, g = 1": ("base", None, 1.0, 10.0, 0.50, 0.70, 0.60, 100.0),
    "base, g = 2": ("base", None, 2.0, 6.0, 0.70, 0.80, 0.50, 200.0),
    "base, g = 4": ("base", None, 4.0, 9.0, 0.90, 0.85, 0.30, 200.0),
    "cca_beta0.1_lambda10": ("cca", 10.0, 1.0, 7.0, 0.60, 0.78, 0.52, 100.0),
    "cca_beta0.1_lambda100": ("cca", 100.0, 1.0, 11.0, 0.95, 0.86, 0.20, 100.0),
}


@pytest.fixture
def written(tmp_path):
    """Results of two seeds, the second a little off."""
    for seed in (0, 1):
        rows = []
        for name, (arm, weight, guidance, frechet, accuracy, precision, recall, flops) in ROWS.items():
            values = {FRECHET: frechet + seed, ACCURACY: accuracy, f"precision{FRECHET[7:]}": precision}
            row = {"name": name, "arm": arm, "guidance": guidance, "flops": flops, "error": None}
            row["values"] = {**values, f"recall{FRECHET[7:]}": recall}
            rows.append(row if weight is None else {**row, "beta": 0.1, "negative_weight": weight})
        one = {"kind": "cca", "part": "var", "seed": seed, "rows": rows}
        (tmp_path / f"cca_var_seed{seed}.json").write_text(json.dumps(one))
    return tmp_path


def test_the_way_is_a_share_of_what_the_best_guidance_does(module, written):
    plotting = module("plotting")
    one = plotting.read(written, "var")[0]
    ways = {row["name"]: plotting.way(one, row) for row in one["rows"]}
    assert ways["base, g = 1"] == {"frechet": 0, "accuracy": 0, "highest_accuracy": 0, "flops": 0.5}
    assert ways["base, g = 2"] == pytest.approx({"frechet": 1, "accuracy": 1, "highest_accuracy": 0.5, "flops": 1})
    aligned = {"frechet": 0.75, "accuracy": 0.5, "highest_accuracy": 0.25, "flops": 0.5}
    assert ways["cca_beta0.1_lambda10"] == pytest.approx(aligned)
    assert ways["cca_beta0.1_lambda100"]["frechet"] == pytest.approx(-0.25)


def test_tables_and_figures_of_several_seeds(module, written):
    plotting = module("plotting")
    (table,) = plotting.tables(written).values()
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert [row[0] for row in cells[2:]] == [
        "base, no guidance",
        "base, g = 2",
        "CCA, β 0.1, λ 10",
        "CCA, β 0.1, λ 100",
    ]
    assert cells[2][1:4] == ["2", "10.50 ± 0.71", "50.0 ± 0.0 %"]
    assert cells[4][1:4] == ["2", "7.50 ± 0.71", "60.0 ± 0.0 %"]
    assert cells[4][6:] == ["0.75 ± 0.00", "0.50 ± 0.00", "0.25 ± 0.00", "0.50 ± 0.00"]
    plotting.plot(written)
    drawn = (written / "cca_var_diversity.svg").read_text()
    assert "guidance g" in drawn
    assert "after CCA, no guidance, λ" in drawn
    assert ">100</text>" in drawn
    assert plotting.tables(written / "nowhere") == {}


def test_every_beta_has_a_line_of_its_own(module, written):
    for file in written.glob("*.json"):
        one = json.loads(file.read_text())
        one["rows"] += [
            {**row, "name": row["name"].replace("0.1", "0.02"), "beta": 0.02} for row in one["rows"] if "beta" in row
        ]
        file.write_text(json.dumps(one))
    module("plotting").plot(written)
    drawn = (written / "cca_var_accuracy.svg").read_text()
    for beta in ("0.02", "0.1"):
        assert drawn.count(f"after CCA, no guidance, β {beta}, λ") == 1
    assert drawn.count("<polyline") == 3
    assert drawn.count(">100</text>") == 2
