"""Noise levels and what they hide."""

import pytest
import torch
from dvlm.diffusionvl.noise import BlockNoise, flat_index_levels

CASES = ("b1", "b4", "b4_pad", "b4_noanti", "b4_ragged", "b8")


@pytest.mark.golden
@pytest.mark.parametrize("name", CASES)
def test_masks_and_weights_equal_the_recorded_ones(recorded, name):
    """Oracle 6, recorded: batches of two, strata along the whole batch."""
    case = {key.split(".")[1]: value for key, value in recorded("train_forward").items() if key.split(".")[0] == name}
    size = int(case["cfg"][0])
    levels = case["u_block"] if name == "b4_noanti" else flat_index_levels(case["u_block"])
    blocks = torch.arange(case["labels"].shape[1]) // size
    for row in range(len(levels)):
        found = BlockNoise("iid").select(case["labels"][row] != -100, blocks, levels[row], case["u_token"][row])
        assert torch.equal(found.hidden, case["move_indices"][row].bool())
        torch.testing.assert_close(1 / found.level, case["loss_scale"][row].abs(), rtol=1e-6, atol=0)


def test_flat_index_rises_along_the_row():
    """Oracle 6: one stratum a block, in order."""
    blocks = torch.arange(40) // 4
    for seed in range(20):
        level = (
            BlockNoise("flat_index").draw(torch.ones(40, dtype=bool), blocks, torch.Generator().manual_seed(seed)).level
        )
        assert (level.diff() >= 0).all()


def test_shuffled_strata_hold_one_supervised_block_each():
    blocks, maskable = torch.arange(40) // 4, torch.zeros(40, dtype=torch.bool)
    maskable[[5, 20, 21, 33, 39]] = True
    firsts = []
    for seed in range(300):
        draw = BlockNoise("supervised_shuffled", 1e-3).draw(maskable, blocks, torch.Generator().manual_seed(seed))
        levels = (draw.level[[5, 20, 33, 39]] - 1e-3) / (1 - 1e-3)
        assert sorted((levels * 4).int().tolist()) == [0, 1, 2, 3]
        assert not draw.hidden[~maskable].any()
        firsts.append(float(levels[0]))
    # Uniform over all strata: the mean of 300 draws lies within four standard errors of a half.
    assert abs(sum(firsts) / 300 - 0.5) < 4 * (1 / 12 / 300) ** 0.5


def test_bounds_of_levels():
    draw = BlockNoise("iid", 0.3, 0.4).draw(
        torch.ones(80, dtype=bool), torch.arange(80), torch.Generator().manual_seed(0)
    )
    assert 0.3 <= float(draw.level.min()) <= float(draw.level.max()) <= 0.4
