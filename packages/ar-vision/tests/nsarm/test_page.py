"""The picture of the docs page is that of the published configuration."""

from pathlib import Path

from ar_vision.nsarm.config import NsarmModelConfig

PAGE = Path(__file__).parents[4] / "docs" / "methods" / "nsarm.md"


def test_the_page_draws_who_writes_which_scale():
    config = NsarmModelConfig()
    count, schedule = config.map.count, config.schedule
    scales = range(schedule.count)
    rows = {
        "scale": scales,
        "grid": [side for side, _ in schedule.sizes],
        "written by": ["M" if k < count else "T" for k in scales],
        "in pass": [max(1, k - count + 1) for k in scales],
    }
    drawn = "\n".join(f"{name:<12}" + "".join(f"{value:>3}" for value in values) for name, values in rows.items())
    assert f"```text\n{drawn}\n```" in PAGE.read_text(encoding="utf-8")
