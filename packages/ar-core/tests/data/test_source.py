"""From a file to the sample stream: encoding, caching, shuffling, resuming."""

import itertools
import json
import pickle

import pytest
import torch
from ar_core.data import TextDataConfig, build_source
from ar_core.data.encode import encoder
from ar_core.data.records import Record
from ar_core.errors import ConfigError, DataError


@pytest.fixture
def stories(tmp_path):
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": f"story {n} " + "x" * (n % 13)}) + "\n" for n in range(60)))
    return path


def _config(path, tmp_path, **settings) -> TextDataConfig:
    if not settings.get("streaming"):
        settings.setdefault("cache_dir", str(tmp_path / "rows"))
    return TextDataConfig(**{"kind": "text", "path": str(path), "seq_len": 24, **settings})


def _take(source, start: int, count: int) -> list[dict]:
    return list(itertools.islice(source.open(start), count))


def _same(a: list[dict], b: list[dict]) -> bool:
    return len(a) == len(b) and all(
        x["index"] == y["index"] and all(torch.equal(x[key], y[key]) for key in ("ids", "labels", "document"))
        for x, y in zip(a, b)
    )


def _encode(tokenizer, data: dict, **settings):
    return encoder(TextDataConfig(**{"path": "a", **settings}), tokenizer)(Record("f, line 1", data))


def test_text_is_supervised_throughout(chatml) -> None:
    document = _encode(chatml, {"text": "ab"}, kind="text")
    assert chatml.decode(document.ids.tolist()) == "ab<|im_end|>"
    assert document.supervised.all()


@pytest.mark.parametrize(
    ("post", "prepend", "append", "expected"),
    [
        (False, None, True, "ab<|im_end|>"),
        (True, None, True, "<bos>ab<|im_end|>"),
        (False, True, False, "<bos>ab"),
        (True, True, False, "<bos>ab"),
        (True, False, False, "ab"),
    ],
)
def test_begin_and_end_tokens(build_tokenizer, post, prepend, append, expected) -> None:
    tokenizer = build_tokenizer(None, post)
    document = _encode(tokenizer, {"text": "ab"}, kind="text", prepend_bos=prepend, append_eos=append)
    assert tokenizer.decode(document.ids.tolist()) == expected


def test_problems_of_a_task_begin_with_bos(chatml) -> None:
    data = {"prompt": "1+1=", "completion": "2"}
    settings = {"kind": "task", "task": "t", "count": 1, "path": None}
    assert chatml.decode(_encode(chatml, data, **settings).ids.tolist()) == "<bos>1+1=2<|im_end|>"
    assert chatml.decode(_encode(chatml, data, **settings, prepend_bos=False).ids.tolist()) == "1+1=2<|im_end|>"


def test_prompt_and_completion(chatml) -> None:
    data = {"question": "1+1=\n", "answer": "2"}
    fields = {"prompt": "question", "completion": "answer"}
    document = _encode(chatml, data, kind="prompt", fields=fields)
    assert chatml.decode(document.ids.tolist()) == "1+1=\n2<|im_end|>"
    assert document.supervised.tolist() == [False] * 5 + [True] * 2
    chat = _encode(chatml, data, kind="prompt", fields=fields, chat_template=True)
    assert chatml.decode(chat.ids.tolist()) == (
        "<|im_start|>user\n1+1=<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
    )
    assert chatml.decode(chat.ids[chat.supervised].tolist()) == "2<|im_end|>"


def test_chat_records(chatml) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    document = _encode(chatml, {"turns": messages}, kind="chat", fields={"messages": "turns"})
    assert chatml.decode(document.ids[document.supervised].tolist()) == "b<|im_end|>"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"txt": "a", "id": 3}, "f, line 1: the field 'text' is missing (there are: txt, id)"),
        ({"text": ""}, "the field 'text' is ''; give a text that is not empty"),
        ({"text": 3}, "the field 'text' is 3"),
    ],
)
def test_bad_fields(chatml, data, message) -> None:
    with pytest.raises(DataError) as caught:
        _encode(chatml, data, kind="text")
    assert message in str(caught.value)


def test_tokens_the_tokenizer_lacks(build_tokenizer) -> None:
    tokenizer = build_tokenizer()
    tokenizer.eos_token = tokenizer.bos_token = None
    with pytest.raises(ConfigError, match="no EOS token"):
        _encode(tokenizer, {"text": "a"}, kind="text")
    with pytest.raises(ConfigError, match="no BOS token"):
        _encode(tokenizer, {"text": "a"}, kind="text", append_eos=False, prepend_bos=True)
    assert len(_encode(tokenizer, {"text": "a"}, kind="text", append_eos=False)) == 1


