"""Figures in the docs are those of the results files, and commands in the READMEs are those of CI."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/*/README.md"))]
TABLE = re.compile(r"<!-- results: ([\w.]+) -->\n(.*?)\n<!-- end -->", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.fixture
def rendered(benchmark_module) -> dict[str, str]:
    """Every table that the results can be rendered as, by the name of its marker."""
    language = benchmark_module("language.plotting")
    tasks = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("tasks_fast_dllm_v2_seed*.json"))]
    tables = {"tasks_fast_dllm_v2": benchmark_module("tasks.plotting").markdown_table(tasks)}
    comparison = benchmark_module("tasks.comparison")
    conversions, beside = comparison.read_comparison(RESULTS, "efficient_dlm")
    if conversions:
        tables["tasks_efficient_dlm_variants"] = comparison.comparison_table(conversions, beside)
    for stem, results in benchmark_module("language.results").read_results(RESULTS).items():
        tables |= {f"{stem}_losses": language.losses_table(results), f"{stem}_rows": language.rows_table(results)}
    for file in RESULTS.glob("lossless_*.json"):
        tables[file.stem] = benchmark_module("lossless.plotting").markdown_table(json.loads(file.read_text()))
    tables |= benchmark_module("jacobi_forcing.plotting").tables(RESULTS)
    diffuspec = benchmark_module("diffuspec.plotting")
    for name in ("tasks_seed*", "smollm2_135m"):
        if files := sorted(RESULTS.glob(f"diffuspec_{name}.json")):
            stem, found = f"diffuspec_{name.removesuffix('_seed*')}", [json.loads(file.read_text()) for file in files]
            tables |= {stem: diffuspec.markdown_table(found), f"{stem}_categories": diffuspec.category_table(found)}
    if files := sorted(RESULTS.glob("eval_tasks_*.json")):
        quality = benchmark_module("quality")
        tables["quality_tasks"] = quality.markdown_table(quality.curves(quality.read(files)))
    for file in RESULTS.glob("training_step_*.json"):
        table = benchmark_module("training_step.measuring").markdown_table
        tables[file.stem] = table(json.loads(file.read_text()))
    return tables


def test_tables_in_the_docs_are_rendered_from_the_results(rendered):
    found = {name: table for page in PAGES for name, table in TABLE.findall(page.read_text())}
    assert {name: table.strip() for name, table in found.items()} == {
        name: table.strip() for name, table in rendered.items()
    }


def test_results_carry_what_is_needed_to_repeat_them():
    for file in RESULTS.glob("*.json"):
        environment = json.loads(file.read_text())["environment"]
        assert {"command", "date", "commit", "device", "versions"} <= environment.keys(), file.name
        # A path of one machine helps nobody to repeat it.
        assert not any(word.startswith("/") for word in environment["command"].split()), file.name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    command = re.search(
        r"^python3 -m pip install uv && python3 -m (uv run --locked pytest.*)$", (ROOT / "README.md").read_text(), re.M
    )
    assert command[1] in (ROOT / ".ci" / "run").read_text()
