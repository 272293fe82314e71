import json

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.io import read_tensors
from ar_vision.backbones.infinity.rope import angles, rotate
from ar_vision.backbones.infinity.schedules import RATIOS, SIZES, nearest_ratio, position_grid, published_schedule
from ar_vision.scales import ScaleSchedule


@pytest.mark.golden
def test_all_published_schedules(golden_dir):
    listed = json.loads((golden_dir / "vision_b" / "infinity_scale_schedules.json").read_text())
    assert sorted(RATIOS) == sorted(listed["h_div_w_templates"])
    for ratio, sizes in listed["schedules"].items():
        assert sizes.keys() == SIZES.keys()
        for pixels, entry in sizes.items():
            schedule = published_schedule(float(ratio), pixels)
            assert [list(size) for size in schedule.sizes] == [[h, w] for _, h, w in entry["scales"]]
            assert [16 * schedule.height, 16 * schedule.width] == entry["pixel"]


def test_square_token_counts_and_nearest_shapes():
    ends = [s.stop for s in published_schedule(1.0, "1M").slices]
    assert ends == [1, 5, 21, 57, 121, 265, 521, 921, 1497, 2521, 4121, 6425, 10521]
    assert [nearest_ratio(*size) for size in ((256, 256), (1024, 768), (512, 768), (300, 100), (100, 250))] == [
        1.0, 1.333, 0.666, 3.0, 0.4,
    ]  # fmt: skip


def test_unknown_shapes_sizes_and_scales_are_refused():
    with pytest.raises(ConfigError, match=r"the nearest, 0\.666"):
        published_schedule(0.67, "1M")
    with pytest.raises(ConfigError, match=r"0\.06M, 0\.25M, 0\.60M, 1M"):
        published_schedule(1.0, "2M")
    with pytest.raises(ConfigError, match="the scales 1,2,3,4 were given to a model trained on the published ones"):
        position_grid(ScaleSchedule.square(1, 2, 3, 4))
    with pytest.raises(ConfigError, match="15 of the model's lists"):
        position_grid(ScaleSchedule.square(1, 2))
    own = (((1, 1), (2, 2), (4, 4)),)
    assert position_grid(ScaleSchedule.square(1, 2), own) == (4, 4)
    with pytest.raises(ConfigError, match="a model trained on 1,2,4"):
        position_grid(ScaleSchedule.square(1, 3), own)


@pytest.mark.golden
def test_recorded_rotary_tables(golden_dir):
    case = read_tensors(golden_dir / "vision_b" / "infinity_rope2d.safetensors")
    for name in ("r1.0_0.06M", "r0.666_0.06M", "r1.5_0.06M", "r2.5_0.06M"):
        schedule = published_schedule(*_parsed(name))
        table = torch.stack(angles(schedule, position_grid(schedule), 16))
        torch.testing.assert_close(table, case[name], atol=1e-6, rtol=0)
    schedule = published_schedule(1.5, "0.06M")
    cos, sin = angles(schedule, position_grid(schedule), 16, 2)
    for name in ("q", "k"):
        rotated = rotate(case[name], cos[:5], sin[:5])
        torch.testing.assert_close(rotated, case[f"{name}_rot_scale2"], atol=1e-6, rtol=0)


def _parsed(name):
    ratio, _, pixels = name.removeprefix("r").partition("_")
    return float(ratio), pixels


@pytest.mark.parametrize("ratio", sorted(RATIOS))
def test_smaller_images_have_the_first_positions_of_larger_ones(ratio):
    largest = published_schedule(ratio, "1M")
    grid = position_grid(largest)
    cos, sin = angles(largest, grid, 32)
    for pixels in ("0.06M", "0.25M", "0.60M"):
        schedule = published_schedule(ratio, pixels)
        assert position_grid(schedule) == grid
        small_cos, small_sin = angles(schedule, grid, 32)
        assert torch.equal(small_cos, cos[: schedule.total])
        assert torch.equal(small_sin, sin[: schedule.total])


def test_a_token_turns_as_the_nearest_one_of_the_largest_grid():
    schedule = published_schedule(1.5, "1M")
    height, width = position_grid(schedule)
    last_cos, _ = angles(schedule, (height, width), 16, schedule.count - 1)
    last = last_cos.unflatten(0, (height, width))
    for k, (h, w) in enumerate(schedule.sizes):
        cos = angles(schedule, (height, width), 16, k)[0].unflatten(0, (h, w))
        for y in range(h):
            for x in range(w):
                torch.testing.assert_close(cos[y, x], last[round(y * height / h), round(x * width / w)])