def test_every_token_appears_once_an_epoch(stories, tmp_path, chatml) -> None:
    source = build_source(_config(stories, tmp_path), chatml, seed=3, pad_id=0, block_size=4)
    size = len(source)
    facts = source.describe()
    assert facts["rows"] == size
    assert facts["documents"] == 60
    epochs = [_take(source, start, size) for start in (0, size)]
    for epoch in epochs:
        supervised = sum(int((sample["labels"] != -100).sum()) for sample in epoch)
        assert supervised == facts["tokens"] == facts["supervised_tokens"]
    rows = [sorted(tuple(sample["ids"].tolist()) for sample in epoch) for epoch in epochs]
    assert rows[0] == rows[1] == sorted(tuple(sample["ids"].tolist()) for sample in source.once())
    orders = [[tuple(sample["ids"].tolist()) for sample in epoch] for epoch in epochs]
    assert orders[0] != orders[1], "every epoch has its own order"
    assert [sample["index"] for sample in epochs[1]] == list(range(size, 2 * size))


def test_types_and_labels(stories, tmp_path, chatml) -> None:
    source = build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0, block_size=4)
    for sample in _take(source, 0, 5):
        for key in ("ids", "labels", "document"):
            assert sample[key].dtype == torch.int64
            assert sample[key].shape == (24,)
        supervised = sample["labels"] != -100
        assert torch.equal(sample["labels"][supervised], sample["ids"][supervised])
        assert (sample["ids"][~supervised] == 0).all(), "only padding is unsupervised in plain text"


@pytest.mark.parametrize("streaming", [False, True])
def test_resuming_is_opening_at_the_right_place(stories, tmp_path, chatml, streaming) -> None:
    settings = {"streaming": True, "shuffle_buffer": 7} if streaming else {}
    config = _config(stories, tmp_path, **settings)
    whole = _take(build_source(config, chatml, seed=5, pad_id=0), 0, 120)
    for start in (0, 1, 13, 40, 77):
        assert _same(_take(build_source(config, chatml, seed=5, pad_id=0), start, 43), whole[start : start + 43])
    assert not _same(_take(build_source(config, chatml, seed=6, pad_id=0), 0, 43), whole[:43])


def test_streamed_rows_are_the_stored_ones(stories, tmp_path, chatml) -> None:
    stored = build_source(_config(stories, tmp_path), chatml, seed=5, pad_id=0, block_size=4)
    config = _config(stories, tmp_path, streaming=True, shuffle_buffer=7)
    streamed = build_source(config, chatml, seed=5, pad_id=0, block_size=4)
    size = len(stored)
    in_order = [sample["ids"].tolist() for sample in stored.once()]
    orders = [[sample["ids"].tolist() for sample in _take(streamed, start, size)] for start in (0, size)]
    for order in orders:
        assert sorted(order) == sorted(in_order)
        assert order != in_order
    assert orders[0] != orders[1], "every epoch has its own order"


def test_rows_are_made_once(stories, tmp_path, chatml, monkeypatch) -> None:
    config = _config(stories, tmp_path)
    first = build_source(config, chatml, seed=0, pad_id=0)
    monkeypatch.setattr("ar_core.data.build.encoder", lambda *_: pytest.fail("tokenised again"))
    again = build_source(config, chatml, seed=0, pad_id=0)
    assert _same(_take(first, 0, 9), _take(again, 0, 9))
    assert first.describe() == again.describe()


@pytest.mark.parametrize(
    "change",
    [
        {"block_size": 8},
        {"pad_id": 1},
        {"block_size": 8, "reference_padding": True},
        {"config": {"packing": "whole"}},
        {"config": {"seq_len": 32}},
        {"config": {"count": 9}},
        {"config": {"append_eos": False}},
        {"config": {"held_out": 0.3}},
        {"config": {"held_out": 0.3}, "split": "held_out"},
        {"content": True},
        {"template": True},
    ],
)
def test_whatever_rows_depend_on_is_in_the_fingerprint(stories, tmp_path, build_tokenizer, change) -> None:
    arguments = {"seed": 0, "pad_id": 0}
    base = build_source(_config(stories, tmp_path), build_tokenizer(), **arguments)
    if change.pop("content", False):
        stories.write_text(stories.read_text() + '{"text": "one more"}\n')
    tokenizer = build_tokenizer("{{ messages }}" if change.pop("template", False) else None)
    config = _config(stories, tmp_path, **change.pop("config", {}))
    other = build_source(config, tokenizer, **{**arguments, **change})
    assert other.describe()["fingerprint"] != base.describe()["fingerprint"]


def test_where_the_file_lies_does_not_matter(stories, tmp_path, chatml) -> None:
    base = build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0)
    moved = stories.rename(tmp_path / "moved.jsonl")
    other = build_source(_config(moved, tmp_path), chatml, seed=0, pad_id=0)
    assert other.describe()["fingerprint"] == base.describe()["fingerprint"]


