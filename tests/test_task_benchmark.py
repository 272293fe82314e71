import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ar_core.decoding import Decoded, DecodeStats, Trace
from ar_core.errors import CheckpointError
from dlm_text.efficient_dlm.checkpoint import Conversion
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig
from dlm_text.tasks import Problem
from dlm_text.tasks.tokenizer import build_tokenizer, encode_prompt

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
    assert results["data"]["problems"] >= (500 if results["method"] == "fast_dllm_v2" else 200)
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
    trace.add(2, "fused", 0, [3], [7], [0.9])
    trace.add(3, "commit", 0, [], [], [])
    trace.add(4, "denoise", 0, [5], [7], [0.9])
    counted = module("conversion").MaskedPositions(4)
    counted.add(trace)
    # The second block was not finished.
    assert counted.passes == 3
    assert counted.shares == [2 / 3, 2 / 3, 1 / 3, 3 / 3]


def test_a_block_that_begins_in_the_prompt_does_not_count(module):
    trace = Trace()
    for number, position in enumerate((0, 2, 1, 3, 4)):
        trace.add(number, "denoise", 0, [position], [7], [0.9])
    counted = module("conversion").MaskedPositions(4)
    counted.add(trace, begin=7)
    # Output position 0 is the last of the prompt's block; 1 to 4 are the next one.
    assert counted.passes == 4
    assert counted.shares == [2 / 4, 1 / 4, 3 / 4, 4 / 4]


def test_masks_of_training_follow_the_half_life(module):
    uniform = module("conversion").masked_in_training(8, None)
    late = module("conversion").masked_in_training(8, 0.1)
    assert max(uniform) - min(uniform) < 0.02
    assert late == sorted(late)
    assert late[-1] - late[0] > 0.3


def test_masks_of_bidirectional_training_are_drawn_over_whole_documents(module):
    drawn = module("conversion").masked_in_training
    # Three blocks, the answer being the first whole one behind the prompt: towards the end of a document more is hidden.
    early, late = drawn(8, 0.1, [(8, 16)]), drawn(8, 0.1, [(16, 8)])
    assert len(early) == len(late) == 8
    assert sum(late) > sum(early)
    # Over a document of three blocks, a block is flatter than one that is drawn alone.
    alone = drawn(8, 0.1)
    assert late[-1] / late[0] < alone[-1] / alone[0]
    assert max(drawn(8, None, [(3, 30)])) - min(drawn(8, None, [(3, 30)])) < 0.02


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"context": "block_causal"},
            {"D=8 separate threshold 0.9", "D=8 fused threshold 0.9", "D=8 released threshold 0.9"},
        ),
        (
            {"context": "whole"},
            {"D=8 separate threshold 0.9", "D=8 length given threshold 0.9", "D=8 released threshold 0.9"},
        ),
        (
            {"context": "causal"},
            {
                "D=8 separate threshold 0.9",
                "D=8 released threshold 0.9",
                "hybrid, one token at a time",
                "hybrid, self-speculation",
            },
        ),
    ],
)
def test_a_conversion_is_decoded_as_it_was_trained_and_as_released(module, settings, expected):
    settings = {"mask_id": 3, "diffusion_block_size": 8, "grid": "absolute", **settings}
    found = module("decoders").conversion_decoders(
        "efficient_dlm", settings, block_sizes=[8], thresholds=[0.9], commits=["separate", "fused"]
    )
    assert set(found) == expected
    for changed in found.values():
        changed.pop(module("decoders").LENGTH, None)
        EfficientDLMDecodeConfig(**{**settings, **changed})
    released = found["D=8 released threshold 0.9"]
    assert released["grid"] == "prompt"
    assert released["context"] == ("causal" if settings["context"] == "causal" else "bidirectional")


@pytest.mark.parametrize(
    ("pattern", "context"),
    [("block_clean", "block_causal"), ("block_noisy", "block_causal"), ("bidirectional", "whole")],
)
def test_blocks_of_decoding_are_those_of_training(module, pattern, context):
    config = SimpleNamespace(
        architectures=["LlamaForCausalLM"],
        name_or_path="",
        model_type="llama",
        **Conversion(3, 8, pattern, half_life_ratio=0.1).fields(),
    )
    found = module("decoders").conversion_settings("efficient_dlm", config, None, {})
    assert (found["grid"], found["context"]) == ("absolute", context)
    assert module("decoders").conversion_settings("efficient_dlm", config, None, {"grid": "prompt"})["grid"] == "prompt"


