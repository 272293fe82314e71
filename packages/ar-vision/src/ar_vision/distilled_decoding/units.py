"""What a teacher fills in one pass: a scale of VAR, a code of LlamaGen."""

from collections.abc import Sequence
from itertools import accumulate

from ar_core.errors import ConfigError

__all__ = ["Units"]


class Units:
    """K units of n tokens in all.

    Args:
        lengths: tokens of each.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = tuple(lengths)
        self._ends = (0, *accumulate(self.lengths))

    @property
    def count(self) -> int:
        """K."""
        return len(self.lengths)

    @property
    def total(self) -> int:
        """Tokens of all units, n."""
        return self._ends[-1]

    def tokens(self, units: int) -> int:
        """Return how many tokens the first so many units have."""
        return self._ends[units]

    def part(self, unit: int) -> slice:
        """Return where the tokens of a unit lie."""
        return slice(self._ends[unit], self._ends[unit + 1])

    def require(self, name: str, units: int) -> int:
        """Return a number of units.

        Raises:
            ConfigError: it is below 0 or above K.
        """
        if not 0 <= units <= self.count:
            raise ConfigError(f"{name} is {units} and the model has {self.count} units: give 0 to {self.count}")
        return units
