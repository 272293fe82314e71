"""The benchmark of Jacobi Forcing: its counts, its tables, and that it finds what it trained."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import pytest
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_quickstart.shipped import shipped_weights

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"jacobi_forcing.{name}")


def result(seed, *, accuracy=(0.99, 0.98), before=1.1, after=2.2, one=(9, 9, 9), two=(8, 9, 10), control=None):
    """Results of a seed with one n and, of the decoders, only those with and without a second block."""

    def row(name, model, decoder, share, tokens, **others):
        figures = {"accuracy": share, "tokens_per_forward": tokens, "speed": tokens / 2, "problems": 3}
        return {"name": name, "model": model, "decoder": decoder, **figures, **others}

    def parallel(model, share, tokens, kind, forwards, promoted):
        return row(
            f"{kind}, n=8, {model}", model, kind, share, tokens, block_length=8, equal_outputs=3, first_differences=[],
            promoted=promoted, forwards_by_problem=list(forwards),
        )  # fmt: skip

    base, trained = accuracy
    rows = [row("AR base", "base", "AR", base, 1.0), row("AR trained", "trained", "AR", trained, 1.0)]
    if control is not None:
        rows.append(row("AR control", "control", "AR", control, 1.0))
    rows += [
        parallel("base", base, before, "Jacobi, K=1", (20, 20, 20), 0),
        parallel("base", base, before, "multi-block, K=2", (20, 20, 20), 1),
        parallel("trained", trained, after, "Jacobi, K=1", one, 0),
        parallel("trained", trained, after + 0.2, "multi-block, K=2", two, 4),
    ]
    return {"kind": "jacobi_forcing_tasks", "seed": seed, "rows": rows}


def test_forwards_are_compared_problem_by_problem(module):
    counted = module("comparison").forwards([3, 4, 5, 1], [4, 4, 4, 2])
    assert dataclasses.astuple(counted) == (2, 1, 1)
    with pytest.raises(ValueError, match="longer"):
        module("comparison").forwards([3], [3, 4])


def test_a_trained_model_is_held_against_its_base(module):
    found = module("comparison").compared(result(3, control=0.97), "trained", 8)
    assert found.cells() == ["99.0 %", "97.0 %", "98.0 %", "-1.0", "1.10", "2.20", "2.00", "1, 1, 1", "4"]
    assert module("comparison").compared(result(3), "trained", 8).cells()[:3] == ["99.0 %", "", "98.0 %"]


def test_table_gives_each_seed_and_their_mean(module):
    lines = module("plotting").tasks_table([result(0), result(1, after=2.4, accuracy=(0.99, 1.0))]).splitlines()
    assert lines[0].startswith("| decoder | TPF | TPF seed 0 | TPF seed 1 | exact answers |")
    assert "| AR base | 1.00 | 1.00 | 1.00 | 99.0 % | 0.50 |  |  |" in lines
    assert "| multi-block, K=2, n=8, trained | 2.50 | 2.40 | 2.60 | 99.0 % | 1.25 | 8 | 6/6 |" in lines
    assert "seed" not in module("plotting").tasks_table([result(0)])


def test_a_row_that_a_seed_lacks_is_left_empty(module):
    lines = module("plotting").tasks_table([result(0), result(1, control=0.9)]).splitlines()
    assert "| AR control | 1.00 |  | 1.00 | 90.0 % | 0.50 |  |  |" in lines


def test_seeds_and_their_means_are_told_against_the_base(module):
    lines = module("plotting").seeds_table([result(0), result(1, after=3.3, accuracy=(0.99, 1.0))]).splitlines()
    assert len(lines) == 2 + 3
    assert lines[2] == "| trained | 8 | 0 | 99.0 % |  | 98.0 % | -1.0 | 1.10 | 2.20 | 2.00 | 1, 1, 1 | 4 |"
    assert lines[4] == "| trained | 8 | mean |  |  |  | +0.0 |  |  | 2.50 |  |  |"
    assert len(module("plotting").seeds_table([result(0)]).splitlines()) == 2 + 1


def test_figure_has_a_bar_for_each_decoder_and_model_and_a_dot_for_each_seed(module):
    root = ElementTree.fromstring(module("plotting").figure([result(0), result(1, after=2.6)]))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"base: 99.0 % exact answers", "trained: 98.0 % exact answers", "Jacobi, K=1, n=8", "2.40"} <= set(texts)
    # Two of the rectangles are the legend's.
    assert len(list(root.iter(f"{SVG}rect"))) == 2 + 2 * 2
    assert len(list(root.iter(f"{SVG}circle"))) == 2 * 2 * 2


def test_bars_are_as_long_as_their_means(benchmark_module):
    bars = benchmark_module("bars")
    svg = bars.bar_chart(
        ["a", "b"], [bars.Bars("x & y", [[1.0, 3.0], []]), bars.Bars("z", [[4.0], [2.0]])], x_label="n"
    )
    root = ElementTree.fromstring(svg)
    # The legend's are the lower ones.
    _, _, first, second, third = [
        float(rect.get("width")) for rect in sorted(root.iter(f"{SVG}rect"), key=lambda rect: float(rect.get("height")))
    ]
    assert first == third == second / 2 > 0


def test_tables_of_a_folder_are_found_by_kind(module, tmp_path):
    assert module("plotting").tables(tmp_path) == {}
    (tmp_path / "jacobi_forcing_tasks_seed1.json").write_text(json.dumps(result(1)))
    collapse = {"distinct_3": 0.8, "longest_repeated_span": 4.0, "eos_rate": 0.5, "mean_length": 60.0}
    row = {"name": "AR base", "tokens_per_forward": 1.0, "speed": 1.0, "base_nll": 1.5, "collapsed": False}
    text = {
        "kind": "jacobi_forcing_text",
        "data": {"prompts": ["0"]},
        "rows": [{**row, "equal_outputs": 1, "collapse": collapse}],
    }
    (tmp_path / "jacobi_forcing_stories260k.json").write_text(json.dumps(text))
    found = module("plotting").tables(tmp_path)
    assert list(found) == ["jacobi_forcing_tasks", "jacobi_forcing_tasks_seeds", "jacobi_forcing_stories260k"]
    assert "| AR base | 1.00 | 1.00 | 1.50 |" in found["jacobi_forcing_stories260k"]


@pytest.mark.parametrize("name", ["task", "stories260k", "smollm2_135m"])
def test_both_stages_have_one_model_and_one_block_size(module, name, monkeypatch):
    monkeypatch.setenv("AR_DATA_DIR", "/data")
    training = module("training")
    setup = training.SETUPS.get(name)
    budget = setup.budget if setup else training.Budget()
    collection = read_run_config(recipe("jacobi_trajectories"), name, list(budget.collection))
    run = read_run_config(recipe("jacobi_forcing"), name, list(budget.training))
    assert collection.method.block_size == run.method.block_size
    assert collection.model.path == run.model.path
    assert run.train.steps % run.train.eval_every == 0
    if setup:
        assert (setup.model, setup.block_length) == (run.model.path, run.method.block_size)


def test_rounds_follow_each_other_each_from_the_model_before(module, tmp_path, monkeypatch):
    asked = []

    def run(name, config, folder, overrides):
        asked.append((name, config, folder.relative_to(tmp_path / "jf"), [str(entry) for entry in overrides]))
        made = folder / "final" if name == "jacobi_forcing" else folder
        made.mkdir(parents=True)
        return made

    base = tmp_path / "tasks" / "seed3" / "base" / "final"
    base.mkdir(parents=True)
    monkeypatch.setattr(module("training"), "run_to_end", run)
    monkeypatch.setattr(module("training"), "train_base", lambda seed, runs, steps: base)
    training = module("training")
    budget = training.Budget(("data.count=9",), ("train.steps=5",))
    trained = training.train_task(3, tmp_path / "jf", tmp_path / "tasks", rounds=2, budget=budget)
    home = tmp_path / "jf" / "tasks" / "seed3"
    assert trained.models == {
        "base": str(base), "trained": str(home / "trained" / "final"), "round 2": str(home / "trained_round2" / "final"),
    }  # fmt: skip
    assert trained.control is None
    assert [(name, config) for name, config, *_ in asked] == [
        (name, config) for config in ("task", "task_round2") for name in ("jacobi_trajectories", "jacobi_forcing")
    ]
    first, second, third, fourth = (overrides for *_, overrides in asked)
    assert first == [f"model.path={base}", "data.task_seed=1003", "method.seed=3", "data.count=9"]
    assert second == [
        f"model.path={base}", f"trajectories.path={home / 'trajectories'}", "train.seed=3", "train.steps=5",
    ]  # fmt: skip
    assert third[0] == fourth[0] == f"model.path={home / 'trained' / 'final'}"
    assert fourth[1] == f"trajectories.path={home / 'trajectories_round2'}"


def test_a_stopped_stage_trains_nothing(module, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module("training"), "run_to_end", lambda name, *_: asked.append(name))
    assert module("training").train_text("stories260k", tmp_path) is None
    assert asked == ["jacobi_trajectories"]


def test_what_was_not_trained_is_named_with_the_command_that_does(module, tmp_path):
    training = module("training")
    with pytest.raises(CheckpointError, match=r"base/final' is not there: .* train tasks --seed 3` first"):
        training.task_models(3, tmp_path, tmp_path)
    with pytest.raises(CheckpointError, match=r"trained/final' is not there: .* train stories260k --round2` first"):
        training.text_models("stories260k", tmp_path, rounds=2)


def test_a_model_without_a_second_round_is_refused(module, tmp_path, monkeypatch):
    def run(name, config, folder, overrides):
        read_run_config(recipe(name), config, overrides)
        return folder

    monkeypatch.setenv("AR_DATA_DIR", "/data")
    monkeypatch.setattr(module("training"), "run_to_end", run)
    with pytest.raises(ConfigError, match="stories260k_round2"):
        module("training").train_text("stories260k", tmp_path, rounds=2)


def test_held_out_problems_are_measured_on_every_model(module, monkeypatch):
    measuring, training = module("task_measuring"), module("training")
    monkeypatch.setattr(measuring, "described", lambda trained: {})
    monkeypatch.setattr(training.Trained, "models", {"base": shipped_weights("ar"), "trained": shipped_weights("ar")})
    found = measuring.measure_seed(
        0, training.Trained("", {}, str(shipped_weights("ar"))), problems=2, block_lengths=[4]
    )
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows)[:4] == ["AR base", "AR trained", "AR control", "Jacobi, K=1, n=4, base"]
    assert len(rows) == 3 + 2 * 4
    for row in found["rows"][3:]:
        assert (row["equal_outputs"], row["first_differences"]) == (2, [])
        assert sum(row["forwards_by_problem"]) == sum(row["forwards"].values())
        assert (row["promoted"] > 0) == (row["blocks"] == 2)
    # The same weights: the same forwards.
    same = module("comparison").compared(found, "trained", 4)
    assert same.ratio == 1
    assert same.points == 0
    json.dumps(found)


def test_texts_are_held_against_each_models_own_ar(module, tmp_path, monkeypatch):
    from ar_decode.prompts import Prompt

    measuring, training = module("text_measuring"), module("training")
    monkeypatch.setattr(measuring, "described", lambda trained: {})
    setup = training.Setup(str(shipped_weights("ar")), training.Budget(), "float32", "stories", 12, 4)
    monkeypatch.setattr(measuring, "SETUPS", {"tiny": setup})
    monkeypatch.setattr(
        measuring,
        "chosen_prompts",
        lambda kind, session, **_: [
            (Prompt(text, text), session.encode(Prompt(text, text))) for text in ("1+2?", "3+4?")
        ],
    )
    monkeypatch.setattr(training.Trained, "models", {"base": shipped_weights("ar"), "trained": shipped_weights("ar")})
    found = measuring.measure("tiny", training.Trained("", {}), rounds=1, per_category=1)
    assert [row["name"] for row in found["rows"]][:3] == ["AR base", "AR trained", "Jacobi, K=1, n=4, base"]
    assert all(row["equal_outputs"] == 2 and not row["collapsed"] for row in found["rows"])
    assert "| 2/2 |" in module("plotting").rows_table([found])
    json.dumps(found)


def test_the_command_line_names_what_is_missing(module, monkeypatch, capsys, tmp_path):
    main = module("__main__").main
    for arguments, says in (
        (["measure", "tasks", "--runs", str(tmp_path), "--task-runs", str(tmp_path)], "train tasks --seed 0` first"),
        (["plot", "--results", str(tmp_path)], "measure a seed first"),
        (["table", "--results", str(tmp_path)], "measure a model first"),
    ):
        monkeypatch.setattr("sys.argv", ["jacobi_forcing", *arguments])
        assert main() == 2
        assert says in capsys.readouterr().err


def test_the_command_line_draws_the_seeds(module, monkeypatch, capsys, tmp_path):
    for seed in (10, 9):
        (tmp_path / f"jacobi_forcing_tasks_seed{seed}.json").write_text(json.dumps(result(seed)))
    monkeypatch.setattr("sys.argv", ["jacobi_forcing", "plot", "--results", str(tmp_path)])
    assert module("__main__").main() == 0
    assert (tmp_path / "jacobi_forcing_tasks.md").read_text() == capsys.readouterr().out
    assert (tmp_path / "jacobi_forcing_tasks.svg").read_text().startswith("<svg")
    assert "| TPF seed 9 | TPF seed 10 |" in (tmp_path / "jacobi_forcing_tasks.md").read_text()
