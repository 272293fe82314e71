"""What the towers of the Qwen-VL family make of pictures of any ratio. Numbers of oracles are those of the backbone's specification."""

import numpy as np
import pytest
import torch
from dvlm.images.config import ImageConfig
from dvlm.images.inputs import ImageLayout
from dvlm.qwen_vl import QwenVL
from tiny_vision_language import qwen2_5_vl, qwen3_vl
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

GRIDS = ((2, 2), (8, 8), (10, 14))
"""Rows and columns of patches."""
WINDOW = 4
"""Side of a window in merged cells: 112 pixels of patches of 14, two a cell."""


def windows(rows: int, columns: int) -> list[list[int]]:
    """Cells of each window in raster order, window by window, of a picture of so many cells; empty windows are none."""
    return [
        [
            row * columns + column
            for row in range(top, min(top + WINDOW, rows))
            for column in range(left, min(left + WINDOW, columns))
        ]
        for top in range(0, rows, WINDOW)
        for left in range(0, columns, WINDOW)
    ]


@pytest.mark.parametrize("grids", [*[(grid,) for grid in GRIDS], GRIDS], ids=str)
def test_windows_of_the_tower(grids, monkeypatch):
    """Oracle 13: what the tower is run with is a permutation of the cells, window by window, and its ends in patches."""
    model = QwenVL(qwen2_5_vl())
    caught = []
    plain = modeling_qwen2_5_vl.get_vision_window_index

    def caught_index(*given, **named):
        caught.append(plain(*given, **named))
        return caught[-1]

    monkeypatch.setattr(modeling_qwen2_5_vl, "get_vision_window_index", caught_index)
    layouts = [ImageLayout(r * c // 4, r // 2, c // 2, units=r * c, patches=(r, c)) for r, c in grids]
    model.image_features(torch.zeros(sum(one.units for one in layouts), 1176).double(), layouts)
    index, ends = (one.tolist() for one in caught[0])
    expected, offset = [], 0
    for one in layouts:
        expected += [[offset + cell for cell in cells] for cells in windows(one.rows, one.columns)]
        offset += one.tokens
    assert sorted(index) == list(range(offset))
    assert index == [cell for cells in expected for cell in cells]
    assert np.diff(ends).tolist() == [4 * len(cells) for cells in expected]
    assert (ends[0], ends[-1]) == (0, sum(one.units for one in layouts))


def test_features_come_back_in_raster_order():
    """Oracle 13: a patch moves the features of its own window and no others, where no layer looks further."""
    model = QwenVL(qwen2_5_vl())
    model.tower.fullatt_block_indexes = []
    generator = torch.Generator().manual_seed(0)
    for rows, columns in GRIDS:
        cells = rows // 2, columns // 2
        layout = ImageLayout(cells[0] * cells[1], *cells, units=rows * columns, patches=(rows, columns))
        pixels = torch.randn(layout.units, 1176, generator=generator).double()
        before = model.image_features(pixels, [layout]).rows
        for window in windows(*cells):
            changed = pixels.clone()
            # Four patches a cell.
            changed[4 * window[-1]] += 1
            moved = (model.image_features(changed, [layout]).rows != before).any(-1)
            assert moved.nonzero()[:, 0].tolist() == window


@pytest.mark.parametrize("tiny", [qwen2_5_vl, qwen3_vl])
def test_features_are_those_of_transformers(tiny):
    """Oracle 10: two images of different grids, in either order."""
    model = QwenVL(tiny())
    process = model.processor(ImageConfig(fit="native", min_pixels=1, max_pixels=40000))
    pictures = [
        process(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))
        for number, size in enumerate(((70, 180), (130, 66)))
    ]
    assert pictures[0].layout.tokens != pictures[1].layout.tokens
    for one, other in (pictures, pictures[::-1]):
        pixels = torch.cat([one.pixels, other.pixels]).double()
        grid = torch.tensor([[1, *image.layout.patches] for image in (one, other)])
        theirs = model.base_language.model.get_image_features(pixels, grid)
        ours = model.image_features(pixels, [one.layout, other.layout])
        assert [len(part) for part in theirs.pooler_output] == [one.layout.tokens, other.layout.tokens]
        assert torch.equal(ours.rows, torch.cat(list(theirs.pooler_output)))
        alone = model.image_features(one.pixels.double(), [one.layout]).rows
        torch.testing.assert_close(ours.rows[: one.layout.tokens], alone, rtol=1e-6, atol=1e-6)
