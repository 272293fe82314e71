"""`ar-train plan`: what it prints, and how it refuses."""

import json
import sys

import pytest
from ar_train import cli

TINY = ["autoregressive", "--config", "tiny", "train.batch_size=2"]


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run ``ar-train plan`` in this process -> (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ar-train", "plan", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        captured = capsys.readouterr()
        return ending.value.code or 0, captured.out, captured.err

    return run


def test_json_and_table_say_the_same(plan):
    code, out, _ = plan(*TINY, "--hardware", "h100", "--utilisation", "0.5", "--json")
    assert code == 0
    data = json.loads(out)
    planned, times = data["plan"], data["times"]
    assert planned["trained"] > 0
    assert planned["peak_bytes"] == sum(planned["memory"].values())
    assert planned["samples_per_step"] == 2
    assert times["utilisation"] == 0.5
    assert times["run_seconds"] == pytest.approx(planned["steps"] * times["step_seconds"])
    assert data["hardware"]["memory_bytes"] == 80e9
    code, out, _ = plan(*TINY, "--hardware", "h100", "--utilisation", "0.5")
    assert code == 0
    assert f"{planned['trained']:,}" in out
    assert "fits" in out
    assert all(note.split(":")[0] in out.replace("\n", " ") for note in planned["notes"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hardware", "h10"], "there is no hardware 'h10'"),
        (["--utilisation", "2", "--hardware", "cpu"], "utilisation is 2.0"),
        (["--nproc", "3", "--hardware", "cpu"], "the run has 3 ranks"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(plan, arguments, says):
    code, out, err = plan(*TINY, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err


def test_recipes_that_make_data_have_no_step(plan):
    code, _, err = plan("image_codes", "--config", "tiny", "--hardware", "cpu")
    assert code == 2
    assert "makes data and has no optimiser step" in err
