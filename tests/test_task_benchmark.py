import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ar_core.decoding import Trace
from ar_core.errors import CheckpointError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"tasks.{name}")


def result(seed, accuracy):
    def row(name, tokens, **settings):
        return {"name": name, "accuracy": accuracy, "tokens_per_forward": tokens, "speed": tokens / 2, **settings}

    return {
        "seed": seed,
        "rows": [
            row("AR base", 1.0),
            row("AR control", 1.0),
            row("D=8 fused threshold 0.9", 4.0, block_size=8, commit="fused", threshold=0.9),
            row("D=8 fused threshold 0.5", 5.0, block_size=8, commit="fused", threshold=0.5),
        ],
    }


def test_table_gives_means_and_spread_over_seeds(module):
    table = module("plotting").markdown_table([result(0, 0.9), result(1, 1.0)])
    assert "| D=8 fused threshold 0.9 | 95.0 ± 7.1 % | 4.00 | 2.00 |" in table
    assert module("plotting").markdown_table([result(0, 0.9)]).count("±") == 0


def test_figure_has_a_point_per_threshold_and_seed_mean(module):
    svg = module("plotting").figure([result(0, 0.9), result(1, 1.0)])
    root = ElementTree.fromstring(svg)
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "D = 8, fused commit" in names
    assert "AR control" in names
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2 + 2 * 2


def test_seed_that_was_not_trained_is_named(module, tmp_path):
    with pytest.raises(CheckpointError, match="seed3/base/final' is not there: train seed 3 first"):
        module("training").trained_models(3, tmp_path)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "benchmarks" / "results").glob("tasks_*_seed*.json")), ids=lambda f: f.stem
)
def test_committed_results_say_where_they_come_from(file):
    results = json.loads(file.read_text(encoding="utf-8"))
    assert results["data"]["problems"] >= 500
    assert {"command", "date", "device", "versions"} <= set(results["environment"])
    assert {"AR base", "AR control"} <= {row["name"] for row in results["rows"]}
    for row in results["rows"]:
        assert {"accuracy", "tokens_per_forward", "speed", "forwards"} <= set(row)
        assert row["problems"] == results["data"]["problems"]


def test_a_variant_has_a_folder_of_its_own_and_leaves_the_control_alone(module, tmp_path, monkeypatch):
    asked = []

    def run(name, config, folder, overrides):
        asked.append(
            (name, folder.name, [entry for entry in overrides if entry.startswith(("method.", "train.steps"))])
        )
        return folder / "final"

    monkeypatch.setattr(module("training"), "run_to_end", run)
    monkeypatch.setattr(module("training"), "require_good_base", lambda base, seed: 1.0)
    models = module("training").train_seed(
        0,
        tmp_path,
        method="efficient_dlm",
        variant="uniform",
        overrides=("method.half_life_ratio=null", "train.steps=5"),
    )
    assert models.converted == tmp_path / "seed0" / "efficient_dlm-uniform" / "final"
    assert asked[1:] == [
        ("efficient_dlm", "efficient_dlm-uniform", ["method.half_life_ratio=null", "train.steps=5"]),
        ("autoregressive", "control", ["train.steps=5"]),
    ]


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "seed2" / "base" / "final"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"some weights")
    return folder


def test_a_weak_base_stops_the_training_of_its_seed(module, base, tmp_path, monkeypatch):
    asked = []

    def run(name, config, folder, overrides):
        asked.append((name, overrides))
        return folder / "final"

    monkeypatch.setattr(module("training"), "run_to_end", run)
    monkeypatch.setattr(module("gate"), "_measured", lambda base: 0.83)
    with pytest.raises(
        CheckpointError, match=r"seed 2 solves 83\.0 % of 200 .* at least 95 %.* --seed, or .* --base-steps"
    ):
        module("training").train_seed(2, tmp_path, base_steps=6000)
    assert asked == [("autoregressive", ["train.seed=2", "data.task_seed=2", "train.steps=6000"])]


