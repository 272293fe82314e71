"""Our decoders as lm-eval's model: its own evaluator runs them, and every figure is that of our engine."""

import json
import math
import subprocess
import sys

import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_decode.harness.model import ArDecodeLM
from ar_decode.harness.register import NAME, register
from lm_eval.api.instance import Instance


def requests(kind, *arguments):
    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


@pytest.fixture(scope="module")
def model(plain_model):
    return ArDecodeLM(str(plain_model), "lookup", dtype="float32", batch_size=2)


def test_registered_once_by_name():
    from lm_eval.api.registry import get_model

    register()
    register()
    assert get_model(NAME) is ArDecodeLM


def test_outputs_are_those_of_ar_and_cost_is_counted(model, plain_model):
    asked = [(f"number {n} and number", {"until": [], "max_gen_toks": 12}) for n in range(5)]
    plain = ArDecodeLM(str(plain_model), "ar", dtype="float32")
    assert model.generate_until(requests("generate_until", *asked), disable_tqdm=True) == plain.generate_until(
        requests("generate_until", *asked), disable_tqdm=True
    )
    assert sum(plain.stats.generated) == 5 * 12
    assert model.get_model_info()["decoding"]["nfe"] < plain.stats.nfe
    json.dumps(model.get_model_info())


def test_an_output_ends_before_its_stop_string(model):
    (whole,) = model.generate_until(requests("generate_until", ("one two", {"max_gen_toks": 12})), disable_tqdm=True)
    stop = whole[4:6]
    (cut,) = model.generate_until(
        requests("generate_until", ("one two", {"max_gen_toks": 12, "until": [stop]})), disable_tqdm=True
    )
    assert cut == whole[: whole.find(stop)]


def test_what_stands_before_a_stop_string_in_its_token_is_kept(model, scripted_output):
    scripted_output("    return max(a", ")\n", "def", " next")
    asked = ("x", {"max_gen_toks": 12, "until": ["\ndef"]})
    assert model.generate_until(requests("generate_until", asked), disable_tqdm=True) == ["    return max(a)"]


def test_requests_of_other_settings_are_not_batched_together(model):
    asked = [
        ("a", {"max_gen_toks": 2}),
        ("b", {"max_gen_toks": 2}),
        ("c", {"max_gen_toks": 2}),
        ("d", {"max_gen_toks": 5}),
    ]
    groups = model._groups(requests("generate_until", *asked))
    assert [(start, len(group)) for start, group in groups] == [(0, 2), (2, 1), (3, 1)]


def test_a_context_that_is_too_long_loses_its_beginning(model):
    end = "x" * 150
    asked = [("y" * 200 + end, {"max_gen_toks": 10}), (end, {"max_gen_toks": 10})]
    first, second = model.generate_until(requests("generate_until", *asked), disable_tqdm=True)
    assert first == second
    with pytest.raises(DataError, match="no room for a prompt"):
        model.generate_until(requests("generate_until", ("a", {"max_gen_toks": 200})), disable_tqdm=True)


def test_likelihood_is_the_causal_forward_s(model):
    context, continuation = "the sky", " is"
    ((total, greedy),) = model.loglikelihood(requests("loglikelihood", (context, continuation)), disable_tqdm=True)
    ids = model.session.tokenizer(context + continuation)["input_ids"]
    with torch.no_grad():
        hugging_face = model.session.backbone.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    before = len(ids) - 3
    expected = sum(float(hugging_face[before + i - 1, ids[before + i]]) for i in range(3))
    assert total == pytest.approx(expected, abs=1e-4)
    assert greedy == all(int(hugging_face[before + i - 1].argmax()) == ids[before + i] for i in range(3))


def test_spaces_at_the_end_of_a_context_are_scored(model):
    same = model.loglikelihood(requests("loglikelihood", ("a b ", "c"), ("a b", " c")), disable_tqdm=True)
    assert same[0] == same[1]


def test_rolling_likelihood_is_the_whole_text_s(model):
    text = "abcdefgh" * 30
    (total,) = model.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)), disable_tqdm=True)
    short = model.loglikelihood_rolling(requests("loglikelihood_rolling", ("abcd",)), disable_tqdm=True)[0]
    direct = model.loglikelihood(requests("loglikelihood", ("", "abcd")), disable_tqdm=True)[0][0]
    assert short == pytest.approx(direct)
    # 240 bytes after one token, in windows of 80 after at most 80 others.
    ids = [model.session.tokenizer.eos_token_id, *model.session.tokenizer(text)["input_ids"]]
    pieces = [model._score(ids[max(0, at - 80) : at], ids[at : at + 80])[0] for at in (1, 81, 161)]
    assert total == pytest.approx(sum(pieces))


