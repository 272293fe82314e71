"""Answers, statistics, reports and questions lie in files of their own, which is said before a model is loaded."""

import json

import pytest
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ConfigError
from dvlm.decoding import VLM
from dvlm.evaluation import EVAL_VLM


@pytest.fixture
def said(tmp_path, monkeypatch):
    """What is said against places, of which all but those of questions are free."""
    monkeypatch.chdir(tmp_path)

    def run(command, questions, **places):
        before = json.dumps({"prompt": "What?", "answer": "no"})
        (tmp_path / questions).write_text(before)
        given = {"model": "nowhere", "input": questions, **places}
        with pytest.raises(ConfigError) as caught:
            registry.resolve(command.run)(from_dict(registry.resolve(command.options), given))
        assert (tmp_path / questions).read_text() == before
        assert [path.name for path in tmp_path.iterdir()] == [questions]
        return str(caught.value)

    return run


@pytest.mark.parametrize("statistics", ["a.jsonl", "./a.jsonl", "x/../a.jsonl"])
def test_statistics_do_not_take_the_place_of_the_answers(said, statistics):
    assert said(VLM, "q.jsonl", output="a.jsonl", statistics=statistics).endswith(
        "a.jsonl' was given for two results, output and statistics; give each its own."
    )


def test_statistics_do_not_take_the_place_of_the_journal(said):
    assert said(VLM, "q.jsonl", output="a.jsonl", statistics="a.jsonl.partial") == (
        "the file 'a.jsonl.partial' was given for two results, the unfinished output and statistics; give each its own."
    )


@pytest.mark.parametrize(
    ("questions", "output", "statistics", "name"),
    [
        ("q.jsonl", "q.jsonl", None, "output"),
        ("q.jsonl.partial", "q.jsonl", None, "the unfinished output"),
        ("q.jsonl", "a.jsonl", "q.jsonl", "statistics"),
    ],
)
def test_no_result_takes_the_place_of_the_questions(said, questions, output, statistics, name):
    assert said(VLM, questions, output=output, statistics=statistics) == (
        f"the file {questions!r} is input, and {name} would take its place; give another place."
    )


@pytest.mark.parametrize(
    ("questions", "name"),
    [
        ("r.json", "output"),
        ("r.json.partial", "the unfinished output"),
        ("r.json.answers.jsonl", "the answers beside output"),
    ],
)
def test_no_report_takes_the_place_of_the_questions(said, questions, name):
    assert f"{questions}' is input, and {name} would take its place" in said(EVAL_VLM, questions, output="r.json")
