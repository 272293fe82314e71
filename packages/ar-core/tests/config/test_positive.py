from dataclasses import dataclass

import pytest
from ar_core.config import require_positive
from ar_core.errors import ConfigError


@dataclass(frozen=True)
class Counts:
    rows: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        require_positive(self, "rows", "most")


def test_counts_and_null_pass():
    assert (Counts().most, Counts(rows=3, most=1).rows) == (None, 3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"rows": 0}, "rows is 0, but must be at least 1: give a positive integer$"),
        ({"most": -2}, "most is -2, but must be at least 1: give a positive integer, or null$"),
    ],
)
def test_what_counts_nothing_is_named(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Counts(**given)
