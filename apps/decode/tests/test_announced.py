"""Subcommands that other packages announce, on the one that dlm-text brings."""

import json

from ar_core import registry


def test_settings_in_and_a_line_out(ar_decode, jsonl, tmp_path):
    corpus = jsonl(*[json.dumps({"ids": [1, 2, 3]})] * 3)
    out = ar_decode("fit-proxy", f"corpus={corpus}", f"output={tmp_path / 'p.safetensors'}", "vocab_size=5", "order=2")
    assert out.code == 0
    assert out.out.startswith("9 tokens of 3 records, order 2")
    assert (tmp_path / "p.safetensors").is_file()


def test_wrong_settings_are_one_sentence(ar_decode):
    for arguments, message in [
        ((), "the key 'corpus' is missing"),
        (("corpus=a", "output=b.safetensors", "vocab=5"), "unknown key 'vocab'"),
        (("corpus=a", "output=b.safetensors", "vocab_size=5"), "the data file 'a' does not exist"),
        (("corpus=a: b", "output=b.safetensors", "vocab_size=5"), "the data file 'a: b' does not exist"),
    ]:
        out = ar_decode("fit-proxy", *arguments)
        assert out.code == 2
        assert message in out.err
        assert len(out.err.strip().splitlines()) == 1


def test_help_lists_every_setting(ar_decode):
    out = ar_decode("fit-proxy", "--help").out
    for part in ("corpus", "Path, required", "Never test data", "vocab_size", "order", "int = 3", "fields", "[text]"):
        assert part in out


def test_diffuspec_says_that_it_needs_a_drafter(ar_decode, plain_model):
    out = ar_decode("text", plain_model, "a", "--method", "diffuspec")
    assert out.code == 2
    assert "the key 'drafter' is missing" in out.err


def test_diffuspec_with_a_converted_drafter_gives_the_tokens_of_the_model(ar_decode, plain_model, chat_model):
    expected = ar_decode("text", plain_model, "abc abc", "-n", 24)
    out = ar_decode("text", plain_model, "abc abc", "-n", 24, "--method", "diffuspec", "--set", f"drafter={chat_model}")
    assert (out.code, out.out) == (0, expected.out)
    assert "draft" in out.err


def test_a_command_of_an_absent_package_names_the_package(refused, monkeypatch):
    monkeypatch.setitem(registry.HOMES, "paint", "ar-absent")
    refused(
        "paint", "a=1", says="the command 'paint' is in the package ar-absent; install it with `pip install ar-absent`"
    )


def test_an_unknown_command_is_a_usage_error(ar_decode):
    out = ar_decode("paint")
    assert out.code == 2
    assert "there is no command 'paint'" in out.err


def test_announced_commands_have_a_home():
    assert {name for name in registry.commands() if name not in registry.HOMES} == set()
