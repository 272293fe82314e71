"""What was measured on a device, for decoders to read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.config import expand_path, from_dict, to_dict
from ar_core.environment import describe_device
from ar_core.errors import ArError, ConfigError
from ar_core.json_text import read_json

from .output import write_text
from .session import Session

__all__ = ["Profile", "model_identity", "read_profile"]


@dataclass(frozen=True)
class Profile:
    """Pass costs of one model on one device, and the settings chosen from them.

    Attributes:
        model: what was measured; see :func:`model_identity`.
        dtype: of its weights.
        engine: how its passes ran.
        weights: how its weights were stored.
        context: tokens in the cache during the measurement.
        batch: rows of a pass.
        tokens: n of the measured passes.
        seconds: minimum time of each.
        methods: for each tuned method, its settings.
        explanation: sentences that say why these.
        environment: device, versions, date, command; see :func:`environment`.
    """

    model: str
    dtype: str
    context: int
    batch: int
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    engine: str = "plain"
    weights: str = "full"
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    explanation: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)

    def settings(self, method: str) -> dict[str, Any]:
        """Settings for a method: the tuned ones, and the pass-cost curve for methods that weigh drafts by it.

        Raises:
            ConfigError: the profile was not made for the method.
        """
        if method not in self.methods:
            remedy = (
                "leave --profile out" if method == "ar" else f"tune it with `ar-decode tune MODEL --method {method}`"
            )
            raise ConfigError(
                f"the profile holds settings for {', '.join(sorted(self.methods)) or 'no method'}, and none for {method!r}; "
                f"{remedy}."
            )
        curve = {"tokens": list(self.tokens), "seconds": list(self.seconds), "context": self.context}
        return {"pass_cost": curve, **self.methods[method]}

    def check_made_for(self, session: Session) -> None:
        """Refuse to decode with what was measured on something else.

        Raises:
            ConfigError: the profile was made for another model, dtype, engine, weights, device or number of threads.
        """
        noted = self.environment.get("device")
        device = noted if isinstance(noted, dict) else {}
        here = describe_device(session.device)
        facts = {
            "model": (self.model, model_identity(session.source)),
            "dtype": (self.dtype, session.dtype),
            "engine": (self.engine, session.engine),
            "weights": (self.weights, session.weights),
            "device": (device.get("name"), here["name"]),
            "number of threads": (device.get("threads"), here["threads"]),
        }
        for what, (made, found) in facts.items():
            if made != found:
                raise ConfigError(
                    f"the profile was made for the {what} {made!r}, and this is {found!r}; make one here with `ar-decode tune`, "
                    "or leave --profile out."
                )

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_text(path, json.dumps(to_dict(self), indent=2) + "\n")


def model_identity(source: str) -> str:
    """What a profile knows a model by: the absolute path of a folder or file, else the name as it was given."""
    path = expand_path(source)
    return str(path.resolve()) if path.exists() else source


def read_profile(path: Path) -> Profile:
    """Read a profile file.

    Raises:
        ConfigError: the file is missing or no profile.
    """
    try:
        return from_dict(Profile, read_json(path))
    except (OSError, ValueError) as error:
        if isinstance(error, ArError):
            raise
        raise ConfigError(
            f"the profile {str(path)!r} cannot be read ({error}); write one with `ar-decode tune MODEL --output FILE`."
        ) from error
