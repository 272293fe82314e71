"""Help and listings are quick: no torch, and every command shows how it is called."""

import subprocess
import sys

import pytest
from ar_core import registry

COMMANDS = ("text", "bench", "eval", "tune", "trace", "verify", *registry.commands())


def heavy_modules(code: str) -> str:
    watched = "{'torch', 'transformers', 'numpy'}"
    script = f"import sys\n{code}\nprint('loaded:', sorted({watched} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("arguments", [["--help"], *[[command, "--help"] for command in COMMANDS]])
def test_help_imports_no_torch(arguments):
    out = heavy_modules(
        f"sys.argv = ['ar-decode', *{arguments!r}]\n"
        "from ar_decode.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert "loaded: []" in out


def test_the_check_above_can_fail():
    assert "loaded: ['numpy', 'torch']" in heavy_modules("import torch")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command, ar_decode):
    outcome = ar_decode(command, "--help")
    assert outcome.code == 0
    assert "Examples" in outcome.out
    assert outcome.out.count(f"ar-decode {command} ") >= 2


def test_no_command_shows_the_help_and_an_unknown_one_is_an_error(ar_decode):
    assert "Usage" in ar_decode().out
    assert ar_decode("txet").code == 2
