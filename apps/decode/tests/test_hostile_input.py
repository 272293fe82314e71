"""Prompts, profiles and notes that are damaged or malicious."""

import json

import pytest
from ar_core.errors import ConfigError, DataError, ResumeError
from ar_decode.output import GrowingFile
from ar_decode.profile import read_profile
from ar_decode.prompts import read_jsonl


@pytest.mark.parametrize("line", ["[" * 9999, '{"prompt": "\\ud800"}', '{"id": ' + "9" * 5000 + ', "prompt": "a"}'])
def test_prompts_are_refused_by_their_line(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"line 2 of .* is no JSON"):
        read_jsonl(tmp_path / "a.jsonl")


@pytest.mark.parametrize("chat", [False, True])
def test_bytes_on_the_command_line_that_are_no_text(refused, chat_model, chat):
    given = b"ab\xff\xfec".decode("utf-8", "surrogateescape")
    refused(
        "text", chat_model, given, *(["--chat"] if chat else []), says="is no UTF-8 text (at character 3); give text"
    )


def test_bytes_in_a_chat_that_are_no_text(refused, chat_model, monkeypatch):
    monkeypatch.setattr("ar_decode.commands.text.input", lambda shown: "ab\udcff", raising=False)
    refused("text", chat_model, "--chat", says="is no UTF-8 text")


@pytest.mark.parametrize("method", ["ar", "jacobi"])
def test_a_mask_token_that_is_no_id(refused, copy, method):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "mask_token_id": "x"}))
    refused("text", copy, "Hi", "-n", 2, "-m", method, says="has mask_token_id 'x', which must be an integer")


def test_a_profile_that_is_too_deep(tmp_path):
    (tmp_path / "a.json").write_text("[" * 9999)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_profile(tmp_path / "a.json")


def test_a_note_that_is_none_is_of_another_job(tmp_path):
    (tmp_path / "a.partial").write_text("1\n")
    (tmp_path / "a.partial.job").write_text("[" * 9999)
    with pytest.raises(ResumeError, match="was absent"), GrowingFile(tmp_path / "a", {"seed": 1}, resume=True):
        pass
