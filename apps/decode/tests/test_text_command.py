"""``ar-decode text``: one prompt, JSONL, chat, streaming, methods, statistics."""

import json

import pytest

METHODS = ("ar", "lookup", "jacobi")


@pytest.mark.parametrize("method", METHODS)
def test_one_prompt_streamed_equals_printed_and_all_lossless_methods_agree(ar_decode, plain_model, method):
    arguments = ("text", plain_model, "The cat sat on the mat. The cat", "-n", 19)
    expected = ar_decode(*arguments)
    assert expected.code == 0
    assert len(expected.out) > 10
    for extra in ((), ("--stream",)):
        outcome = ar_decode(*arguments, "--method", method, *extra)
        assert outcome.out == expected.out
        assert f"{method}: 19 tokens" in outcome.err
        assert "tokens per forward" in outcome.err
        assert ("drafts judged" in outcome.err) == (method != "ar")


def test_sampling_is_a_function_of_the_seed(ar_decode, plain_model):
    def run(seed, method="ar"):
        return ar_decode("text", plain_model, "Hello", "-n", 12, "-t", 0.9, "--seed", seed, "--method", method).out

    assert run(1) == run(1) == run(1, "jacobi")
    assert run(1) != run(2)


@pytest.mark.parametrize("narrow", [("--top-k", 1), ("--top-p", 1e-9), ("--min-p", 1)])
@pytest.mark.parametrize("method", METHODS)
def test_filters_that_leave_one_token_equal_greedy(ar_decode, plain_model, narrow, method):
    text = ("text", plain_model, "Hello", "-n", 12)
    assert ar_decode(*text, "-m", method, "-t", 2, *narrow).out == ar_decode(*text).out


def test_jsonl_in_and_out_keeps_order_and_labels_in_any_batch(ar_decode, chat_model, jsonl, tmp_path):
    source = jsonl(
        {"prompt": "one two one two", "id": "a"},
        {"messages": [{"role": "user", "content": "hi"}], "category": "chat", "extra": 1},
        "",
        {"question_id": 7, "category": "writing", "turns": ["first turn", "second turn"]},
    )
    results = []
    for batch in (1, 2, 3):
        target, statistics = tmp_path / f"out{batch}.jsonl", tmp_path / f"stats{batch}.json"
        outcome = ar_decode(
            *("text", chat_model, "-i", source, "-o", target, "-n", 9, "-b", batch, "-t", 0.7),
            *("--method", "lookup", "--statistics", statistics),
        )
        assert (outcome.code, outcome.out) == (0, "")
        results.append([json.loads(line) for line in target.read_text().splitlines()])
        figures = json.loads(statistics.read_text())
        assert figures["method"]["name"] == "lookup"
        assert len(figures["generated"]) == 3
        assert figures["drafts"]["judged"] == figures["drafted_at"]["1"]
    assert results[0] == results[1] == results[2]
    assert [(r["id"], r.get("category")) for r in results[0]] == [("a", None), ("2", "chat"), ("7", "writing")]
    assert [r["prompt"] for r in results[0]] == ["one two one two", "hi", "first turn"]
    assert all(len(r["tokens"]) == 9 or r["finish"] == "stop_id" for r in results[0])
    printed = ar_decode("text", chat_model, "-i", source, "-n", 9, "-t", 0.7)
    assert [json.loads(line)["output"] for line in printed.out.splitlines()] == [r["output"] for r in results[0]]


def test_chat_uses_the_template_and_carries_the_conversation(ar_decode, chat_model, monkeypatch):
    once = ar_decode("text", chat_model, "hi", "--chat", "-n", 6)
    raw = ar_decode("text", chat_model, "<user>hi</s><assistant>", "-n", 6)
    assert once.out == raw.out
    lines = iter(["hi", "and?", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    talk = ar_decode("text", chat_model, "--chat", "-n", 6)
    assert talk.code == 0
    assert talk.out.startswith(once.out)
    assert "prefill 2" in talk.err


def test_a_stop_text_ends_the_output(ar_decode, plain_model):
    full = ar_decode("text", plain_model, "Hello", "-n", 20).out.rstrip("\n")
    cut = ar_decode("text", plain_model, "Hello", "-n", 20, "--stop", full[5:8]).out.rstrip("\n")
    assert cut == full[: full.index(full[5:8])]


def test_a_stop_text_that_is_a_special_token_ends_the_output(ar_decode, copy):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|a|>", "<|b|>", "<|end|>"]})
    tokenizer.save_pretrained(copy)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    whole = json.loads(ar_decode("text", copy, "Hello", "-n", 20, "--json").out)["answers"][0]
    assert end in whole["tokens"], "else the stop text has nothing to end"
    cut = json.loads(ar_decode("text", copy, "Hello", "-n", 20, "--stop", "<|end|>", "--json").out)["answers"][0]
    assert cut["tokens"] == whole["tokens"][: whole["tokens"].index(end)]
    assert cut["finish"] == "stop_id"


def test_a_converted_model_decodes_blocks_with_its_own_sizes(ar_decode, chat_model, tmp_path):
    pytest.importorskip("dlm_text")
    statistics = tmp_path / "s.json"
    arguments = (
        "text",
        chat_model,
        "Once upon a time",
        "-n",
        16,
        "--method",
        "fast_dllm_v2",
        "--statistics",
        statistics,
    )
    assert ar_decode(*arguments).code == 0
    figures = json.loads(statistics.read_text())
    assert figures["method"]["diffusion_block_size"] == 8
    assert figures["method"]["sub_block_size"] == 4
    assert figures["forwards"]["denoise"] >= 1
    fast = (*arguments, "--force", "--threshold", 0, "--block-size", 4, "--set", "commit=fused")
    assert ar_decode(*fast).code == 0
    after = json.loads(statistics.read_text())
    assert after["method"]["threshold"] == 0
    assert after["method"]["diffusion_block_size"] == 4
    assert after["forwards"]["fused"] >= 1
    assert "fused" not in figures["forwards"]
