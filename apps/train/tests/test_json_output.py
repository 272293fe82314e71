"""``--json`` of every command: one document with the documented fields, and in the case of an error nothing at all."""

import json

import pytest
from ar_core import registry
from ar_core.json_document import undocumented
from ar_train.cli import app
from typer.main import get_command

SHORT = ["train.steps=2", "train.warmup_steps=0", "train.batch_size=2", "train.eval_every=null", "data.count=40"]
TINY = ["autoregressive", "--config", "tiny"]
PROGRAM = get_command(app)


@pytest.fixture
def document(command):
    """Run a command with ``--json`` and parse what it prints."""

    def run(*arguments: str) -> dict:
        code, out, error = command(*arguments, "--json")
        assert code == 0, error
        found = json.loads(out)
        assert not undocumented(found, PROGRAM.commands[arguments[0]].fields)
        return found

    return run


def test_listing(document, tmp_path) -> None:
    found = document("ls")
    assert [one["name"] for one in found["recipes"]] == list(registry.recipes())
    tiny = next(one for one in found["recipes"] if one["name"] == "autoregressive")["configs"]
    assert {one["name"] for one in tiny} == set(registry.configs(registry.recipe("autoregressive")))
    assert [one["name"] for one in found["exporters"]] == list(registry.exporters())
    text = document("cat", "autoregressive/tiny")["text"]
    target = tmp_path / "mine.yaml"
    assert document("cp", "autoregressive/tiny", str(target))["file"] == str(target)
    assert target.read_text() == text


def test_planning(document) -> None:
    config = document("validate", *TINY, "train.lr=5e-4")["config"]
    assert config["train"]["lr"] == 5e-4
    planned = document("plan", *TINY, "--hardware", "cpu")
    assert planned["plan"]["trained"] > 0
    assert planned["times"]["run_seconds"] > 0


def test_checkpoints(document, checkpoint, tmp_path, monkeypatch) -> None:
    served = str(tmp_path / "served")
    found = document("export", "vllm", str(checkpoint), served)
    assert (found["engine"], found["launch"]) == ("vllm", f"vllm serve {served}")
    assert document("verify-export", "vllm", served)["tensors"] == 12
    monkeypatch.setattr(registry, "resolve", lambda name: lambda kind, *where, **how: f"a {kind} was written")
    found = document("convert", "var", "var.pth", str(tmp_path / "var"))
    assert (found["kind"], found["said"]) == ("var", "a var was written")


@pytest.mark.parametrize("verb", ["run", "fit"])
def test_training_and_its_curves(document, tmp_path, monkeypatch, verb) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = str(tmp_path / "run")
    found = document(verb, *TINY, *SHORT, f"train.checkpoint_dir={folder}", "train.log_every=1")
    assert (found["recipe"], found["step"], found["resumed_from"]) == ("autoregressive", 2, None)
    assert (found["interrupted"], found["checkpoint_dir"]) == (False, folder)
    drawn = document("plot", folder, "--smooth", "0.5")
    assert drawn["runs"][0]["points"][-1] == [2, found["loss"]]


WRONG = {
    "ls": ["--jsno"],
    "cat": ["autoregresive"],
    "cp": ["autoregressive/tiny", "/proc/none/a.yaml"],
    "validate": [*TINY, "trian.lr=1"],
    "plan": [*TINY, "--hardware", "h1000"],
    "run": ["autoregressive", "--config", "tny"],
    "fit": [*TINY, "--resume", "sometimes"],
    "plot": ["./no-run"],
    "convert": ["vra", "a", "b"],
    "export": ["vlm", "a", "b"],
    "verify-export": ["vllm", "./nothing"],
}


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_an_error_is_one_sentence_and_no_document(command, name) -> None:
    code, out, error = command(name, *WRONG[name], "--json")
    assert (code, out) == (2, "")
    (line,) = error.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_command_has_examples_and_documents_its_fields(command, name) -> None:
    code, out, _ = command(name, "--help")
    assert code == 0
    assert out.count(f"ar-train {name} ") + out.count(f"ar-train {name}\n") >= 2
    assert "Fields of --json" in out
    assert "--quiet" in out
