import math
from dataclasses import dataclass
from typing import Literal

import pytest
from ar_core.config import require_types
from ar_core.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    name: str = "a"
    rows: int | None = None
    weight: float = 1.0
    order: Literal["rising", "falling"] = "rising"
    inner: Inner = Inner()
    other: Inner | None = None

    def __post_init__(self) -> None:
        require_types(self)


def test_values_of_their_types_pass():
    found = Settings(rows=3, weight=2, order="falling", other=Inner(2))
    assert (found.rows, found.weight, Settings(weight=math.inf).weight) == (3, 2, math.inf)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"order": "risin"}, "order is 'risin', which is none of 'rising', 'falling'; did you mean 'rising'"),
        ({"order": ["rising"]}, "order is .* choose one of 'rising', 'falling'$"),
        ({"weight": None}, "weight is None .NoneType.; give it a number$"),
        ({"rows": 8.0}, "rows is 8.0 .float.; give it an integer or null$"),
        ({"rows": True}, "rows is True .bool.; give it an integer or null$"),
        ({"name": 1}, "name is 1 .int.; give it text$"),
        ({"inner": 1}, "inner is 1"),
    ],
)
def test_what_is_of_another_type_is_named(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Settings(**given)
