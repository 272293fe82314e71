"""The picture of the map, and the pages that show it."""

from pathlib import Path

import pytest
import torch
from ar_vision.distilled_decoding.flow.picture import basins
from ar_vision.distilled_decoding.var_student import student_mask

CODES = torch.tensor([[1.5, 0.0], [-1.0, 1.2], [-1.2, -0.8], [0.3, -0.2], [0.0, 1.9]])
PROBS = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1])


def test_areas_under_the_normal_law_are_the_probabilities():
    side, columns, rows = 4.0, 120, 100
    drawn = basins(CODES, PROBS, side=side, columns=columns, rows=rows).splitlines()
    xs, ys = torch.linspace(-side, side, columns), torch.linspace(side, -side, rows)
    density = torch.exp(-(xs[None] ** 2 + ys[:, None] ** 2) / 2)
    density = density / density.sum()
    for number, letter in enumerate("abcde"):
        there = torch.tensor([[cell == letter for cell in line] for line in drawn])
        assert float(density[there].sum()) == pytest.approx(float(PROBS[number]), abs=0.01)


def test_two_codes_are_parted_by_a_straight_line():
    drawn = basins(torch.tensor([[0.0, 1.0], [0.0, -1.0]]), torch.tensor([0.5, 0.5]), rows=6, columns=5)
    assert drawn.splitlines() == ["aaaaa"] * 3 + ["bbbbb"] * 3


def test_the_page_shows_what_the_code_draws():
    page = Path(__file__).resolve().parents[4] / "docs" / "methods" / "distilled_decoding.md"
    if not page.is_file():
        pytest.skip("the docs are not beside the package")
    text = page.read_text(encoding="utf-8")
    assert f"```text\n{basins(CODES, PROBS)}\n```" in text
    mask = student_mask.__doc__.split("::\n\n")[1].split("\n\n    Args")[0]
    assert "\n".join(line[8:] for line in mask.splitlines()) in text
