import json
from collections import Counter
from dataclasses import dataclass

import pytest
from ar_quickstart.cli import main
from ar_quickstart.shipped import PROMPTS


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    out: str
    err: str

    @property
    def output(self):
        return self.out + self.err


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run ``ar-quickstart`` in this process as its entry point does."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        monkeypatch.setattr("sys.argv", ["ar-quickstart", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return Outcome(int(end.value.code or 0), *capsys.readouterr())

    return called


def test_help_names_both_acts(run):
    result = run("--help")
    assert result.exit_code == 0
    assert "--fast" in result.output
    assert "Act 1" in result.output


def test_report_that_cannot_be_written_is_refused_before_anything_runs(run, tmp_path):
    result = run("--out", str(tmp_path))
    assert result.exit_code == 2
    assert "is a folder; give the name of a file" in result.output
    assert "Act 1" not in result.output


def test_missing_model_is_refused_before_act_one(run):
    result = run("--model", "./no-such-model")
    assert result.exit_code == 2
    assert "no-such-model" in result.output
    assert "Act 1" not in result.output


def test_twelve_prompts_two_of_each_category():
    records = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    assert len({record["id"] for record in records}) == 12
    assert set(Counter(record["category"] for record in records).values()) == {2}
