"""The training mask over a laid-out sample, against the formulas of the method."""

import pytest
import torch
from ar_core.block_diffusion import block_diffusion_mask, block_grid
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from ar_core.masks import Tokens
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.objective import DiffusionVLObjective, lay_out
from dvlm.inputs import expand
from tiny_vision_language import EOS, MASK


def dense(length: int, size: int, clean: str = "block") -> torch.Tensor:
    """Bool [2L, 2L] of a sample of L tokens, all of them masked or not."""
    grid = block_grid(length, size)
    draw = MaskDraw(torch.ones(length, dtype=torch.bool), torch.ones(length))
    row = lay_out(expand([1] * length, [1] * length, []), grid, draw, 9, prune=False)
    return block_diffusion_mask(Tokens(stream=row.stream, block=row.block, position=row.position), clean=clean).dense()[
        0, 0
    ]


def sees(q: int, kv: int, length: int, size: int) -> bool:
    """The formulas, for halves of a length: noised ones first."""
    own, other = q % length // size, kv % length // size
    q_clean, kv_clean = q >= length, kv >= length
    return (
        (not q_clean and not kv_clean and own == other)
        or (not q_clean and kv_clean and own > other)
        or (q_clean and kv_clean and own >= other)
    )


def test_mask_of_the_formulas():
    """Oracle 1: every length up to 16 and every block size, by brute force."""
    for length in range(1, 17):
        for size in range(1, length + 2):
            found = dense(length, size)
            for q in range(2 * length):
                for kv in range(2 * length):
                    assert bool(found[q, kv]) == sees(q, kv, length, size), (length, size, q, kv)


def test_mask_of_a_batch():
    """Oracle 1 with rows of other lengths: V(q) & V(kv), which the formulas ask of every pair, hides what fills a row up."""
    for size, *lengths in ((1, 3, 5), (2, 7, 2), (3, 4, 9), (4, 8, 5), (8, 3, 6)):
        batch = [
            {"index": row, "tokens": [1] * length, "labels": [1] * length, "images": []}
            for row, length in enumerate(lengths)
        ]
        config = DiffusionVLConfig(diffusion_block_size=size, mask_id=MASK, align_eos=False, prune=False)
        tensors = DiffusionVLObjective(config, MASK, EOS).prepare(batch, SampleRng(0)).tensors  # type: ignore[arg-type]
        tokens = Tokens(**{name: tensors[name] for name in ("stream", "block", "position", "document")})
        longest = max(lengths)
        for found, length, stream, position in zip(
            block_diffusion_mask(tokens).dense()[:, 0], lengths, tensors["stream"], tensors["position"], strict=True
        ):
            expected = torch.zeros(2 * longest, 2 * longest, dtype=torch.bool)
            for q in range(2 * longest):
                for kv in range(2 * longest):
                    kept = q % longest < length and kv % longest < length
                    expected[q, kv] = kept and sees(q, kv, longest, size)
            # Ours fills a row up behind both halves, the formulas each half.
            real = 2 * length
            places = (position + longest * (stream == 0))[:real]
            assert places.sort().values.tolist() == [half + i for half in (0, longest) for i in range(length)]
            assert torch.equal(found[:real, :real], expected[places][:, places])
            assert expected.sum() == found[:real, :real].sum()
            assert not found[:real, real:].any()
            assert not found[real:, :real].any()


@pytest.mark.golden
def test_mask_of_the_published_code(recorded):
    """Oracle 1, recorded."""
    for name, mask in recorded("train_mask").items():
        length, size = (int(part[1:]) for part in name.split("_")[1:])
        assert torch.equal(dense(length, size), mask.bool()), name


def test_blocks_of_one_token():
    """Oracle 2: a noised token sees itself and clean tokens before it; clean ones are causal."""
    found = dense(6, 1)
    eye, causal = torch.eye(6, dtype=torch.bool), torch.ones(6, 6).tril().bool()
    assert torch.equal(found[:6, :6], eye)
    assert torch.equal(found[:6, 6:], causal & ~eye)
    assert torch.equal(found[6:, 6:], causal)


def test_picture_of_the_mask():
    """Eight positions, blocks of two: the picture of docs/methods/diffusionvl.md."""
    drawn = """
        # # . . . . . .
        # # . . . . . .
        . . # # # # . .
        . . # # # # . .
        . . . . # # . .
        . . . . # # . .
        . . . . # # # #
        . . . . # # # #
    """
    rows = [[mark == "#" for mark in line.split()] for line in drawn.strip().splitlines()]
    assert torch.equal(dense(4, 2), torch.tensor(rows))


def test_token_causal_clean_half():
    found = dense(6, 3, "token")
    assert torch.equal(found[6:, 6:], torch.ones(6, 6).tril().bool())
    assert torch.equal(found[:6], dense(6, 3)[:6])
