"""Lint, formatting, types and import contracts of the whole workspace."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = sorted(
    path.parent for pattern in ("kernels", "packages/*", "apps/*") for path in ROOT.glob(f"{pattern}/pyproject.toml")
)


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing():
    run("ruff", "check", ".")


def test_ruff_would_reformat_nothing():
    run("ruff", "format", "--check", ".")


@pytest.mark.timeout(900)
def test_types_hold():
    run("mypy", *[str(member / "src") for member in MEMBERS], str(ROOT / "tools" / "release" / "src"))


def test_ignored_types_say_what_and_why():
    lines = [
        f"{path.relative_to(ROOT)}:{number}"
        for member in MEMBERS
        for path in sorted((member / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "type: ignore" in line and not re.search(r"# type: ignore\[[a-z, -]+\]  # \w.{5}", line)
    ]
    assert not lines


def test_imports_point_one_way():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_hold_one_concept_each():
    exempt = re.compile(r"/tests/|^tests/|backbones/|tokenizers/|^kernels/")
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
    long = {
        name: n
        for name in listed
        if not exempt.search(name) and (n := len((ROOT / name).read_text().splitlines())) > 400
    }
    assert not long
    assert not [name for name in listed if Path(name).stem in {"utils", "util", "helpers", "helper", "manager"}]


def test_no_committed_file_is_generated_bulk():
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).strip("\0").split("\0")
    sizes = {name: (ROOT / name).stat().st_size for name in listed}
    weights = {name: size for name, size in sizes.items() if name.endswith((".safetensors", ".bin", ".pt"))}
    assert max(sizes.values()) <= 10 * 2**20
    assert sum(weights.values()) <= 24 * 2**20
