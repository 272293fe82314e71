"""``ar-decode eval`` from start to end, continued after a kill, and refused where its input is wrong."""

import json
import math
import shutil

import pytest
from ar_decode.evaluation import aup_by_method

GSM8K = [{"question": f"{n} plus 1?", "answer": f"#### {n + 1}"} for n in range(3)]
CHOICES = [{"id": n, "question": "the sky", "choices": ["is blue", "is"], "answer": n % 2} for n in range(3)]
QUICK = ("--no-chat", "-n", 6, "--dtype", "float32")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Results without a name of their own go below the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def result(ar_decode, tmp_path):
    """Run a job that must succeed; its report, its pieces, and what was printed."""

    def run(*arguments, name="result.json"):
        path = tmp_path / name
        outcome = ar_decode("eval", *arguments, "--output", path)
        assert outcome.code == 0, outcome.err
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
        return json.loads(path.read_text()), lines[1:], outcome

    return run


def test_every_arm_solves_every_problem_in_turn(result, plain_model, jsonl):
    report, pieces, outcome = result(plain_model, "gsm8k", "--data", jsonl(*GSM8K), "--method", "lookup", *QUICK)
    assert [(piece["id"], piece["arm"]) for piece in pieces] == [
        ("0", "ar"), ("0", "lookup"), ("1", "lookup"), ("1", "ar"), ("2", "ar"), ("2", "lookup"),
    ]  # fmt: skip
    ar, lookup = report["rows"]
    assert ar["name"] == "ar"
    assert lookup["identical"] == 1.0
    assert [piece["tokens"] for piece in pieces if piece["arm"] == "ar"] == [
        p["tokens"] for p in sorted((p for p in pieces if p["arm"] == "lookup"), key=lambda p: p["id"])
    ]
    assert ar["problems"] == lookup["problems"] == 3
    assert ar["generated_tokens"] == sum(len(piece["tokens"]) for piece in pieces if piece["arm"] == "ar")
    assert lookup["tokens_per_forward"] >= ar["tokens_per_forward"]
    assert {"prefill", "outside"} <= set(ar["seconds_by_phase"])
    assert lookup["acceptance_by_position"][0]["position"] == 1
    assert {"command", "commit", "device", "versions"} <= set(report["environment"])
    assert "tokens per forward" in outcome.out


def test_a_sweep_gives_one_row_each_and_aup(result, chat_model, jsonl):
    report, _, _ = result(
        chat_model, "gsm8k", "--data", jsonl(*GSM8K), "--method", "fast_dllm_v2", "--sweep", "threshold=0.2,1", *QUICK
    )
    assert [row["name"] for row in report["rows"]] == ["ar", "fast_dllm_v2 threshold=0.2", "fast_dllm_v2 threshold=1"]
    assert [row["method"].get("threshold") for row in report["rows"]] == [None, 0.2, 1.0]
    fast, slow = report["rows"][1:]
    assert fast["tokens_per_forward"] >= slow["tokens_per_forward"]
    assert set(report["aup"]) == {"ar", "fast_dllm_v2"}


def test_aup_takes_the_best_of_all_methods():
    rows = [
        {"method": {"name": "ar"}, "accuracy": 0.8, "tokens_per_forward": 1.0},
        {"method": {"name": "x"}, "accuracy": 0.6, "tokens_per_forward": 1.0},
        {"method": {"name": "x"}, "accuracy": 0.6, "tokens_per_forward": 2.0},
    ]
    weight = math.exp(-3 * (1 - 0.6 / 0.8))
    assert aup_by_method(rows) == pytest.approx({"ar": 80.0, "x": 60 + 60 * weight})
    assert aup_by_method([{"method": {"name": "ar"}, "tokens_per_forward": 1.0}]) == {}