class Causal:
    """Predicts the sum of all ids so far, which no forward that sees other tokens would."""

    device = torch.device("cpu")

    def hidden(self, ids, *, positions, mask):
        visible = mask.dense().reshape(ids.shape[1], ids.shape[1])
        sums = (visible.double() @ ids[0].double()).long() % 50
        return torch.nn.functional.one_hot(sums, 50).double()[None]

    def head(self, hidden):
        return hidden.clone()


def test_outputs_of_a_hybrid_are_held_against_its_causal_forward(module):
    same = module("exactness").is_causal_greedy
    assert same(Causal(), [5, 6], [11, 22, 44], banned_id=49)
    assert not same(Causal(), [5, 6], [11, 22, 45], banned_id=49)
    assert not same(Causal(), [5, 6], [11, 22, 44], banned_id=22)


def test_equal_outputs_of_both_modes_are_counted(module):
    tokenizer = build_tokenizer()
    exactness = module("exactness")
    exact = exactness.Exactness(Causal(), tokenizer, mask_id=tokenizer.mask_token_id)
    one = Problem("arithmetic", "1+2?\n", "3")
    right, wrong = Decoded([[1]], ["length"], DecodeStats()), Decoded([[2]], ["length"], DecodeStats())
    prompt = encode_prompt(tokenizer, one.prompt)
    causal = Decoded([[sum(prompt) % 50]], ["length"], DecodeStats())
    for alone, drafted in ((causal, causal), (right, wrong), (right, right)):
        exact.add("hybrid, one token at a time", one, alone)
        exact.add("hybrid, self-speculation", one, drafted)
        exact.add("AR base", one, wrong)
    assert {name: row["equal"] for name, row in exact.rows().items()} == {
        "hybrid, one token at a time": 1,
        "hybrid, self-speculation": 2,
    }


def test_weight_change_is_relative_and_by_layer(module):
    def model(*scales):
        layers = torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in scales)
        for layer, scale in zip(layers, scales):
            torch.nn.init.constant_(layer.weight, scale)
        return SimpleNamespace(model=SimpleNamespace(layers=layers))

    change = module("conversion").weight_change(model(1.0, 2.0), model(1.5, 2.0))
    assert change == pytest.approx([0.5, 0.0])


def measured(seed, variant, decoding, training=(0.25, 0.75), **changed):
    def row(name, accuracy, tokens, **settings):
        return {"name": name, "accuracy": accuracy, "tokens_per_forward": tokens, "problems": 10, **settings}

    blocks = {"commit": "separate", "block_size": 2}
    return {
        "seed": seed,
        "variant": variant,
        "trained_block_size": 2,
        "environment": {"device": {"name": "a"}},
        "rows": [
            row("AR base", 0.875 + seed / 8, 1.0),
            row("D=2 separate threshold 0.9", 0.5 + seed / 2, 2.0, threshold=0.9, **blocks),
            row("D=2 separate threshold 0.7", 0.25, 3.0, threshold=0.7, **blocks),
            row("D=4 separate threshold 0.7", 0.125, 4.0, threshold=0.7, commit="separate", block_size=4),
            row("D=2 released threshold 0.9", 0.375, 2.5, threshold=0.9, grid="prompt"),
        ],
        "weight_change": [0.1, 0.3],
        "masked_decoding": decoding,
        "masked_training": list(training),
        **changed,
    }


@pytest.fixture
def variants():
    return [
        measured(0, "", [0.5, 1.5]),
        measured(1, "", [0.5, 1.5]),
        measured(0, "uniform", [1.0, 1.0], (0.5, 0.5)),
        measured(0, "noisy_context", [1.0, 1.0]),
    ]


def test_comparison_has_a_row_per_conversion(module, variants):
    table = module("comparison").comparison_table(variants)
    lines = table.splitlines()
    assert "| threshold 0.9 | threshold 0.7 | 0.9, fused commit | 0.9, released decoder |" in lines[0]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| AR base", "| plain", "| noisy_context", "| uniform"]
    # One base for each seed, however many variants measured it.
    assert lines[2].startswith("| AR base | 2 | 93.8 ± 8.8 % at 1.00 ± 0.00 |")
    assert (
        "| plain | 2 | – | 75.0 ± 35.4 % at 2.00 ± 0.00 | 25.0 ± 0.0 % at 3.00 ± 0.00 | – | 37.5 ± 0.0 % at 2.50 ± 0.00 "
        "| 0.100 ± 0.000, 0.300 ± 0.000 | 0.000 ± 0.000 |" in table
    )
    assert "| uniform | 1 | – | 50.0 % at 2.00 | 25.0 % at 3.00 | – | 37.5 % at 2.50 | 0.100, 0.300 | 0.000 |" in table
    assert (
        "| noisy_context | 1 | – | 50.0 % at 2.00 | 25.0 % at 3.00 | – | 37.5 % at 2.50 | 0.100, 0.300 | 0.500 |"
        in table
    )
    assert {line.count(" | ") for line in lines if not line.startswith("|---")} == {lines[0].count(" | ")}


