"""Whether a generator's null condition was trained, without which guidance leads nowhere: recorded in its provenance."""

from collections.abc import Mapping
from typing import Any, Literal

from ar_core.errors import ConfigError

__all__ = ["TRAINED", "UNTRAINED", "null_condition", "require_null_condition"]

State = Literal["trained", "untrained"]
TRAINED: State = "trained"
"""The record of a generator that saw it in training."""
UNTRAINED: State = "untrained"
"""The record of one that did not."""
_KEY = "null_condition"


def null_condition(state: State) -> dict[str, str]:
    """Return the entry of a checkpoint's provenance."""
    return {_KEY: state}


def require_null_condition(provenance: Mapping[str, Any], guidance: float, source: str) -> None:
    """Refuse to guide a checkpoint whose record says that its null condition was not trained; one without a record may be guided.

    Args:
        provenance: of the checkpoint.
        guidance: g; 1 means none.
        source: what the error calls the checkpoint.

    Raises:
        ConfigError: names both.
    """
    if provenance.get(_KEY) == UNTRAINED and guidance != 1:
        raise ConfigError(
            f"guidance is {guidance} and {source} was trained without its null condition (uncond_ratio 0, or loss dpo), which has drifted "
            "since: set guidance to 1, or train with uncond_ratio above 0 and a loss other than dpo"
        )
