"""The workflows of continuous integration call commands that exist here, for the versions that the packages name."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ar_release.cli import app
from ar_release.metadata import PYTHONS
from ar_release.tags import parse_tag
from ar_release.workspace import find_workspace

ROOT = Path(__file__).resolve().parents[1]
UV = os.environ.get("UV", "uv")
FOLDER = ROOT / ".github" / "workflows"
NAMES = ["ci", "release"]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
HOSTED = {"cat", "echo", "gh", "git"}
"""Programs of the machines that GitHub lends."""
UNPINNED = {
    "actions/checkout@v4",
    "actions/download-artifact@v4",
    "actions/upload-artifact@v4",
    "astral-sh/setup-uv@v6",
    "pypa/gh-action-pypi-publish@release/v1",
}


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text())


def steps(name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(job, step) for job, content in workflow(name)["jobs"].items() for step in content["steps"]]


def lines(name: str) -> list[str]:
    return [line for _, step in steps(name) if "run" in step for line in step["run"].splitlines()]


def commands(line: str) -> list[list[str]]:
    """The words of every command of a line, those in $(...) apart; variables are replaced by a word."""
    inner = re.findall(r"\$\((.*?)\)\"", line)
    outer = re.sub(r"\$\(.*?\)\"", 'inner"', line)
    found = []
    for text in [outer, *inner]:
        words = shlex.split(text.partition(">")[0].replace("$VERSIONS", "--locked"))
        found.append([re.sub(r"\$\w+", "demo-v0.1.0", word) for word in words])
    return found


def test_every_workflow_is_looked_at():
    assert sorted(path.stem for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_run_line_calls_what_is_here(name):
    assert lines(name)
    for line in lines(name):
        assert "${{" not in line, f"what others may write enters a shell by a variable, not by its text: {line}"
        assert not re.search(r"\$\((?!cat )", line), f"the exit code of what is in $(...) is lost: {line}"
        for words in commands(line):
            check_command(words)


def check_command(words: list[str]) -> None:
    program, *rest = words
    if program in HOSTED:
        return
    assert program == "uv", words
    assert rest[0] in {"run", "sync"}, words
    options, called = split_uv(rest[1:])
    assert set(options) <= uv_options(rest[0]), words
    if rest[0] == "sync":
        assert not called, words
    elif called[0] == "release":
        check_release(called[1:])
    elif called[0] == "mkdocs":
        assert "mkdocs" in {package["name"] for package in LOCK["package"]}
    else:
        assert shutil.which(called[0], path=str(Path(sys.executable).parent)), words
        for path in called[1:]:
            if "/" in path and "$" not in path:
                assert (ROOT / path).is_dir(), path


def split_uv(words: list[str]) -> tuple[list[str], list[str]]:
    """Options of ``uv run`` or ``uv sync``, and the command that is run."""
    options, valued = [], {"--package", "--python", "--resolution", "--only-group"}
    while words and words[0].startswith("--"):
        options.append(words[0])
        words = words[2:] if words[0] in valued else words[1:]
    return options, words


@cache
def uv_options(command: str) -> set[str]:
    text = subprocess.check_output([UV, command, "--help"], text=True)
    return set(re.findall(r"--[a-z-]+", text))


def check_release(words: list[str]) -> None:
    """The command line takes these arguments; nothing of it runs."""
    group = typer.main.get_command(app)
    assert words[0] in group.commands, words  # type: ignore[attr-defined]
    try:
        group.commands[words[0]].make_context(words[0], words[1:])  # type: ignore[attr-defined]
    except Exception as error:
        raise AssertionError(f"`release {' '.join(words)}`: {error}") from error


@pytest.mark.parametrize(
    "line",
    [
        "uv run --lockd pytest",
        "uv sync --lockd",
        "uv sync pytest",
        "uv run pytst",
        "uv run pytest gone/tests",
        "make it",
        "uv run release chek",
        "uv run release check --al",
        "uv run release affected",
    ],
)
def test_the_check_of_commands_can_fail(line):
    with pytest.raises(AssertionError):
        check_command(commands(line)[0])


def test_versions_of_python_agree():
    matrix = workflow("ci")["jobs"]["everything"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == PYTHONS
    assert {entry["python"] for entry in matrix["include"]} == {PYTHONS[0], PYTHONS[-1]}
    prefix = "Programming Language :: Python :: 3."
    for package in find_workspace(ROOT).packages:
        named = [one.rpartition(" ")[2] for one in package.project["classifiers"] if one.startswith(prefix)]
        assert tuple(named) == PYTHONS, package.name
        assert package.project["requires-python"] == f">={PYTHONS[0]}"
    for _, step in [*steps("ci"), *steps("release")]:
        asked = step.get("with", {}).get("python-version", PYTHONS[0])
        assert asked in PYTHONS or asked.startswith("${{ matrix.")


def test_the_matrix_of_packages_is_all_of_them():
    matrix = workflow("ci")["jobs"]["alone"]["strategy"]["matrix"]
    assert set(matrix["package"]) == {one.name for one in find_workspace(ROOT).packages}


def test_only_publishing_may_ask_for_an_identity_and_only_announcing_may_write():
    for name in NAMES:
        content = workflow(name)
        assert content["permissions"] == {"contents": "read"}
        asked = {job: one["permissions"] for job, one in content["jobs"].items() if "permissions" in one}
        assert asked == ({} if name == "ci" else {"publish": {"id-token": "write"}, "announce": {"contents": "write"}})
    publish = workflow("release")["jobs"]["publish"]
    assert (publish["environment"], publish["needs"]) == ("pypi", "check")
    assert not [step for step in publish["steps"] if "run" in step]
    assert "secrets." not in (FOLDER / "release.yml").read_text()


def test_actions_are_pinned():
    used = {step["uses"] for name in NAMES for _, step in steps(name) if "uses" in step}
    assert used == UNPINNED


def test_tags_of_packages_start_a_release():
    patterns = workflow("release")[True]["push"]["tags"]
    forms = [re.compile(re.escape(one).replace(r"\*", ".*").replace(r"\[0\-9\]\+", "[0-9]+")) for one in patterns]
    for package in find_workspace(ROOT).packages:
        for text in (f"{package.name}-v0.12.3", f"{package.name}-1.0.0"):
            assert parse_tag(text).name == package.name
            assert any(form.fullmatch(text) for form in forms), text
    assert not any(form.fullmatch(text) for form in forms for text in ("v0.1.0", "ar-core-v0.1", "ar-core-v0.1.0rc1"))
