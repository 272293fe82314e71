"""``plot``: what is read of a run, smoothed, and drawn in a terminal or a file."""

import json

import pytest
from ar_core.errors import ConfigError
from ar_train.curves import Curve, read_run, smoothed


@pytest.fixture
def run(tmp_path):
    """Write the metrics of a run: losses from step 10 on, an evaluation after every second."""

    def write(name: str, losses: list[float | None], rest: str = ""):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        lines = []
        for number, loss in enumerate(losses, start=1):
            lines.append({"step": 10 * number, "loss": loss, "lr": 0.1, "values": {"ce": 2.0}})
            if number % 2 == 0:
                lines.append({"step": 10 * number, "evaluation": {"held_out": 5.0 - number}})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text + rest)
        return folder

    return write


def test_a_run_is_read_up_to_the_line_that_is_being_written(run) -> None:
    folder = run("a", [4.0, None, 2.0], rest='{"step": 40, "lo')
    for reference in (folder, folder / "metrics.jsonl"):
        found = read_run(str(reference), "loss")
        assert found.name == "a"
        assert found.metric == Curve((10, 30), (4.0, 2.0)), "what is no number is left out"
        assert found.evaluations == {"held_out": Curve((20,), (3.0,))}
    assert read_run(str(folder), "values.ce").metric.values == (2.0, 2.0, 2.0)
    assert read_run(str(folder), "loss", []).evaluations == {}


def test_smoothing_is_a_mean_in_which_the_past_fades() -> None:
    curve = Curve((1, 2, 3), (4.0, 8.0, 2.0))
    assert smoothed(curve, 0.0) == curve
    weights = [0.25, 0.5, 1.0]
    expected = sum(w * v for w, v in zip(weights, curve.values)) / sum(weights)
    assert smoothed(curve, 0.5).values[-1] == pytest.approx(expected)
    assert smoothed(Curve((1, 2), (3.0, 3.0)), 0.99).values == pytest.approx((3.0, 3.0))
    with pytest.raises(ConfigError, match="--smooth is 1"):
        smoothed(curve, 1)


def test_several_runs_are_told_apart_without_colours(command, run) -> None:
    a, b = run("a", [4.0, 3.0, 2.5, 2.0]), run("b", [4.0, 2.0, 1.0, 0.5])
    code, out, _ = command("plot", str(a), str(b))
    assert code == 0
    assert "o a: 2 at step 40, x b: 0.5 at step 40" in out
    assert "evaluation: held_out" in out
    assert "\x1b" not in out
    assert "evaluation" not in command("plot", str(a), "--no-evaluations")[1]


def test_runs_of_one_name_are_called_by_their_paths(command, run) -> None:
    paths = [str(run(f"{place}/out", [1.0, 2.0])) for place in ("one", "two")]
    _, out, _ = command("plot", *paths, "--json")
    assert [one["name"] for one in json.loads(out)["runs"]] == paths


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_picture_is_the_same_for_the_same_curves(command, run, tmp_path, suffix) -> None:
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    a, b = run("a", [4.0, 3.0, 2.0, 1.0]), run("b", [4.0, 2.0, 1.0, 0.5])
    files = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for file in files:
        code, out, _ = command("plot", str(a), str(b), "--smooth", "0.5", "--output", str(file))
        assert (code, out) == (0, "")
    assert files[0].read_bytes() == files[1].read_bytes()
    if suffix == ".svg":
        text = files[0].read_text()
        assert "held_out" in text
        assert "date" not in text
    assert command("plot", str(a), "--output", str(files[0]))[0] == 2
    assert command("plot", str(a), "--output", str(files[0]), "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a", "--metric", "los"], "has no metric 'los'; did you mean 'loss'?"),
        (["a", "--evaluation", "held"], "have no 'held'"),
        (["a", "--log"], "--log was given without --output"),
        (["a", "--output", "a.pdf"], "must end in .svg or .png"),
        (["a", "--smooth", "2"], "--smooth is 2.0"),
        (["empty"], "holds no record yet"),
        (["broken"], "line 1 of"),
        (["none"], "there are no metrics"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(command, run, tmp_path, monkeypatch, arguments, says) -> None:
    monkeypatch.chdir(tmp_path)
    run("a", [1.0, 2.0])
    run("empty", [])
    run("broken", [], rest='{"loss": 1}\n{"step": 2, "loss": 1}\n')
    code, out, error = command("plot", *arguments)
    assert (code, out) == (2, "")
    assert says in error
