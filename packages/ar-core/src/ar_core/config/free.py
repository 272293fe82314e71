"""Settings that do not decide what a run ends with."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FREE"]

FREE: Mapping[str, bool] = MappingProxyType({"free": True})
"""Metadata of a dataclass field whose value changes memory, speed or what is stored beside the weights, but not the weights
themselves beyond rounding: a run may be resumed with another one."""