@pytest.mark.parametrize("likelihood", ["auto", "nelbo", "first_token", "causal"])
def test_a_converted_model_has_its_own_likelihoods(chat_model, likelihood):
    converted = ArDecodeLM(str(chat_model), "fast_dllm_v2", likelihood=likelihood, samples=2, threshold=0.5)
    assert converted.method.options.threshold == 0.5
    found = converted.loglikelihood(requests("loglikelihood", ("the sky", " is")), disable_tqdm=True)
    ((total, greedy),) = found
    assert total < 0
    assert isinstance(greedy, bool)
    # Longer than the context: the beginning is left out, and the last block still fits.
    long = converted.loglikelihood(requests("loglikelihood", ("z" * 300, " is")), disable_tqdm=True)
    assert math.isfinite(long[0][0])


def test_chat_templates_are_the_tokenizer_s(chat_model, model):
    chat = ArDecodeLM(str(chat_model))
    assert chat.apply_chat_template([{"role": "user", "content": "hi"}]) == "<user>hi</s><assistant>"
    assert chat.chat_template(True) == chat.session.tokenizer.chat_template
    with pytest.raises(DataError, match="no chat template"):
        model.apply_chat_template([{"role": "user", "content": "hi"}])


def test_wrong_arguments_are_refused(plain_model):
    with pytest.raises(ConfigError, match="did you mean 'draft_length'"):
        ArDecodeLM(str(plain_model), "lookup", draft_lenght=3)
    with pytest.raises(ConfigError, match="batch size 'auto'"):
        ArDecodeLM(str(plain_model), batch_size="auto")
    with pytest.raises(ConfigError, match="has no blocks"):
        ArDecodeLM(str(plain_model), likelihood="nelbo")


def task_folder(folder, jsonl):
    """Two tasks of lm-eval on local files."""
    rows = [{"q": f"{n} plus", "a": "x"} for n in range(3)]
    data = jsonl(*rows, name="rows.jsonl")
    files = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\ndoc_to_text: '{{{{q}}}}'\n"
    (folder / "made.yaml").write_text(
        f"task: made_generation\n{files}output_type: generate_until\ndoc_to_target: '{{{{a}}}}'\n"
        "generation_kwargs:\n  until: ['.']\n  max_gen_toks: 5\n  do_sample: false\nmetric_list:\n  - metric: exact_match\n"
    )
    (folder / "choice.yaml").write_text(
        f"task: made_choice\n{files}output_type: multiple_choice\ndoc_to_choice: [' one', ' two']\ndoc_to_target: 0\n"
        "metric_list:\n  - metric: acc\n"
    )
    return folder


def test_lm_eval_s_evaluator_runs_it(chat_model, tmp_path, jsonl):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    converted = ArDecodeLM(str(chat_model), "fast_dllm_v2", dtype="float32", threshold=0.5, batch_size=2)
    tasks = TaskManager(include_path=str(task_folder(tmp_path, jsonl)), include_defaults=False)
    found = simple_evaluate(
        converted, tasks=["made_generation", "made_choice"], task_manager=tasks, bootstrap_iters=0, log_samples=True
    )
    assert set(found["results"]) == {"made_generation", "made_choice"}
    assert 0 <= found["results"]["made_choice"]["acc,none"] <= 1
    first = found["samples"]["made_generation"][0]
    own = converted.generate_until(
        requests("generate_until", ("0 plus", {"until": ["."], "max_gen_toks": 5})), disable_tqdm=True
    )
    assert first["resps"][0][0] == own[0]
    assert len(converted.stats.generated) == 3 + 1


@pytest.mark.slow
def test_lm_eval_s_own_command_line_runs_it(chat_model, tmp_path, jsonl):
    folder = tmp_path / "tasks"
    folder.mkdir()
    command = [
        sys.executable, "-m", "ar_decode.harness", "run", "--model", "ar_decode",
        "--model_args", f"pretrained={chat_model},method=fast_dllm_v2,threshold=0.5,dtype=float32",
        "--tasks", "made_generation", "--include_path", str(task_folder(folder, jsonl)),
        "--output_path", str(tmp_path / "out"), "--batch_size", "2", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "out").rglob("results*.json")
    assert set(json.loads(file.read_text())["results"]) == {"made_generation"}


def test_an_error_of_ours_is_one_sentence_there(monkeypatch, capsys):
    from ar_decode.harness.__main__ import main

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: ArDecodeLM("./no"))
    assert main() == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: There is no checkpoint at './no'")


def test_lm_eval_s_default_device_is_not_insisted_on(plain_model):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here; needs a machine without one")
    assert ArDecodeLM(str(plain_model), device="cuda:0").session.device == "cpu"
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        ArDecodeLM(str(plain_model), device="cuda:1")
