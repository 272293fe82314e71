"""Figures in the docs are those of the results files, and commands in the READMEs are those of CI."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/*/README.md"))]
TABLE = re.compile(r"<!-- results: (\w+) -->\n(.*?)\n<!-- end -->", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def test_the_table_of_the_tasks_is_rendered_from_its_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.tasks.plotting import markdown_table

    page = (ROOT / "docs" / "methods" / "fast_dllm_v2.md").read_text()
    found = dict(TABLE.findall(page))
    files = sorted(RESULTS.glob("tasks_fast_dllm_v2_seed*.json"))
    assert files, "there are no results of the tasks"
    assert (
        found["tasks_fast_dllm_v2"].strip() == markdown_table([json.loads(file.read_text()) for file in files]).strip()
    )


def test_results_carry_what_is_needed_to_repeat_them():
    for file in RESULTS.glob("*.json"):
        environment = json.loads(file.read_text())["environment"]
        assert {"command", "date", "commit", "device", "versions"} <= environment.keys(), file.name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(
        r"^python3 -m pip install uv && python3 -m (uv run --locked pytest.*)$", (ROOT / "README.md").read_text(), re.M
    )
    assert command[1] in (ROOT / ".ci" / "run").read_text()
