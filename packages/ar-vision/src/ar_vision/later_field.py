"""Fields of configs that came later than checkpoints. Imports no torch."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["LATER_FIELD"]

LATER_FIELD: Mapping[str, bool] = MappingProxyType({"later_field": True})
"""Metadata of a dataclass field, null by default, that checkpoints were written without: while it is null, fingerprints are the same as
before, so that whatever names such a checkpoint goes on knowing it."""
