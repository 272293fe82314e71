"""The page on serving engines says what the table of loaders and the announced exporters say."""

from pathlib import Path

import pytest
from ar_core.registry import exporters
from ar_core.serving import ENGINES, served

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "serving.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", ENGINES)
def test_each_loader_stands_on_the_page_with_its_file(name: str) -> None:
    engine = ENGINES[name]
    heads = [row for row in ROWS if row[0] == "checkpoint"]
    assert len(heads) == 1
    assert any(cell.lower() == f"{name} {engine.version}" for cell in heads[0])
    column = next(row for row in ROWS if row[0] == "loader").index({"vllm": "vLLM file", "sglang": "SGLang file"}[name])
    listed = {row[0].strip("`"): row[column].strip("`") for row in ROWS if row[0].startswith("`") and len(row) == 4}
    assert {loader: file for loader, file in listed.items() if file != "–"} == {
        known.name: known.file for known in engine.architectures
    }


def test_versions_on_the_page_are_those_of_the_table() -> None:
    for name in ENGINES:
        assert served(ENGINES[name]).startswith(f"{name} {ENGINES[name].version} serves ")
        assert f"{ENGINES[name].version}" in PAGE
    assert "Not loaded by the engine here" in PAGE


def test_commands_on_the_page_are_those_that_an_export_prints() -> None:
    for engine in ENGINES.values():
        assert engine.launch.replace("{folder}", "./served") in PAGE


def test_every_kind_that_can_be_exported_is_on_the_page() -> None:
    words = {
        "autoregressive": "plain AR",
        "efficient_dlm": "Efficient-DLM",
        "fast_dllm_v2": "Fast-dLLM v2",
        "vl_autoregressive": "`vl_autoregressive`",
    }
    assert words.keys() == exporters().keys()
    first = " ".join(row[0] for row in ROWS)
    assert not [name for name, word in words.items() if word not in first]
