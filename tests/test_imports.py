"""What an import pulls in, checked in fresh interpreters."""

import subprocess
import sys

import pytest

HEAVY = ("lightning", "transformers", "triton", "torchtune", "peft", "datasets")


def loaded(statement: str, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that are in the module table of a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(*[n for n in {names!r} if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_the_check_can_fail():
    assert loaded("import json, sqlite3", ("sqlite3", "tomllib")) == ["sqlite3"]


@pytest.mark.parametrize(
    "module",
    [
        "ar_core",
        "ar_core.masks",
        "ar_core.attention",
        "ar_core.cache",
        "ar_core.corruption",
        "ar_core.sampling",
        "ar_core.decoding",
        "ar_core.evaluation",
        "ar_core.block_diffusion",
        "ar_core.verification",
        "ar_core.training",
        "ar_core.io",
        "ar_vision",
    ],
)
def test_base_rooms_import_no_optional_package(module):
    assert loaded(f"import {module}", HEAVY) == loaded("import torch", HEAVY)


@pytest.mark.parametrize(
    "module",
    [
        "ar_core",
        "ar_core.config",
        "ar_core.registry",
        "dlm_text",
        "dvlm",
        "dvlm.decoding",
        "dvlm.diffusionvl",
        "dvlm.evaluation",
        "ar_train.cli",
        "ar_decode.cli",
    ],
)
def test_command_lines_start_without_torch(module):
    assert loaded(f"import {module}", ("torch", *HEAVY)) == []


def test_core_adds_little_to_the_import_of_torch():
    # Both figures come from one interpreter, so that a busy machine slows them alike; the best of three is kept.
    code = (
        "import time, torch\nstart = time.perf_counter()\nimport ar_core, ar_core.masks, ar_core.attention, ar_core.cache\n"
        "print(time.perf_counter() - start)"
    )
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3))
    assert seconds <= 0.2, f"importing ar_core took {seconds:.3f} s after torch"
