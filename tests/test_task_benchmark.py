import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ar_core.errors import CheckpointError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"tasks.{name}")


def result(seed, accuracy):
    def row(name, tokens, **settings):
        return {"name": name, "accuracy": accuracy, "tokens_per_forward": tokens, "speed": tokens / 2, **settings}

    return {
        "seed": seed,
        "rows": [
            row("AR base", 1.0),
            row("AR control", 1.0),
            row("D=8 fused threshold 0.9", 4.0, block_size=8, commit="fused", threshold=0.9),
            row("D=8 fused threshold 0.5", 5.0, block_size=8, commit="fused", threshold=0.5),
        ],
    }


def test_table_gives_means_and_spread_over_seeds(module):
    table = module("plotting").markdown_table([result(0, 0.9), result(1, 1.0)])
    assert "| D=8 fused threshold 0.9 | 95.0 ± 7.1 % | 4.00 | 2.00 |" in table
    assert module("plotting").markdown_table([result(0, 0.9)]).count("±") == 0


def test_figure_has_a_point_per_threshold_and_seed_mean(module):
    svg = module("plotting").figure([result(0, 0.9), result(1, 1.0)])
    root = ElementTree.fromstring(svg)
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "D = 8, fused commit" in names
    assert "AR control" in names
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2 + 2 * 2


def test_seed_that_was_not_trained_is_named(module, tmp_path):
    with pytest.raises(CheckpointError, match="seed3/base/final' is not there: train seed 3 first"):
        module("training").trained_models(3, tmp_path)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "benchmarks" / "results").glob("tasks_*_seed*.json")), ids=lambda f: f.stem
)
def test_committed_results_say_where_they_come_from(file):
    results = json.loads(file.read_text(encoding="utf-8"))
    assert results["data"]["problems"] >= 500
    assert {"command", "date", "device", "versions"} <= set(results["environment"])
    assert {"AR base", "AR control"} <= {row["name"] for row in results["rows"]}
    for row in results["rows"]:
        assert {"accuracy", "tokens_per_forward", "speed", "forwards"} <= set(row)
        assert row["problems"] == results["data"]["problems"]