def test_figures_that_some_seeds_lack_say_of_how_many_they_are(module, variants):
    variants[1].pop("weight_change")
    variants[1]["rows"] = [row for row in variants[1]["rows"] if row["name"] != "D=2 separate threshold 0.9"]
    line = module("comparison").comparison_table(variants).splitlines()[3]
    assert "| 50.0 % at 2.00 (1 of 2 seeds) | 25.0 ± 0.0 % at 3.00 ± 0.00 |" in line
    assert "| 0.100, 0.300 (1 of 2 seeds) | 0.000 ± 0.000 |" in line


def test_conversions_that_were_told_the_length_have_a_row_of_their_own(module):
    result = measured(0, "bidirectional", [1.0, 1.0])
    told = {"name": "D=2 length given threshold 0.7", "accuracy": 1.0, "tokens_per_forward": 6.0, "problems": 10}
    result["rows"].append({**told, "block_size": 2, "threshold": 0.7, "length": "given"})
    table = module("comparison").comparison_table([result])
    assert "| bidirectional, length of the answer given | 1 | – | – | 100.0 % at 6.00 | – |" in table
    svg = module("comparison_figure").comparison_figure([result])
    assert "bidirectional, length of the answer given" in svg


def test_modes_of_a_hybrid_have_rows_of_their_own(module):
    hybrids = [measured(seed, "hybrid", [0.5, 1.5]) for seed in (0, 1)]
    for result in hybrids:
        mode = {"accuracy": 1.0, "tokens_per_forward": 1.5, "problems": 10, "mode": "self_speculation"}
        result["rows"].append({"name": "hybrid, drafts", "equal_to": "the other", "equal": 9, **mode})
    table = module("comparison").comparison_table(hybrids)
    assert "| hybrid, drafts (18 of 20 outputs equal: the other) | 2 | 100.0 ± 0.0 % at 1.50 ± 0.00 | – |" in table


def test_results_beside_may_lack_what_others_have_and_say_where_they_come_from(module, tmp_path, variants):
    other = measured(1, "", [1.0, 1.0], environment={"device": {"name": "b"}})
    for key in ("weight_change", "masked_decoding", "masked_training"):
        del other[key]
    for name, results in (
        ("efficient_dlm", variants[0]),
        ("efficient_dlm-uniform", variants[2]),
        ("fast_dllm_v2", other),
    ):
        (tmp_path / f"tasks_{name}_seed{results['seed']}.json").write_text(json.dumps(results))
    results, beside = module("comparison").read_comparison(tmp_path, "efficient_dlm")
    assert [result["variant"] for result in results] == ["", "uniform"]
    assert list(beside) == ["fast_dllm_v2 (on b)"]
    table = module("comparison").comparison_table(results, beside)
    assert "| fast_dllm_v2 (on b) | 1 | – | 100.0 % at 2.00 | 25.0 % at 3.00 | – | 37.5 % at 2.50 | – | – |" in table
    assert module("comparison").read_comparison(tmp_path, "fast_dllm_v2")[1] == {}


def test_figure_of_a_comparison_shows_accuracy_weights_and_masks(module, variants):
    svg = module("comparison_figure").comparison_figure(variants, {"other": [measured(0, "", [1.0, 1.0])]})
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}g")
    texts = [[text.text for text in panel.iter(f"{space}text")] for panel in panels]
    points = [len(list(panel.iter(f"{space}circle"))) for panel in panels]
    assert {"plain", "uniform", "noisy_context", "other", "AR base"} <= set(texts[0])
    # Two thresholds of the trained block size for each of four, and the ends of the base's line.
    assert points == [4 * 2 + 2, 3 * 2, 4 * 2]
    # Noisy context masks as the plain conversion does: its pair of curves is not drawn again.
    assert {text for text in texts[2] if text.endswith(("decoding", "training"))} == {
        f"{name}, {when}" for name in ("plain", "uniform") for when in ("decoding", "training")
    }
    assert [one.attrib["stroke"] for one in panels[0].iter(f"{space}polyline")][:3] == [
        one.attrib["stroke"] for one in panels[1].iter(f"{space}polyline")
    ]
    assert not any(float(one) < 0 for one in root.attrib["viewBox"].split())
