"""``--json`` of every command: one document with the documented fields, and in the case of an error nothing at all."""

import json

import pytest
from ar_core.json_document import undocumented
from ar_decode.cli import app
from typer.main import get_command

PROGRAM = get_command(app)


@pytest.fixture
def document(ar_decode):
    """Run a command with ``--json`` and parse what it prints."""

    def run(*arguments):
        outcome = ar_decode(*arguments, "--json")
        assert outcome.code == 0, outcome.err
        found = json.loads(outcome.out)
        assert not undocumented(found, PROGRAM.commands[arguments[0]].fields)
        return found

    return run


def test_text(document, ar_decode, plain_model, jsonl, tmp_path):
    one = document("text", plain_model, "Hello", "-n", 8)
    (answer,) = one["answers"]
    assert answer["output"] == ar_decode("text", plain_model, "Hello", "-n", 8).out.removesuffix("\n")
    assert len(answer["tokens"]) == 8
    assert one["method"]["name"] == "ar"
    assert one["statistics"]["nfe"] == 8
    source, target = jsonl({"prompt": "Hello", "id": "a"}, {"prompt": "x"}), tmp_path / "out.jsonl"
    many = document("text", plain_model, "-i", source, "-n", 8)
    assert [one["id"] for one in many["answers"]] == ["a", "2"]
    assert many["answers"][0]["tokens"] == answer["tokens"]
    written = document("text", plain_model, "-i", source, "-o", target, "-n", 8)
    assert (written["answers"], written["output"]) == (None, str(target))
    assert [json.loads(line) for line in target.read_text().splitlines()] == many["answers"]


def test_measurements(document, plain_model, jsonl, tmp_path):
    source, target = jsonl({"prompt": "ab ab"}), tmp_path / "r.json"
    common = ("-i", source, "-n", 4, "--dtype", "float32", "--rounds", 1, "-o", target)
    assert document("bench", plain_model, *common) == json.loads(target.read_text())
    profile = tmp_path / "p.json"
    tuned = document("tune", plain_model, "-o", profile, "--rounds", 1, "--context", 16)
    assert tuned == json.loads(profile.read_text())
    checked = document("verify", plain_model, "-n", 3)
    assert checked["passed"]
    assert len(checked["checks"]) == 15


def test_evaluation(document, plain_model, jsonl, tmp_path):
    pytest.importorskip("dlm_text")
    data, target = jsonl({"question": "1 plus 1?", "answer": "#### 2"}), tmp_path / "e.json"
    asked = ("eval", plain_model, "gsm8k", "--data", data, "--no-chat", "-n", 3, "--dtype", "float32", "-o", target)
    assert document(*asked) == json.loads(target.read_text())


def test_replay(document, plain_model, tmp_path):
    page = tmp_path / "r.html"
    found = document("trace", plain_model, "ab ab", "-n", 5, "-o", page)
    assert found["output"] == str(page)
    ((ar, lookup),) = (scene["replays"] for scene in found["scenes"])
    assert (ar["name"], lookup["name"]) == ("ar", "lookup")
    assert len(ar["passes"]) == 5


def test_announced(document, jsonl, tmp_path):
    pytest.importorskip("dlm_text")
    target = tmp_path / "p.safetensors"
    corpus = jsonl(*[json.dumps({"ids": [1, 2, 3]})] * 3)
    found = document("fit-proxy", f"corpus={corpus}", f"output={target}", "vocab_size=5", "order=2")
    assert found == {"output": str(target), "tokens": 9, "records": 3, "order": 2, "vocab_size": 5}


WRONG = {
    "text": ["./none", "Hi"],
    "bench": ["./none", "--input", "./none.jsonl", "--output", "{tmp}/r.json"],
    "eval": ["./none", "gsm9k"],
    "tune": ["./none", "--output", "{tmp}/p.json"],
    "trace": ["./none", "Hi", "--output", "{tmp}/r.html", "--play"],
    "verify": ["./none"],
}


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_an_error_is_one_sentence_and_no_document(refused, tmp_path, name):
    arguments = [one.format(tmp=tmp_path) for one in WRONG.get(name, ["no_such_setting=1"])]
    refused(name, *arguments, "--json", says="")


def test_what_prints_as_it_goes_is_no_document(refused, plain_model):
    refused("text", plain_model, "Hi", "--stream", "--json", says=("--json prints one document", "--stream"))
    refused("text", plain_model, "--chat", "--json", says="a conversation prints as it goes")


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_command_documents_its_fields(ar_decode, name):
    out = ar_decode(name, "--help").out
    for part in ("Fields of --json", "--quiet", "Examples"):
        assert part in out
    assert "\\[" not in out, "examples can be pasted"


def test_announced_commands_document_more_than_the_line_they_say():
    from ar_core import registry

    assert [name for name, record in registry.commands().items() if set(record.fields) == {"said"}] == []
