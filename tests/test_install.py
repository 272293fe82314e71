"""What users install: wheels built from this checkout, each alone in a fresh environment outside of it."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")
LANGUAGE = {"transformers", "tokenizers", "peft", "datasets"}
TRAINING = {"lightning", "torchtune", "torchao", "ray"}
APPLICATIONS = {"typer", "rich"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the wheels of all members."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([UV, "build", "--all-packages", "--wheel", "--out-dir", folder, "-q"], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked versions, so that an environment here differs from the workspace's by what it lacks, not by releases."""
    command = [
        UV,
        "export",
        "--locked",
        "--no-hashes",
        "--no-dev",
        "--no-header",
        "--no-emit-workspace",
        "--all-packages",
    ]
    text = subprocess.run([*command, "--all-extras"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(line for line in text.splitlines() if re.match(r"^[a-z0-9._-]+==", line)))
    return path


@pytest.fixture
def install(wheels: Path, constraints: Path, tmp_path: Path):
    """Install requirements into a fresh environment; returns its interpreter and the names it holds."""

    def build(*requirements: str) -> tuple[Path, set[str]]:
        environment = tmp_path / "environment"
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, environment], check=True)
        python = environment / "bin" / "python"
        command = [UV, "pip", "install", "-q", "--python", python, "--find-links", wheels, "--constraint", constraints]
        subprocess.run([*command, *requirements], check=True, cwd=tmp_path)
        listed = subprocess.check_output([UV, "pip", "freeze", "--python", python], text=True)
        return python, set(re.findall(r"^([A-Za-z0-9._-]+)", listed, re.MULTILINE))

    return build


def run(python: Path, *arguments: str, expect: int = 0) -> str:
    """Run in the environment, away from the checkout, without its variables."""
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([python, *arguments], capture_output=True, text=True, cwd=python.parent, env=clean)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_wheels_hold_code_licence_and_type_marker(wheels):
    names = sorted(path.name.split("-")[0] for path in wheels.glob("*.whl"))
    assert names == ["ar_core", "ar_decode", "ar_kernels", "ar_quickstart", "ar_train", "ar_vision", "dlm_text", "dvlm"]
    for path in wheels.glob("*.whl"):
        package = path.name.split("-")[0]
        files = zipfile.ZipFile(path).namelist()
        assert f"{package}/py.typed" in files
        assert any(name.endswith("licenses/LICENSE") for name in files)
        assert not [name for name in files if "tests/" in name]


def test_ar_core_alone(install):
    python, names = install("ar-core")
    assert "ar-kernels" in names
    assert not names & (LANGUAGE | TRAINING | APPLICATIONS)
    run(python, "-c", "import ar_core.masks, ar_core.attention, ar_core.cache, ar_core.training, ar_core.verification")
    message = run(python, "-c", "import ar_core.hf", expect=1)
    assert "ar-core[hf]" in message


def test_ar_vision_alone(install):
    python, names = install("ar-vision")
    assert not names & (LANGUAGE | TRAINING | APPLICATIONS)
    run(python, "-c", "import ar_vision")


def test_dlm_text_alone(install):
    python, names = install("dlm-text")
    assert {"ar-core", "transformers"} <= names
    # typer and rich come with transformers itself.
    assert not names & (TRAINING | {"peft", "datasets", "ar-train", "ar-vision"})
    run(python, "-c", "import dlm_text.fast_dllm_v2.decode, ar_core.hf")


def test_dvlm_alone(install):
    python, names = install("dvlm")
    assert {"ar-core", "transformers", "pillow"} <= names
    assert not names & (TRAINING | {"peft", "datasets", "torchvision", "ar-train", "ar-vision", "dlm-text"})
    run(python, "-c", "import dvlm.layouts.load, dvlm.chat.encode, dvlm.images.processor")


def test_ar_train_with_dlm_text(install):
    python, names = install("ar-train", "dlm-text[train]")
    assert not names & {"ar-vision", "dvlm", "ar-quickstart", "ar-decode"}
    listed = run(python, str(python.with_name("ar-train")), "ls")
    assert "fast_dllm_v2" in listed
    tune = python.with_name("tune")
    done = subprocess.run(
        [
            tune, "run", "dlm_text/fast_dllm_v2/recipes/fast_dllm_v2.py", "--config", "tiny",
            "train.steps=2",
            "train.warmup_steps=1", f"train.checkpoint_dir={python.parent / 'run'}",
        ],
        capture_output=True, text=True, cwd=python.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_ar_decode_alone_names_the_package_of_a_command(install):
    python, names = install("ar-decode")
    assert not names & {"ar-vision", "dlm-text", "dvlm"}
    said = run(python, str(python.with_name("ar-decode")), "image", "output=a.png", expect=2)
    assert "the command 'image' is in the package ar-vision; install it with `pip install ar-vision`" in said
