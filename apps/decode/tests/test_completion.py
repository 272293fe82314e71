"""What a shell completes, without torch."""

import os
import subprocess
import sys

import pytest
from ar_core import registry


def completed(*words: str) -> list[str]:
    """Ask ``ar-decode`` as bash does; the last word is being written."""
    script = "import sys\nfrom ar_decode.cli import main\nsys.argv = ['ar-decode']\nmain()"
    asked = {
        "_AR_DECODE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["ar-decode", *words]),
        "COMP_CWORD": str(len(words)),
    }
    ran = subprocess.run([sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True)
    return ran.stdout.split()


def test_commands_and_options():
    assert completed("ver") == ["verify", *(["verify-pairs"] if "verify-pairs" in registry.commands() else [])]
    assert "--method" in completed("text", "m", "--met")


def test_methods_evaluations_and_their_protocols():
    assert completed("text", "m", "--method", "loo") == ["lookup"]
    pytest.importorskip("dlm_text")
    assert completed("eval", "m", "human") == ["humaneval"]
    protocols = registry.evaluation("gsm8k").protocols
    assert completed("eval", "m", "gsm8k", "--protocol", "") == list(protocols)


def test_settings_of_announced_commands():
    pytest.importorskip("dlm_text")
    assert completed("fit-proxy", "vo") == ["vocab_size="]


def test_an_install_option_is_offered():
    assert "--install-completion" in completed("--install")
