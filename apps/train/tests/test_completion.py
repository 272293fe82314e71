"""What a shell completes, without torch."""

import os
import subprocess
import sys

import pytest
from ar_core.registry import configs, recipe

pytest.importorskip("dlm_text")


def completed(*words: str) -> list[str]:
    """Ask ``ar-train`` as bash does; the last word is being written."""
    script = "import sys\nfrom ar_train.cli import main\nsys.argv = ['ar-train']\nmain()"
    asked = {
        "_AR_TRAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["ar-train", *words]),
        "COMP_CWORD": str(len(words)),
    }
    ran = subprocess.run([sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True)
    return ran.stdout.split()


def test_recipes_and_their_configs():
    assert completed("run", "fast_dllm") == ["fast_dllm_v2"]
    shipped = list(configs(recipe("fast_dllm_v2")))
    assert completed("run", "fast_dllm_v2", "--config", "") == shipped
    assert completed("cat", "fast_dllm_v2/") == [f"fast_dllm_v2/{name}" for name in shipped]


def test_entries_of_the_config_of_the_recipe_that_was_typed():
    assert completed("run", "fast_dllm_v2", "--config", "tiny", "train.lr") == ["train.lr="]
    assert completed("validate", "nonsense", "--config", "") == []
