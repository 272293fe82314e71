"""The picture of histograms, and the page that shows it."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.picture import bars

PAGE = Path(__file__).resolve().parents[4] / "docs" / "methods" / "glotok.md"


def test_bars_are_as_long_as_their_shares():
    shares = torch.tensor([0.0, 0.25, 0.25, 0.5], dtype=torch.float64).clamp(min=1e-30)
    drawn = bars({"one": shares.log(), "two": shares.flip(0).log()}, HistogramConfig(bins=4), rows=2, width=6)
    assert drawn.splitlines() == [
        "cosine  one     two",
        "-0.67   ##      ######",
        "+0.67   ######  ##",
    ]


def test_the_page_shows_what_its_code_draws():
    if not PAGE.is_file():
        pytest.skip("the docs are not beside the package")
    code, shown = re.search(
        r"```python\n(.*?)```\n\n<!-- .*? -->\n```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    ).groups()
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, str(PAGE), "exec"), {})
    found, expected = out.getvalue().splitlines(), shown.splitlines()
    assert found[0] == expected[0]
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        assert ours[:8] == theirs.ljust(8)[:8]
        for place in (8, 30, 52):
            lengths = [line.ljust(80)[place : place + 20].count("#") for line in (ours, theirs)]
            # Rounding may go either way on another machine.
            assert abs(lengths[0] - lengths[1]) <= 1, (ours, theirs)