def test_a_stopped_job_goes_on_where_it_was(result, plain_model, jsonl, tmp_path, monkeypatch, ar_decode):
    data = jsonl(*GSM8K)
    whole, pieces, _ = result(plain_model, "gsm8k", "--data", data, *QUICK, name="whole.json")
    cut = tmp_path / "cut.json"
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    cut.with_suffix(".jsonl").write_text("".join(lines[:4]) + lines[4][:30])
    again, continued, _ = result(plain_model, "gsm8k", "--data", data, *QUICK, name="cut.json")
    assert again["resumed_with"] == 3
    assert continued[:3] == pieces[:3]
    assert [(p["arm"], p["id"], p["tokens"]) for p in continued] == [(p["arm"], p["id"], p["tokens"]) for p in pieces]
    assert again["rows"][1]["forwards"] == whole["rows"][1]["forwards"]


def test_an_interrupt_keeps_what_is_finished_and_says_so(ar_decode, plain_model, jsonl, tmp_path, monkeypatch):
    from ar_decode.methods import Method

    decode, calls = Method.decode, []

    def interrupted(self, *arguments, **named):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return decode(self, *arguments, **named)

    monkeypatch.setattr(Method, "decode", interrupted)
    outcome = ar_decode("eval", plain_model, "gsm8k", "--data", jsonl(*GSM8K), *QUICK, "--output", tmp_path / "r.json")
    assert outcome.code == 130
    # Two of the five calls were warm-up.
    assert "2 finished pieces are kept" in outcome.err
    assert not (tmp_path / "r.json").exists()
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3


def test_other_settings_do_not_continue_a_job(result, refused, plain_model, jsonl, tmp_path):
    data = jsonl(*GSM8K)
    result(plain_model, "gsm8k", "--data", data, *QUICK)
    (tmp_path / "result.json").unlink()
    again = ("eval", plain_model, "gsm8k", "--data", data, "--output", tmp_path / "result.json", *QUICK)
    refused(*again, "--seed", 1, says=("has another generation", "--force"))
    refused(*again, "--limit", 2, says="has another data")
    report, _, _ = result(plain_model, "gsm8k", "--data", data, *QUICK, "--limit", 2, "--force")
    assert report["rows"][0]["problems"] == 2
    assert report["resumed_with"] == 0


def test_the_baseline_may_be_another_model(result, chat_model, plain_model, tmp_path, jsonl):
    base = tmp_path / "base"
    shutil.copytree(chat_model, base)
    report, _, _ = result(
        chat_model, "gsm8k", "--data", jsonl(*GSM8K[:1]), "--method", "ar", "--baseline", base, *QUICK
    )
    assert [row["name"] for row in report["rows"]] == ["ar", "ar of MODEL"]
    assert report["baseline"]["source"] == str(base)


def test_spec_bench_reports_its_kinds_and_no_accuracy(result, plain_model, jsonl):
    kinds = ["qa", "qa", "writing", "math", "qa"]
    data = jsonl(*({"question_id": n, "category": kind, "turns": [f"say {n}"]} for n, kind in enumerate(kinds)))
    report, _, outcome = result(plain_model, "spec_bench", "--data", data, "--per-category", 2, *QUICK)
    assert report["data"]["ids"] == ["0", "1", "2", "3"]
    assert set(report["rows"][0]["tokens_per_forward_by_category"]) == {"qa", "mt_bench"}
    assert "accuracy" not in report["rows"][0]
    assert report["aup"] == {}
    assert "accuracy" not in outcome.out


def test_a_program_ends_before_its_stop_string_to_the_character(result, plain_model, jsonl, scripted_output):
    """Tokenizers write a bracket and the line end behind it as one token: the bracket belongs to the program."""
    test = "def check(f):\n    assert f(2) == 1\n"
    data = jsonl({"task_id": "0", "prompt": "def f(a):\n", "entry_point": "f", "test": test})
    scripted_output("    return min(a, 1", ")\n", "def", " next")
    report, (piece,), _ = result(
        plain_model, "humaneval", "--protocol", "complete", "--data", data, "--method", "ar", "-n", 9
    )
    assert piece["output"] == "    return min(a, 1)"
    assert report["rows"][0]["accuracy"] == 1
    assert report["rows"][0]["generated_tokens"] == 3


