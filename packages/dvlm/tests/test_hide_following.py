"""What stands behind an answer in its block, which a decoder does not have there, is hidden in training."""

from dataclasses import replace

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective, following
from tiny_vision_language import EOS, MASK
from torch import Tensor

CONFIG = DiffusionVLConfig(diffusion_block_size=4, mask_id=MASK)


class FirstBlock:
    """All supervised tokens of the first block are masked, and no other."""

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        return MaskDraw(maskable & (blocks == 0), torch.ones(len(blocks)))


@pytest.fixture
def second_picture(model, sample):
    """Two turns in blocks of eight, q q q a a t [image ...] q q a a a: the picture of the second begins behind the first answer."""
    images = sample(model, 0)["images"]
    ids = [10, 11, 12, 20, 21, 40, -200, 13, 14, 22, 23, 24]
    labels = [-100] * 3 + ids[3:5] + [-100] * 4 + ids[9:]
    return {"index": 0, "tokens": ids, "labels": labels, "images": images}


@pytest.mark.parametrize("prune", [False, True])
def test_a_picture_behind_an_answer_is_not_shown(model, second_picture, prune):
    """Neither its features, deepstack included, nor the positions of its grid."""
    image = second_picture["images"][0]
    other = {**second_picture, "images": [replace(image, pixels=image.pixels.flip(0) + 1)]}

    def losses(**settings) -> list[Tensor]:
        config = replace(CONFIG, diffusion_block_size=8, prune=prune, mrope=model.takes_mrope, **settings)
        objective = DiffusionVLObjective(config, MASK, EOS, noise=FirstBlock())  # type: ignore[arg-type]
        prepared = [objective.prepare([one], SampleRng(0)) for one in (second_picture, other)]
        assert prepared[0].tensors["labels"].tolist() == [20, 21]
        return [objective.sums({"model": model}, one)[MASKED] for one in prepared]

    torch.testing.assert_close(*losses(), rtol=0, atol=0)
    assert not torch.allclose(*losses(hide_following=False))


def test_what_is_hidden_is_text_that_counts_on(model, second_picture):
    """With three-part positions; the clean half keeps the grid."""
    config = replace(CONFIG, diffusion_block_size=8, prune=False, mrope=True)
    objective = DiffusionVLObjective(config, MASK, EOS)
    tensors = objective.prepare([second_picture], SampleRng(0)).tensors
    length = tensors["ids"].shape[1] // 2
    expanded = objective.expanded(second_picture)
    assert tensors["rope"][:, 0, :8].tolist() == [list(range(8))] * 3
    assert torch.equal(tensors["rope"][:, 0, 8:length], expanded.positions[:, 8:])
    assert torch.equal(tensors["rope"][:, 0, length:], expanded.positions)
    assert expanded.image_rows[6:9].tolist() == [0, 1, 2]
    assert tensors["image_rows"][0, :8].tolist() == [-1] * 8
    assert torch.equal(tensors["image_rows"][0, 8:length], expanded.image_rows[8:])
    assert torch.equal(tensors["image_rows"][0, length:], expanded.image_rows)


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


def test_of_two_answers_in_a_block_the_first_is_supervised():
    """A decoder predicts the first without the question behind it, and the second with it: one copy cannot serve both."""
    # q a e t q b b b | b e, in blocks of eight.
    ids = [10, 20, 21, 40, 11, 30, 31, 32, 33, 34]
    labels = [-100, 20, 21, -100, -100, 30, 31, 32, 33, 34]
    sample = {"index": 0, "tokens": ids, "labels": labels, "images": []}
    config = replace(CONFIG, diffusion_block_size=8, min_noise=1.0, prune=False)

    def prepared(**settings):
        return DiffusionVLObjective(replace(config, **settings), MASK, EOS).prepare([sample], SampleRng(0))

    found = prepared()
    assert found.tensors["ids"][0].tolist() == [10, *[MASK] * 15, *ids, *[EOS] * 6]
    assert found.tensors["labels"].tolist() == [20, 21, 33, 34, *[EOS] * 6]
    assert found.meta["supervised"] == 10
    torch.testing.assert_close(found.tensors["weights"], torch.full((10,), 1 / 10))
    assert prepared(normalisation="supervised").weights[MASKED] == 10
    # Labels of a template as well come in many runs: only what is behind all of them is hidden.
    for shown in (prepared(supervise_template_tokens=True), prepared(hide_following=False)):
        assert shown.tensors["ids"][0, :8].tolist() == [10, MASK, MASK, 40, 11, MASK, MASK, MASK]
        assert shown.meta["supervised"] == 13


@pytest.mark.parametrize(
    ("supervised", "first", "last"),
    [
        ("01010100", "00110011", "00000011"),
        ("01100010", "00010001", "00010001"),
        ("00110100", "00000011", "00000011"),
        ("11011011", "00110111", "00000000"),
        ("00000000", "00000000", "00000000"),
    ],
)
def test_following_is_told_by_block(supervised, first, last):
    """Two blocks of four."""
    blocks = torch.arange(8) // 4

    def bits(text: str) -> Tensor:
        return torch.tensor([mark == "1" for mark in text])

    assert torch.equal(following(bits(supervised), blocks), bits(first))
    assert torch.equal(following(bits(supervised), blocks, first=False), bits(last))
