"""Shares in [0, 1)."""

from dataclasses import dataclass

import pytest
from ar_core.config import require_share
from ar_core.errors import ConfigError


@dataclass
class Settings:
    held_out: float = 0.0
    dropped: float = 0.0


@pytest.mark.parametrize("value", [0.0, 0.02, 0.999])
def test_shares_pass(value):
    require_share(Settings(value, value), "held_out", "dropped")


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_what_is_no_share_is_refused_by_name(value):
    with pytest.raises(ConfigError, match=rf"^dropped is {value} and must be in \[0, 1\): give a share such as 0.02$"):
        require_share(Settings(0.0, value), "held_out", "dropped")
