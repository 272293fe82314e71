"""The schedules that FlexVAR is trained on, drawn anew for every step. Imports no torch."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from ar_core.errors import ConfigError

__all__ = ["ScheduleSampler", "draw_schedule"]


@dataclass(frozen=True, kw_only=True)
class ScheduleSampler:
    """How the sides of the scales are drawn; the defaults are the published ones, for a grid of 16.

    With probability ``default_share`` the default schedule, else ``coarse``, ``middle_count`` of ``middle``, ``fine_count`` of
    ``fine`` and ``last``. Then one scale is dropped with probability ``drops[0]``, a second one with ``drops[1]`` in all, and so
    on; never one of the first two or the last. Schedules of more than ``max_tokens`` are cut, scale by scale.

    Raises:
        ConfigError: sides are not in rising order, more are drawn than there are, or a value is out of range.
    """

    cut: Literal["reference", "keep_last"] = "keep_last"
    """Which scales long schedules lose. ``reference``: any of the last four, the final one included, as published; a third of
    all steps then never train the grid that images are decoded from. ``keep_last``: any of the last four but the final one, as
    the paper says (arXiv 2502.20313, section 3)."""
    fixed: bool = False
    """Train every step on ``default``: nothing is drawn, dropped or cut."""
    default: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    """The schedule of evaluation, and of some steps."""
    default_share: float = 0.05
    """How many."""
    coarse: tuple[int, ...] = (1, 2)
    """Sides that every schedule begins with."""
    middle: tuple[int, ...] = (3, 4, 5, 6, 7, 8, 9, 10)
    """Sides of which ``middle_count`` are drawn."""
    middle_count: int = 5
    """How many of them."""
    fine: tuple[int, ...] = (11, 12, 13, 14, 15)
    """Sides of which ``fine_count`` are drawn."""
    fine_count: int = 2
    """How many of them."""
    last: int = 16
    """Side that every schedule ends with, before it is cut."""
    drops: tuple[float, ...] = (0.1, 0.05, 0.02, 0.01)
    """Probabilities that at least 1, 2, ... scales are dropped."""
    max_tokens: int = 680
    """Most tokens of a schedule."""

    def __post_init__(self) -> None:
        for name in ("default", "coarse", "middle", "fine", "drops"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sides = [*self.coarse, *self.middle, *self.fine, self.last]
        for name, order in (("default", list(self.default)), ("coarse, middle, fine and last", sides)):
            if not order or order[0] < 1 or order != sorted(set(order)):
                raise ConfigError(f"{name} is {order}; sides rise, and begin at 1 or more")
        for name in ("middle", "fine"):
            count, most = getattr(self, f"{name}_count"), len(getattr(self, name))
            if not 0 <= count <= most:
                raise ConfigError(f"{name}_count is {count}; it must be 0 to {most}, of the sides in {name}")
        if not 0 <= self.default_share <= 1 or any(not 0 <= share <= 1 for share in self.drops):
            raise ConfigError(
                f"default_share is {self.default_share} and drops {list(self.drops)}; probabilities lie in [0, 1]"
            )
        if list(self.drops) != sorted(self.drops, reverse=True):
            raise ConfigError(
                f"drops is {list(self.drops)}; dropping more scales cannot be likelier than dropping fewer"
            )
        if self.cut not in ("reference", "keep_last"):
            raise ConfigError(f"cut is {self.cut!r}; choose reference or keep_last")
        if not self.fixed and self.max_tokens < max(self.largest**2, sum(side * side for side in self.coarse)):
            raise ConfigError(
                f"max_tokens is {self.max_tokens}; the grid of {self.largest}x{self.largest} alone has {self.largest**2} tokens"
            )

    @property
    def largest(self) -> int:
        """S, the largest side that is ever drawn."""
        return self.default[-1] if self.fixed else max(self.last, self.default[-1])


def draw_schedule(sampler: ScheduleSampler, random: Random) -> tuple[int, ...]:
    """Draw the sides of a schedule.

    With the defaults and ``cut="reference"`` the draws are those of the published trainer, call by call.

    Args:
        sampler: what is drawn from.
        random: Python's generator.
    """
    if sampler.fixed:
        return sampler.default
    if random.random() < sampler.default_share:
        sides = list(sampler.default)
    else:
        middle = sorted(random.sample(sampler.middle, sampler.middle_count))
        sides = [*sampler.coarse, *middle, *sorted(random.sample(sampler.fine, sampler.fine_count)), sampler.last]
    lot = random.random()
    for share in sampler.drops:
        if lot > 1 - share and len(sides) > 3:
            sides.remove(random.choice(sides[2:-1]))
    while sum(side * side for side in sides) > sampler.max_tokens:
        sides.remove(random.choice(sides[-4:] if sampler.cut == "reference" else sides[-4:-1]))
    return tuple(sides)
