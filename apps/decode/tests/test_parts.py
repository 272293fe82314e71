"""Collapse columns, replay pieces, prompts that fit."""

import io

import pytest
from ar_core.decoding import Decoded, DecodeStats, Trace
from ar_core.decoding.collapse import collapse_columns, distinct, longest_repeated_span
from ar_core.environment import environment, portable
from ar_core.errors import DataError
from ar_decode.prompts import Prompt, first_that_fit, read_jsonl
from ar_decode.replay import Pass, fragment, pieces, replay_of


@pytest.mark.parametrize(
    ("ids", "span"),
    [([], 0), ([1], 0), ([1, 2, 3], 0), ([1, 1], 1), ([1, 2, 3, 1, 2, 4], 2), ([7] * 6, 5), ([1, 2, 1, 2, 1], 3)],
)
def test_longest_repeated_span(ids, span):
    assert longest_repeated_span(ids) == span


def test_distinct_counts_over_all_outputs():
    assert distinct([[1, 2, 3, 4], [1, 2, 3]], 3) == pytest.approx(2 / 3)
    assert distinct([[1, 2]], 3) == 0
    assert distinct([[5] * 10], 3) == pytest.approx(1 / 8)


def test_columns():
    columns = collapse_columns([[1, 2, 3], [4] * 5], ["stop_id", "length"])
    assert columns.eos_rate == 0.5
    assert columns.mean_length == 4
    assert columns.longest_repeated_span == 2
    assert columns.distinct_3 == pytest.approx(2 / 4)


def test_pieces_join_to_the_text_and_wait_for_whole_characters():
    raw = "aé€!".encode()
    decode = lambda ids: bytes(ids).decode("utf-8", errors="replace")  # noqa: E731
    assert pieces(decode, list(raw)) == ("a", "", "é", "", "", "€", "!")
    assert "".join(pieces(decode, list(raw)[:-2])) == decode(list(raw)[:-2])


def test_a_replay_shows_passes_that_only_store_and_leaves_the_stop_token_out():
    trace = Trace()
    trace.add(0, "prefill", 0, [0], [65], [0.5])
    trace.add(2, "denoise", 0, [2, 1], [67, 66], [0.9, 0.8])
    trace.add(3, "denoise", 0, [3], [0], [0.7])
    stats = DecodeStats(generated=[3])
    for phase in ("prefill", "commit", "denoise", "denoise"):
        with stats.forward(phase, 1, 8):
            pass
    decoded = Decoded([[65, 66, 67]], ["stop_id"], stats, trace)
    replay = replay_of("blocks", decoded, lambda ids: bytes(ids).decode())
    assert replay.tokens == ("A", "B", "C")
    assert replay.passes == (
        Pass("prefill", (0,), (0.5,)),
        Pass("stores only", ()),
        Pass("denoise", (2, 1), (0.9, 0.8)),
        Pass("denoise", (), ()),
    )


def test_replays_refuse_what_they_cannot_show():
    with pytest.raises(DataError, match="2 rows without a trace"):
        replay_of("x", Decoded([[1], [2]], ["length"] * 2, DecodeStats()), str)
    with pytest.raises(DataError, match="without a scene"):
        fragment([])


def test_first_that_fit_takes_no_pick():
    prompts = [Prompt(str(i), "x", category) for i, category in enumerate("aabab")]
    ids = [[0] * n for n in (9, 2, 3, 4, 5)]
    chosen = first_that_fit(prompts, ids, per_category=1, room=5)
    assert [prompt.id for prompt, _ in chosen] == ["1", "2"]
    with pytest.raises(DataError, match="no prompt of the file has at most 1 tokens"):
        first_that_fit(prompts, ids, per_category=1, room=1)


def test_streaming_loses_nothing_when_the_output_ends_inside_a_character():
    from ar_core.decoding import StreamedText

    class Bytes:
        def text(self, ids):
            return bytes(ids).decode("utf-8", errors="replace")

    raw = list("aé€".encode())
    for end in range(len(raw) + 1):
        to = io.StringIO()
        writer = StreamedText(Bytes().text, to)
        for token in raw[:end]:
            writer(0, [token])
            assert "\ufffd" not in to.getvalue()
        writer.finish()
        assert to.getvalue() == Bytes().text(raw[:end])
    to = io.StringIO()
    StreamedText(Bytes().text, to)(0, raw[:4])
    assert to.getvalue() == "aé", "whole characters do not wait for the one behind them"


@pytest.mark.data
def test_spec_bench_is_read_as_it_is(data_dir):
    prompts = read_jsonl(data_dir / "text" / "spec_bench.jsonl")
    assert len(prompts) == 480
    assert prompts[0].id == "81"
    assert prompts[0].text.startswith("Compose an engaging travel blog post")
    chosen = first_that_fit(prompts, ([0] * len(prompt.text) for prompt in prompts), per_category=2, room=10**6)
    assert len(chosen) == 2 * len({prompt.category for prompt in prompts})


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({}, ("1", "")),
        ({"id": None, "category": None}, ("1", "")),
        ({"id": None, "question_id": 7}, ("7", "")),
        ({"id": 0, "question_id": 7, "category": 0}, ("0", "0")),
    ],
)
def test_null_is_no_label(jsonl, more, label):
    (prompt,) = read_jsonl(jsonl({"prompt": "x", **more}))
    assert (prompt.id, prompt.category) == label


@pytest.mark.parametrize("model", ["chat_model", "published_model"])
@pytest.mark.parametrize("method", ["ar", "lookup", "jacobi"])
def test_no_method_may_emit_the_mask_token_of_a_converted_model(request, model, method):
    from ar_decode.methods import Generation, Method, load_method

    source = str(request.getfixturevalue(model))
    session, built = load_method(source, method, {}, None, dtype="stored", device="cpu")
    seen = {}

    def spy(backbone, prompts, options, **how):
        seen.update(how)

    Method(method, built.options, spy).decode(session, [[1], [2]], Generation(seed=3), first_index=5)
    assert seen["sampler"].banned_ids == (session.tokenizer.get_vocab()["|<MASK>|"],)
    assert seen["stop"].stop_ids == {session.tokenizer.eos_token_id}
    assert len(set(seen["seed"])) == 2


def test_a_recorded_command_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = ["prog", "--runs", str(tmp_path / "runs" / "a"), "/elsewhere/model", "key=value", "plain"]
    monkeypatch.setattr("sys.argv", arguments)
    assert environment("cpu")["command"] == "prog --runs runs/a .../model key=value plain"


def test_paths_inside_of_texts_and_settings_are_made_portable(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = {
        "drafter": f"{tmp_path}/runs/a",
        "nodes": 3,
        "more": ["/elsewhere/p", None],
        "asked": f"d={tmp_path}/b k=1/2",
    }
    assert portable(settings) == {
        "drafter": "runs/a", "nodes": 3, "more": [".../p", None], "asked": "d=b k=1/2"
    }  # fmt: skip
