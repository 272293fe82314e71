"""Figures in the docs are those of the results files, and commands in the READMEs are those of CI."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
READMES = [*sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*/*/README.md"))]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), *READMES]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.MULTILINE | re.DOTALL)


def test_tables_in_the_docs_are_rendered_from_the_results(benchmark_module):
    module = benchmark_module("tables")
    found = {
        (name, table.strip()) for page in module.pages() for name, table in module.MARKED.findall(page.read_text())
    }
    assert found == set(module.tables().items())


def test_the_command_writes_tables_and_tells_which_have_no_place(benchmark_module, monkeypatch, capsys, tmp_path):
    module = benchmark_module("tables")
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n<!-- results: one -->\n<!-- end -->\n<!-- results: gone -->\n\nold\n\n<!-- end -->\nBehind.\n"
    )
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "tables", lambda: {"one": "| 1 |", "two": "| 2 |"})
    for _ in range(2):
        assert module.main() == 1
        assert page.read_text() == (
            "Before.\n<!-- results: one -->\n\n| 1 |\n\n<!-- end -->\n"
            "<!-- results: gone -->\n\nold\n\n<!-- end -->\nBehind.\n"
        )
    told = capsys.readouterr().out
    assert "error: two has no marker on any page" in told
    assert "error: gone has a marker and no results" in told


def test_results_carry_what_is_needed_to_repeat_them():
    for file in RESULTS.glob("*.json"):
        environment = json.loads(file.read_text())["environment"]
        assert {"command", "date", "commit", "device", "versions"} <= environment.keys(), file.name
        # A path of one machine helps nobody to repeat it.
        assert not any(word.startswith("/") for word in environment["command"].split()), file.name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(
        r"^python3 -m pip install uv && python3 -m (uv run --locked pytest.*)$", (ROOT / "README.md").read_text(), re.M
    )
    assert command[1] in (ROOT / ".ci" / "run").read_text()
