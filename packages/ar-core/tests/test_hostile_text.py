"""JSON and messages from files that anyone may have written."""

import pytest
from ar_core.errors import ArError, CheckpointError, DataError, MissingPackageError
from ar_core.json_text import DEEPEST, parse_json, read_json


def test_json_that_is_walked_through_is_not_too_deep():
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    for deep in (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), b'{"a":' * 100_000, "[" * 100_000):
        with pytest.raises(ValueError, match=r"nested more than 100|Expecting"):
            parse_json(deep)


def test_half_a_character_is_refused_and_a_whole_one_is_not():
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"
    assert parse_json('"\\\\ud83d"') == "\\ud83d"
    for text in ('{"a": "\\ud83d"}', b'{"\\uDE00": 1}'):
        with pytest.raises(ValueError, match="half a character"):
            parse_json(text)


def test_a_file_of_json_raises_what_it_says(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_json(tmp_path / "a.json")
    with pytest.raises(OSError, match="No such file"):
        read_json(tmp_path / "b.json")


def test_messages_are_one_printable_line():
    for kind in (ArError, CheckpointError, DataError, MissingPackageError):
        text = str(kind("it has the key 'a\n\x1b[31m\u202e\ud800' and ü"))
        assert text == "it has the key 'a\\n\\x1b[31m\\u202e\\ud800' and ü"
    assert str(ArError("it has " + "x" * 10_000 + "; remove them")).endswith("xxx; remove them")
    assert len(str(ArError("x" * 10_000))) <= 2010