def test_a_base_is_asked_once_for_its_weights(module, base, monkeypatch):
    answers = iter((0.95, 0.97))
    monkeypatch.setattr(module("gate"), "_measured", lambda base: next(answers))
    gate = module("gate").require_good_base
    assert [gate(base, 2), gate(base, 2)] == [0.95, 0.95]
    (base / "model.safetensors").write_bytes(b"others")
    assert gate(base, 2) == 0.97


def test_the_problems_that_decide_about_a_base_are_not_those_of_the_measurements(module):
    from dlm_text.tasks import held_out

    gate, measuring = module("gate"), module("measuring")
    deciding = {problem.prompt for problem in held_out("mixed", gate.PROBLEMS, gate.GATE_SEED)}
    measured = {problem.prompt for problem in held_out("mixed", gate.PROBLEMS, measuring.HELD_OUT_SEED)}
    # Short sums occur in any two sets.
    assert len(deciding & measured) < len(deciding) / 2


def test_the_gate_solves_problems_with_the_model(module, monkeypatch):
    from ar_quickstart.shipped import shipped_weights

    monkeypatch.setattr(module("gate"), "PROBLEMS", 3)
    monkeypatch.setattr(module("gate"), "BATCH", 2)
    assert module("gate")._measured(shipped_weights("ar")) == 1.0


def test_results_keep_lists_of_numbers_on_one_line_and_texts_as_they_are(module, tmp_path):
    results = {"a": [1, -2.5, 3e-7], "b": [], "c": "[1,   2]", "d": [{"e": [0]}, "x"]}
    module("measuring").write(results, tmp_path / "new" / "r.json")
    text = (tmp_path / "new" / "r.json").read_text()
    assert json.loads(text) == results
    assert ' "a": [1, -2.5, 3e-07],\n' in text


def test_masked_positions_are_counted_pass_by_pass(module):
    trace = Trace()
    trace.add(0, "denoise", 0, [2], [7], [0.9])
    trace.add(1, "denoise", 0, [0, 1], [7, 7], [0.9, 0.9])
    trace.add(2, "denoise", 0, [3], [7], [0.9])
    trace.add(3, "denoise", 0, [5], [7], [0.9])
    counted = module("conversion").MaskedPositions(4)
    counted.add(trace)
    assert counted.passes == 4
    assert counted.shares == [3 / 4, 3 / 4, 2 / 4, 4 / 4]


def test_masks_of_training_follow_the_half_life(module):
    uniform = module("conversion").masked_in_training(8, None)
    late = module("conversion").masked_in_training(8, 0.1)
    assert max(uniform) - min(uniform) < 0.02
    assert late == sorted(late)
    assert late[-1] - late[0] > 0.3


def test_weight_change_is_relative_and_by_layer(module):
    def model(*scales):
        layers = torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in scales)
        for layer, scale in zip(layers, scales):
            torch.nn.init.constant_(layer.weight, scale)
        return SimpleNamespace(model=SimpleNamespace(layers=layers))

    change = module("conversion").weight_change(model(1.0, 2.0), model(1.5, 2.0))
    assert change == pytest.approx([0.5, 0.0])


def test_comparison_has_a_row_per_variant(module):
    def measured(seed, variant, decoding):
        row = {"name": "D=2 separate threshold 0.9", "accuracy": 0.5 + seed / 2, "tokens_per_forward": 2.0}
        return {
            "seed": seed, "variant": variant, "trained_block_size": 2, "rows": [row], "weight_change": [0.1, 0.3],
            "masked_decoding": decoding, "masked_training": [0.25, 0.75],
        }  # fmt: skip

    table = module("comparison").comparison_table(
        [measured(0, "", [0.5, 1.5]), measured(1, "", [0.5, 1.5]), measured(0, "uniform", [1.0, 1.0])]
    )
    assert "| as configured | 2 | 75.0 % | 2.00 | 0.100, 0.300 | 0.000 |" in table
    assert "| uniform | 1 | 50.0 % | 2.00 | 0.100, 0.300 | 0.500 |" in table
