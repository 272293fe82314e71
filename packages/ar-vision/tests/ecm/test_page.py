"""What the method's page draws and tabulates is what the code does."""

from pathlib import Path

import pytest
import torch
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.ecm.config import EcmConfig
from ar_vision.ecm.prefix_law import PrefixLaw
from ar_vision.scales import ScaleSchedule

PAGE = Path(__file__).resolve().parents[4] / "docs" / "methods" / "ecm.md"


@pytest.fixture
def page():
    if not PAGE.is_file():
        pytest.skip("docs/methods/ecm.md is not beside this package: it is held against the code in the repository")
    return PAGE.read_text()


def test_the_placement_of_adapters_is_drawn_as_it_is(page):
    positions = EcmConfig().placed(16)
    blocks = "blocks  " + "".join(f"{block:4d}" for block in range(16))
    adapters = "adapters" + "".join("   A" if block in positions else "    " for block in range(16)).rstrip()
    assert blocks in page
    assert adapters in page


def test_the_mask_of_adapters_is_drawn_as_it_is(page):
    """A token sees its own scale and the coarser ones; three scales, the last one cut off behind its first token."""
    schedule = ScaleSchedule(((1, 1), (2, 2), (2, 2)))
    dense = scale_mask(schedule, torch.device("cpu")).dense()[..., :6, :6].reshape(6, 6)
    scales = (schedule.scale_ids() + 1)[:6].tolist()
    lines = ["scale      " + " ".join(map(str, scales))]
    lines += [f"       {scale}   " + " ".join("x" if one else "." for one in row) for scale, row in zip(scales, dense)]
    assert "\n".join(lines) in page


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("uniform", PrefixLaw(p_full=0.0)),
        ("geometric, 0.3", PrefixLaw(law="geometric", strength=0.3, p_full=0.0)),
        ("default: all scales with 0.25, else uniform", PrefixLaw()),
        ("full", PrefixLaw(law="full")),
    ],
)
def test_how_often_scales_are_trained_is_tabulated_as_it_is(page, name, law):
    schedule = ScaleSchedule.square(1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    seen = law.seen(10)
    codes = sum(share * length for share, length in zip(seen, schedule.lengths))
    cells = " | ".join(f"{share:.2f}" for share in seen)
    assert f"| {name} | {cells} | {round(codes)} |" in page