@pytest.mark.parametrize("estimator", ["auto", "nelbo", "first_token", "causal"])
def test_likelihoods_of_a_converted_model(result, chat_model, jsonl, estimator):
    data = jsonl(*CHOICES)
    report, pieces, _ = result(
        chat_model,
        "multiple_choice",
        "--data",
        data,
        "--method",
        "fast_dllm_v2",
        "--likelihood",
        estimator,
        "--samples",
        2,
    )
    expected = {"ar": "causal", "fast_dllm_v2": "chain" if estimator == "auto" else estimator}
    assert report["likelihood"]["estimators"] == expected
    causal = {piece["id"]: piece["log_likelihoods"] for piece in pieces if piece["arm"] == "ar"}
    mine = {piece["id"]: piece["log_likelihoods"] for piece in pieces if piece["arm"] != "ar"}
    assert (causal == mine) == (estimator == "causal")
    assert all(x < 0 for pair in mine.values() for x in pair)
    assert 0 <= report["rows"][1]["accuracy"] <= 1
    # All three problems are alike but for the answer: one choice wins all of them.
    assert report["rows"][0]["accuracy"] in (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_perplexity_needs_a_token_to_begin_with(result, plain_model, jsonl):
    report, _, _ = result(plain_model, "perplexity", "--data", jsonl({"text": "abc"}, {"text": "hello"}))
    assert report["rows"][0]["nats_per_token"] > 0
    # One byte is one token of this tokenizer.
    assert report["rows"][0]["bits_per_byte"] == pytest.approx(report["rows"][0]["nats_per_token"] / math.log(2))


def test_shipped_models_solve_their_tasks_faster_than_ar(result):
    from ar_quickstart.shipped import shipped_weights

    report, _, _ = result(
        shipped_weights("fast_dllm_v2"), "exact_answers", "--limit", 4, "--method", "fast_dllm_v2", "--threshold", 0.9,
        "--baseline", shipped_weights("ar"), "--dtype", "float32",
    )  # fmt: skip
    ar, mine = report["rows"]
    assert ar["accuracy"] == 1.0
    assert mine["accuracy"] >= 0.75
    assert mine["tokens_per_forward"] > 2 > ar["tokens_per_forward"]
    assert report["aup"]["fast_dllm_v2"] > report["aup"]["ar"]


class TestWrongInput:
    @pytest.mark.parametrize("where", ["MODEL", "--baseline"])
    def test_a_model_that_is_not_there_is_refused_before_data_are_looked_for(self, refused, plain_model, where):
        models = ("./nowhere",) if where == "MODEL" else (plain_model, "--baseline", "./nowhere")
        refused("eval", *models[:1], "gsm8k", *models[1:], says="There is no checkpoint at './nowhere'")

    def test_a_model_without_config_is_refused_before_data_are_looked_for(self, refused, tmp_path):
        refused("eval", tmp_path, "gsm8k", "--data", "nowhere.jsonl", says="The config of")

    def test_unknown_task(self, refused, plain_model):
        refused(
            "eval", plain_model, "gsm8", says=("no installed package has an evaluation 'gsm8'", "did you mean 'gsm8k'?")
        )

    def test_missing_file(self, refused, plain_model):
        refused(
            "eval", plain_model, "gsm8k", "--data", "nowhere.jsonl", says=("'nowhere.jsonl' does not exist", "hub id")
        )

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("{broken", "line 2: this is not valid JSON"),
            ("[1]", "line 2: this is a JSON list"),
            ({"q": 1}, "line 2: the keys are 'q'"),
        ],
    )
    def test_malformed_line(self, refused, plain_model, jsonl, line, says):
        refused("eval", plain_model, "gsm8k", "--data", jsonl(GSM8K[0], line), says=says)

    def test_empty_file(self, refused, plain_model, jsonl):
        refused("eval", plain_model, "gsm8k", "--data", jsonl(), says="holds no records")

    def test_task_without_data_of_its_own(self, refused, plain_model):
        refused("eval", plain_model, "spec_bench", says="--data FILE")

    def test_unknown_protocol(self, refused, plain_model, jsonl):
        refused(
            "eval",
            plain_model,
            "gsm8k",
            "--data",
            jsonl(*GSM8K),
            "--protocol",
            "fewshot",
            says="did you mean 'few_shot'?",
        )

    def test_examples_that_are_missing(self, refused, plain_model, jsonl):
        data = jsonl(*GSM8K)
        refused("eval", plain_model, "gsm8k", "--data", data, "--protocol", "few_shot", says="with --examples")

    def test_data_for_generated_problems(self, refused, plain_model, jsonl):
        refused("eval", plain_model, "exact_answers", "--data", jsonl(*GSM8K), says="leave --data out")

    def test_hub_in_vain(self, refused, plain_model):
        refused("eval", plain_model, "gsm8k", "--data", "nobody/nothing", says="cannot be loaded from the hub")

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (("--sweep", "threshold"), "KEY=VALUE,VALUE"),
            (("--sweep", "treshold=1"), "did you mean 'threshold'?"),
            (("--sweep", "threshold=1", "--threshold", 1), "give it once"),
            (("--limit", 1, "--per-category", 1), "one of the two"),
            (("--method", "ar", "--sweep", "threshold=1"), "no settings to sweep"),
            (("--method", "fast_dllm"), "did you mean 'fast_dllm_v2'?"),
        ],
    )
    def test_options_that_contradict(self, refused, chat_model, jsonl, options, says):
        method = () if "--method" in options else ("--method", "fast_dllm_v2")
        refused("eval", chat_model, "gsm8k", "--data", jsonl(*GSM8K), *method, *options, says=says)

    def test_unknown_estimator(self, refused, chat_model, jsonl):
        common = ("eval", chat_model, "multiple_choice", "--data", jsonl(*CHOICES))
        refused(*common, "--method", "fast_dllm_v2", "--likelihood", "chains", says="did you mean 'chain'?")
        refused(*common, "--method", "lookup", "--likelihood", "nelbo", says="has no blocks")

    def test_a_protocol_that_needs_a_chat_template(self, refused, plain_model, jsonl):
        refused("eval", plain_model, "gsm8k", "--data", jsonl(*GSM8K), says=("no chat template", "--no-chat"))

    def test_a_prompt_that_does_not_fit(self, refused, plain_model, jsonl):
        data = jsonl(GSM8K[0], {**GSM8K[0], "question": "x" * 150})
        refused("eval", plain_model, "gsm8k", "--data", data, *QUICK, says=("prompt '1'", "line 2", "context is 160"))

    def test_a_result_that_exists(self, refused, plain_model, jsonl, tmp_path):
        (tmp_path / "there.json").write_text("{}")
        data = jsonl(*GSM8K)
        refused("eval", plain_model, "gsm8k", "--data", data, "--output", tmp_path / "there.json", says="--force")

    def test_a_baseline_with_another_tokenizer(self, refused, plain_model, jsonl):
        from ar_quickstart.shipped import shipped_weights

        common = ("eval", plain_model, "gsm8k", "--data", jsonl(*GSM8K), *QUICK)
        refused(*common, "--baseline", shipped_weights("ar"), says="different tokens")


def test_the_journal_lies_in_a_file_of_its_own(refused, jsonl, tmp_path):
    """It is removed where --force begins anew."""
    data = jsonl(*GSM8K)
    before = data.read_bytes()
    job = ("eval", "no model", "gsm8k", "--data", data, "--force", "--output")
    refused(*job, data.with_suffix(".json"), says="is --data, and the journal of --output would take its place")
    refused(*job, data, says="is --data, and --output would take its place")
    refused(*job, tmp_path / "scores.jsonl", says="for two results, --output and the journal of --output; give each")
    assert data.read_bytes() == before