def test_train_and_held_out_are_disjoint_and_complete(stories, tmp_path, chatml) -> None:
    config = _config(stories, tmp_path, held_out=0.3, packing="whole")
    parts = {}
    for split in ("train", "held_out"):
        source = build_source(config, chatml, seed=0, pad_id=0, split=split)
        texts = []
        for sample in source.once():
            for number in range(int(sample["document"].max()) + 1):
                ids = sample["ids"][sample["document"] == number]
                if ids.any():
                    texts.append(chatml.decode(ids.tolist()).split("<|im_end|>")[0])
        parts[split] = texts
    assert not set(parts["train"]) & set(parts["held_out"])
    assert sorted(parts["train"] + parts["held_out"]) == sorted(json.loads(line)["text"] for line in stories.open())
    assert 5 < len(parts["held_out"]) < 35


def test_nothing_held_out(stories, tmp_path, chatml) -> None:
    with pytest.raises(ConfigError, match="nothing is held out"):
        build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0, split="held_out")


@pytest.mark.parametrize("block_size", [5, 7, 48, 0])
def test_block_size_must_divide(stories, tmp_path, chatml, block_size) -> None:
    with pytest.raises(ConfigError, match=f"seq_len is 24, which is no multiple of the block size {block_size}"):
        build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0, block_size=block_size)


def test_a_bad_line_leaves_no_rows_behind(stories, tmp_path, chatml) -> None:
    good = stories.read_text()
    stories.write_text(good + "{broken\n")
    with pytest.raises(DataError, match="line 61: this is not valid JSON"):
        build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0)
    assert list((tmp_path / "rows").iterdir()) == []


def test_a_bad_line_is_named_while_streaming(stories, tmp_path, chatml) -> None:
    stories.write_text(stories.read_text() + "{broken\n")
    source = build_source(_config(stories, tmp_path, streaming=True), chatml, seed=0, pad_id=0)
    with pytest.raises(DataError, match="line 61"):
        _take(source, 0, 100)


@pytest.mark.parametrize("streaming", [False, True])
def test_no_rows_is_an_error_and_not_an_endless_wait(tmp_path, chatml, streaming) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    with pytest.raises(DataError, match="not a single row"):
        _take(build_source(_config(path, tmp_path, streaming=streaming), chatml, seed=0, pad_id=0), 0, 1)


def test_damaged_rows_are_refused(stories, tmp_path, chatml) -> None:
    config = _config(stories, tmp_path)
    source = build_source(config, chatml, seed=0, pad_id=0)
    ids = source.store.folder / "ids.bin"
    ids.write_bytes(ids.read_bytes()[:-4])
    with pytest.raises(DataError, match="are damaged"):
        build_source(config, chatml, seed=0, pad_id=0)
    (source.store.folder / "meta.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        build_source(config, chatml, seed=0, pad_id=0)


def test_a_cache_folder_that_cannot_be_written(stories, tmp_path, chatml) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="set cache_dir"):
        build_source(_config(stories, tmp_path, cache_dir=str(tmp_path / "file" / "x")), chatml, seed=0, pad_id=0)


def test_sources_travel_to_worker_processes(stories, tmp_path, chatml) -> None:
    stories.write_text(stories.read_text() * 50)
    source = build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0)
    before = _take(source, 0, 3)
    packed = pickle.dumps(source)
    assert len(packed) < 10_000 < (source.store.folder / "ids.bin").stat().st_size, "the rows are not pickled"
    assert _same(_take(pickle.loads(packed), 0, 3), before)


def test_default_cache_folder(stories, chatml, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    source = build_source(TextDataConfig("text", path=str(stories), seq_len=24), chatml, seed=0, pad_id=0)
    assert source.store.folder.parent == tmp_path / "home" / "ar-core" / "rows"


def test_progress_is_shown_on_a_terminal_only(stories, tmp_path, chatml, monkeypatch, capsys) -> None:
    build_source(_config(stories, tmp_path), chatml, seed=0, pad_id=0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    build_source(_config(stories, tmp_path, count=50), chatml, seed=0, pad_id=0)
    assert "tokenising train" in capsys.readouterr().err


@pytest.mark.data
def test_real_stories(data_dir, stories260k, tmp_path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(stories260k)
    config = _config(data_dir / "text" / "tinystories_train.jsonl.gz", tmp_path, seq_len=128, count=100)
    source = build_source(config, tokenizer, seed=0, pad_id=0, block_size=8)
    rows = list(source.once())
    assert source.describe()["documents"] == 100
    begins = [sample["document"].diff(prepend=torch.tensor([-1])).ne(0) for sample in rows]
    starts = torch.cat([sample["ids"][begin] for sample, begin in zip(rows, begins)])
    assert (starts == tokenizer.bos_token_id).sum() == 100
