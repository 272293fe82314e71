"""What stands behind an answer in its own block: hidden from it, pictures included."""

from dataclasses import replace

import torch
from ar_core.block_diffusion import block_grid
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from dvlm.chat.encode import IMAGE
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.objective import DiffusionVLObjective, anchors, lay_out
from dvlm.images.inputs import ImageLayout
from dvlm.inputs import expand
from tiny_vision_language import EOS, MASK

CONFIG = DiffusionVLConfig(diffusion_block_size=4, mask_id=MASK)


def test_what_stands_behind_an_answer_in_its_block_is_not_shown():
    """A decoder does not have it there: shown in training, it tells where the answer ends."""
    # Two turns in blocks of four: q q a a | a t q q | a t t, where t is the template.
    ids = [10, 11, 20, 21, 22, 40, 12, 13, 23, 40, 41]
    labels = [-100, -100, 20, 21, 22, -100, -100, -100, 23, -100, -100]
    sample = {"index": 0, "tokens": ids, "labels": labels, "images": []}
    always = replace(CONFIG, min_noise=1.0, prune=False)

    def noised(config: DiffusionVLConfig) -> list[int]:
        prepared = DiffusionVLObjective(config, MASK, EOS).prepare([sample], SampleRng(0))
        return prepared.tensors["ids"][0, prepared.tensors["stream"][0] == 1].tolist()

    assert noised(always) == [10, 11, MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK, MASK]
    shown = noised(replace(always, hide_following=False))
    assert shown == [10, 11, MASK, MASK, MASK, 40, 12, 13, MASK, 40, 41, MASK]
    prepared = DiffusionVLObjective(always, MASK, EOS).prepare([sample], SampleRng(0))
    # The clean half stays what was said, and only answers and end tokens are predicted.
    assert prepared.tensors["ids"][0, prepared.tensors["stream"][0] == 0].tolist() == [*ids[:9], EOS, EOS, EOS]
    assert prepared.tensors["labels"].tolist() == [20, 21, 22, 23, EOS, EOS, EOS]
    without = {**sample, "labels": [-100] * len(ids)}
    assert len(DiffusionVLObjective(always, MASK, EOS).expanded(without)) == 12  # type: ignore[arg-type]


def test_a_picture_behind_an_answer_is_hidden_too():
    """Blocks of four: q q a a | a t I I | I I q a, a picture of 2 x 2 tokens, with positions in three parts."""
    ids, labels = [10, 11, 20, 21, 22, 40, IMAGE, 13, 23], [-100, -100, 20, 21, 22, -100, -100, -100, 23]
    expanded = expand(ids, labels, [ImageLayout(4, 2, 2, 1)], mrope=True)
    grid, maskable = block_grid(12, 4), expanded.labels != -100
    draw = MaskDraw(maskable, torch.ones(12))

    def noised(anchor: torch.Tensor | None) -> tuple[list[int], list[int], list[list[int]]]:
        row = lay_out(expanded, grid, draw, MASK, prune=False, anchor=anchor)
        assert row.image_rows[12:].tolist() == expanded.image_rows.tolist()
        assert torch.equal(row.rope[:, 12:], expanded.positions)
        return row.ids[4:8].tolist(), row.image_rows[4:12].tolist(), row.rope[:, 4:8].tolist()

    # In the answer's block nothing is known behind it, and positions count on; the next block begins with its own picture.
    text = [-1] * 4
    assert noised(anchors(maskable, grid.blocks)) == ([MASK] * 4, [*text, 2, 3, -1, -1], [[4, 5, 6, 7]] * 3)
    shown = [[4, 5, 6, 6], [4, 5, 6, 6], [4, 5, 6, 7]]
    assert noised(None) == ([MASK, 40, IMAGE, IMAGE], [-1, -1, 0, 1, 2, 3, -1, -1], shown)


def test_anchors_are_told_by_block():
    supervised = torch.tensor([False, True, False, True, False, False, False, False])
    blocks = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    assert anchors(supervised, blocks).tolist() == [0, 1, 1, 3, 3, 3, 6, 7]
