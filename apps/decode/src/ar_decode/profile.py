"""What was measured on a device, for decoders to read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.config import from_dict, to_dict
from ar_core.errors import ArError, ConfigError

from .output import write_text

__all__ = ["Profile", "read_profile"]


@dataclass(frozen=True)
class Profile:
    """Pass costs of one model on one device, and the settings chosen from them.

    Attributes:
        model: what was measured.
        dtype: of its weights.
        context: tokens in the cache during the measurement.
        batch: rows of a pass.
        tokens: n of the measured passes.
        seconds: minimum time of each.
        methods: for each tuned method, its settings.
        explanation: sentences that say why these.
        environment: device, versions, date, command.
    """

    model: str
    dtype: str
    context: int
    batch: int
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    explanation: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)

    def settings(self, method: str) -> dict[str, Any]:
        """Settings for a method: the tuned ones, and the pass-cost curve for methods that weigh drafts by it."""
        return {
            "pass_cost": {"tokens": list(self.tokens), "seconds": list(self.seconds)},
            **self.methods.get(method, {}),
        }

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_text(path, json.dumps(to_dict(self), indent=2) + "\n")


def read_profile(path: Path | None, method: str) -> dict[str, Any]:
    """Settings of a profile file for a method; none without a file.

    Raises:
        ConfigError: the file is missing or no profile.
    """
    if path is None:
        return {}
    try:
        return from_dict(Profile, json.loads(path.read_text(encoding="utf-8"))).settings(method)
    except (OSError, ValueError) as error:
        if isinstance(error, ArError):
            raise
        raise ConfigError(
            f"the profile {str(path)!r} cannot be read ({error}); write one with `ar-decode tune MODEL --output FILE`."
        ) from error
