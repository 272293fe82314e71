import json
from collections import Counter

import pytest
from ar_quickstart.cli import app
from ar_quickstart.shipped import PROMPTS
from typer.testing import CliRunner


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


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
