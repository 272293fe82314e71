"""The benchmark of lossless decoders: it finds them all, tells wrong outputs, and survives being stopped."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.evaluation import EvalProblem
from ar_core.hf import LlamaScratch, ModelConfig, build_model, first_layers, load_causal_lm, save_pretrained
from ar_core.registry import Decoder, decoders
from ar_decode.session import load_session
from ar_quickstart.shipped import shipped_weights

QUESTIONS = ("12+34?", "size:52, item:lamps, order:48, name:kim, city:oslo?")


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"lossless.{name}")


@pytest.fixture(scope="module")
def session():
    return load_session(str(shipped_weights("ar")), dtype="float32")


@pytest.fixture
def problems(session):
    from ar_decode.prompts import Prompt

    asked = [EvalProblem(str(n), ({"role": "user", "content": text},), "math") for n, text in enumerate(QUESTIONS)]
    return [(problem, session.encode(Prompt(problem.id, problem.prompt))) for problem in asked]


@pytest.fixture(scope="module")
def assistant(tmp_path_factory):
    """The first two layers of the model, as a folder."""
    folder = tmp_path_factory.mktemp("assistant") / "cut"
    whole = load_causal_lm(shipped_weights("ar"))
    save_pretrained(first_layers(whole.model, 2), folder, tokenizer=whole.tokenizer)
    return str(folder)


@pytest.fixture
def arms(module, session, assistant):
    return [
        *module("arms").default_arms(session, [name for name in decoders() if name not in ("lookup", "jacobi")]),
        *module("huggingface").huggingface_arms(session, assistant),
    ]


def test_every_lossless_decoder_equals_ar_and_costs_are_counted(module, session, problems, arms, tmp_path):
    results = module("measuring").measure(session, arms, problems, tmp_path / "notes.jsonl", max_new_tokens=40)
    rows = {row["name"]: row for row in results["rows"]}
    assert next(iter(rows)) == "ar"
    assert {"lookup", "lookup fallback=false", "jacobi", "Hugging Face prompt lookup", "Hugging Face assisted"} <= set(
        rows
    )
    for name, row in rows.items():
        assert row["identical"] == 1.0, name
        assert row["first_differences"] == []
        assert row["problems"] == 2
    greedy = rows["Hugging Face greedy"]
    # One forward a token; the stop token takes one too and is not counted as output.
    assert greedy["nfe"] == rows["ar"]["nfe"]
    assert rows["lookup fallback=false"]["tokens_per_forward"] > 1.1
    assert rows["Hugging Face prompt lookup"]["tokens_per_forward"] > 1.1
    assisted = rows["Hugging Face assisted"]
    assert assisted["forwards"]["draft"] > 0
    assert assisted["tokens_per_forward"] == pytest.approx(
        assisted["generated_tokens"] / assisted["forwards"]["verify"]
    )
    table = module("plotting").markdown_table(results)
    assert "| ar | " in table
    assert "| 2/2 |" in table
    assert len(
        list(ElementTree.fromstring(module("plotting").figure(results)).iter("{http://www.w3.org/2000/svg}circle"))
    ) == len(rows)
    assert {"command", "date", "commit", "device", "versions"} <= results["environment"].keys()
    json.dumps(results)


def test_an_assistant_of_all_layers_is_the_model_itself(module, session, problems, tmp_path):
    full = module("huggingface").huggingface_arms(session, str(shipped_weights("ar")))[2]
    assistant, ids = full._assistant, torch.tensor([problems[0][1]])
    with torch.no_grad():
        assert torch.allclose(assistant(ids).logits, full._model(ids).logits, atol=1e-5)
    answer = full.answer(problems[0][1], 24)
    assert sum(answer.stats.generated) / answer.stats.forwards["verify"] > 2


def test_an_assistant_of_another_vocabulary_is_refused(module, session, tmp_path):
    other = build_model(ModelConfig(scratch=LlamaScratch(hidden=32, layers=1, heads=2, kv_heads=2, vocab=64))).model
    save_pretrained(other, tmp_path / "other")
    with pytest.raises(ConfigError, match="has a vocabulary of 64 and the model"):
        module("huggingface").huggingface_arms(session, str(tmp_path / "other"))


def test_a_wrong_output_is_told_with_its_margin(module, session, problems, arms, tmp_path):
    @dataclasses.dataclass
    class Wrong:
        inner: object
        label: str = "wrong"

        def describe(self):
            return {"name": "wrong"}

        def answer(self, ids, max_new_tokens):
            answer = self.inner.answer(ids, max_new_tokens)
            return dataclasses.replace(
                answer, tokens=[*answer.tokens[:3], (answer.tokens[3] + 1) % 80, *answer.tokens[4:]]
            )

    results = module("measuring").measure(
        session, [arms[0], Wrong(arms[0])], problems, tmp_path / "notes.jsonl", max_new_tokens=10
    )
    wrong = results["rows"][1]
    assert wrong["identical"] == 0.0
    assert [difference["step"] for difference in wrong["first_differences"]] == [3, 3]
    assert all(difference["margin"] > 0.1 for difference in wrong["first_differences"])
    assert "| 0/2 |" in module("plotting").markdown_table(results)


def test_a_stopped_job_goes_on_and_decoders_can_join(module, session, problems, arms, tmp_path):
    measure, notes = module("measuring").measure, tmp_path / "notes.jsonl"
    first = measure(session, arms[:2], problems[:2], notes, max_new_tokens=6)
    lines = notes.read_text().splitlines(keepends=True)
    notes.write_text("".join(lines[:3]) + lines[3][:20])
    again = measure(session, arms[:3], problems[:2], notes, max_new_tokens=6)
    assert again["resumed_with"] == 2
    assert len(notes.read_text().splitlines()) == 1 + 2 * 3
    for old, new in zip(first["rows"], again["rows"], strict=False):
        assert (old["name"], old["forwards"]) == (new["name"], new["forwards"])


def test_a_decoder_with_changed_settings_is_measured_anew(module, session, problems, tmp_path):
    measure, registered = module("measuring").measure, module("arms").registered_arm
    ar, notes = registered(session, "ar"), tmp_path / "notes.jsonl"
    one = registered(session, "lookup draft_length=3")
    other = dataclasses.replace(registered(session, "lookup draft_length=9"), label=one.label)
    measure(session, [ar, one], problems[:1], notes, max_new_tokens=4)
    measure(session, [ar, other], problems[:1], notes, max_new_tokens=4)
    assert len(notes.read_text().splitlines()) == 1 + 3


def test_a_drafter_is_named_and_counted_and_no_folder_of_this_machine_is_written(module, session, problems, tmp_path):
    registered = module("arms").registered_arm
    drafter = shipped_weights("fast_dllm_v2")
    arms = [
        registered(session, "ar"),
        registered(session, f"own drafter: diffuspec drafter={drafter} draft_length=8"),
        registered(session, f"diffuspec drafter={drafter}"),
    ]
    results = module("measuring").measure(session, arms, problems, tmp_path / "notes.jsonl", max_new_tokens=40)
    assert [row["name"] for row in results["rows"][:2]] == ["ar", "own drafter"]
    assert str(drafter.parent) not in json.dumps(results) or str(drafter).startswith(str(Path.cwd()))
    ar, own, other = results["rows"]
    assert own["identical"] == other["identical"] == 1.0
    assert own["tokens_per_forward"] > 2
    assert ar["costs_per_token"] == {}
    assert 0 < own["costs_per_token"]["drafter_forwards"] < 1
    assert own["by_category"]["math"]["costs_per_token"] == own["costs_per_token"]


def test_a_decoder_without_defaults_is_named_not_left_out(module, session, monkeypatch):
    needy = Decoder(
        "needy",
        "Lossless: needs a drafter",
        "m:f",
        "dlm_text.fast_dllm_v2.decode:FastDLLMv2DecodeConfig",
        lossless=True,
    )
    monkeypatch.setattr(module("arms"), "decoders", lambda: {"needy": needy})

    def refuse(session, asked):
        if asked == "needy":
            raise ConfigError("the setting 'drafter' is missing.")
        return None

    monkeypatch.setattr(module("arms"), "registered_arm", refuse)
    with pytest.raises(
        ConfigError, match=r"'needy' cannot be built without settings \(the setting 'drafter' is missing\)"
    ):
        module("arms").default_arms(session)
    assert module("arms").default_arms(session, ["needy"]) == [None]


def test_the_command_line_names_what_is_missing(module, monkeypatch, capsys, tmp_path):
    main = module("__main__").main
    monkeypatch.delenv("AR_DATA_DIR", raising=False)
    for arguments, says in (
        (["measure", "--assistant", "x"], "AR_DATA_DIR is not set"),
        (["measure", "--assistant", "x", "--data", str(tmp_path / "no.jsonl")], "does not exist"),
        (["measure"], "give --assistant FOLDER"),
        (["measure", "--without", "nothing"], "--without 'nothing' is none of the decoders that are compared"),
        (["measure", "--without", "ar"], "--without 'ar' is none of the decoders that are compared"),
        (["plot", "--output", str(tmp_path / "none")], "measure first"),
    ):
        monkeypatch.setattr("sys.argv", ["lossless", *arguments])
        assert main() == 2
        assert says in capsys.readouterr().err


def test_the_command_line_writes_results_table_and_figure(module, monkeypatch, capsys, tmp_path, assistant):
    data = tmp_path / "spec.jsonl"
    rows = [{"question_id": n, "category": "qa", "turns": [text]} for n, text in enumerate(QUESTIONS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    without = [
        f"--without={name}"
        for name, record in decoders().items()
        if record.lossless and name not in ("lookup", "jacobi")
    ]
    arguments = [
        "measure", "--model", str(shipped_weights("ar")), "--data", str(data), "--max-new-tokens", "6", "--prompts", "1",
        "--assistant", assistant, "--arm", "lookup draft_length=2", "--notes", str(tmp_path / "n.jsonl"),
        "--output", str(tmp_path / "out"), "--threads", str(torch.get_num_threads()), *without,
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["lossless", *arguments])
    assert module("__main__").main() == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    # A decoder that was given with settings takes the place of its defaults.
    assert [row["name"] for row in rows if "lookup" in row["name"] and "Hugging" not in row["name"]] == [
        "lookup draft_length=2"
    ]
    assert (tmp_path / "out.md").read_text() == capsys.readouterr().out
    assert (tmp_path / "out.svg").read_text().startswith("<svg")
