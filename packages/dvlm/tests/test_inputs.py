"""Expansion of images, alignment to blocks, and positions."""

import pytest
import torch
from ar_core.data import stack_rows
from ar_core.errors import DataError
from dvlm.batch import stack_positions
from dvlm.images.inputs import ImageLayout
from dvlm.inputs import align_to_blocks, expand
from tiny_vision_language import EOS, qwen2_5_vl

GRID = ImageLayout(12, 3, 4, units=48, patches=(6, 8))


def test_images_take_the_place_of_their_marks():
    found = expand([5, -200, 6, -200, 7], [-100, -100, 6, -100, 7], [ImageLayout(2, 1, 2, 8), ImageLayout(3, 0, 0, 2)])
    assert found.ids.tolist() == [5, -200, -200, 6, -200, -200, -200, 7]
    assert found.labels.tolist() == [-100, -100, -100, 6, -100, -100, -100, 7]
    assert found.image_rows.tolist() == [-1, 0, 1, -1, 2, 3, 4, -1]
    assert found.positions.tolist() == list(range(8))
    cut = expand([5, -200, 6], None, [ImageLayout(2, 1, 2, 8)], max_length=2)
    assert cut.ids.tolist() == [5, -200]


@pytest.mark.parametrize("layouts", [[], [ImageLayout(2, 1, 2, 8)] * 2])
def test_images_and_marks_must_be_as_many(layouts):
    with pytest.raises(DataError, match=f"the ids hold 1 places for images and {len(layouts)} images were given"):
        expand([5, -200, 6], None, layouts)


def test_three_part_positions_of_the_known_example():
    """Backbone oracle 3: the table of the specification."""
    found = expand([1, 2, 3, -200, 4, 5, 6, 7, 8], None, [GRID], mrope=True).positions.tolist()
    assert found[0] == [0, 1, 2, *[3] * 12, 7, 8, 9, 10, 11]
    assert found[1] == [0, 1, 2, *[3] * 4, *[4] * 4, *[5] * 4, 7, 8, 9, 10, 11]
    assert found[2] == [0, 1, 2, *[3, 4, 5, 6] * 3, 7, 8, 9, 10, 11]


def test_three_part_positions_equal_those_of_transformers():
    """Backbone oracle 3: two images, text alone, and an image at the end, in one batch that is filled up on the right."""
    model = qwen2_5_vl().model
    wide = ImageLayout(10, 2, 5, units=40, patches=(4, 10))
    cases = (([1, -200, 2, 3, -200, 4], [GRID, wide]), ([1, 2, 3], []), ([5, 6, -200], [wide]))
    rows = [expand(ids, None, layouts, mrope=True) for ids, layouts in cases]
    theirs, _ = model.get_rope_index(
        stack_rows([row.ids.abs() for row in rows], fill=0),
        stack_rows([(row.image_rows >= 0).long() for row in rows], fill=0).int(),
        image_grid_thw=torch.tensor([[1, *layout.patches] for _, layouts in cases for layout in layouts]),
        attention_mask=stack_rows([torch.ones_like(row.ids) for row in rows], fill=0),
    )
    assert len({len(row) for row in rows}) == 3
    assert torch.equal(stack_positions([row.positions for row in rows]), theirs)


def test_rows_end_with_whole_blocks_of_supervised_ends():
    """Oracle 10."""
    for length in range(1, 18):
        for size in (1, 4, 8):
            found = align_to_blocks(expand([9] * length, None, []), size, EOS)
            assert len(found) == -(-length // size) * size
            assert found.labels[length:].tolist() == [EOS] * (len(found) - length)
            assert torch.equal(found.ids[length:], found.labels[length:])
            assert found.positions.tolist() == list(range(len(found)))


def test_ends_count_on_from_the_largest_part():
    found = align_to_blocks(expand([1, -200], None, [GRID], mrope=True), 8, EOS)
    assert found.positions[:, 13:].tolist() == [[5, 6, 7]] * 3
