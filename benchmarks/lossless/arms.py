"""The decoders that are compared: registered ones with their settings, and Hugging Face's."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ar_core.config import apply_overrides
from ar_core.decoding import DecodeStats
from ar_core.environment import portable
from ar_core.errors import ArError, ConfigError
from ar_core.registry import decoders
from ar_decode.methods import Generation, Method, build_method, own_settings
from ar_decode.session import Session

__all__ = ["AR", "Answer", "Arm", "RegisteredArm", "default_arms", "registered_arm"]

AR = "ar"
"""The baseline in our engine."""


@dataclass(frozen=True)
class Answer:
    """Output ids without the stop token, the wall clock, and what it cost.

    Attributes:
        costs: what else is added up over prompts: passes and tokens of a drafter.
    """

    tokens: list[int]
    finish: str
    seconds: float
    stats: DecodeStats
    costs: dict[str, float] = field(default_factory=dict)


class Arm(Protocol):
    """One decoder with all its settings."""

    @property
    def label(self) -> str:
        """Unique name, as tables show it."""
        ...

    def describe(self) -> dict[str, Any]:
        """Everything that decides its output and its cost; JSON-able."""
        ...

    def answer(self, ids: list[int], max_new_tokens: int) -> Answer:
        """Decode one prompt greedily."""
        ...


@dataclass(frozen=True)
class RegisteredArm:
    """A decoder of the registry."""

    label: str
    session: Session
    method: Method

    def describe(self) -> dict[str, Any]:
        """Method and settings."""
        return self.method.describe()

    def answer(self, ids: list[int], max_new_tokens: int) -> Answer:
        """Decode one prompt greedily."""
        begun = time.perf_counter()
        decoded = self.method.decode(self.session, [ids], Generation(max_new_tokens))
        seconds = time.perf_counter() - begun
        drafting = getattr(decoded, "drafting", None)
        costs = {} if drafting is None else {"drafter_forwards": drafting.forwards, "drafter_tokens": drafting.tokens}
        return Answer(decoded.tokens[0], decoded.finish[0], seconds, decoded.stats, costs)


def registered_arm(session: Session, asked: str) -> RegisteredArm:
    """The arm that a text asks for: ``lookup draft_length=10 fallback=false``, or with a name of its own before a colon,
    ``small drafter: diffuspec drafter=runs/small``.

    Raises:
        ConfigError: no such decoder, a setting that it lacks, or one that is not ``key=value``.
    """
    label, colon, rest = asked.partition(": ")
    name, *overrides = (rest if colon else asked).split() or [""]
    settings = own_settings(name, apply_overrides({}, overrides))
    shown = label if colon else portable(" ".join([name, *overrides]))
    return RegisteredArm(shown, session, build_method(name, session, settings, {}))


def default_arms(session: Session, left_out: Sequence[str] = ()) -> list[RegisteredArm]:
    """AR, then every registered lossless decoder; one that can fall back to fewer drafts also without that.

    Args:
        session: the model.
        left_out: names of decoders that are not compared.

    Raises:
        ConfigError: a decoder cannot be built from its defaults; says how to give its settings or leave it out.
    """
    arms = [registered_arm(session, AR)]
    for name, record in decoders().items():
        if not record.lossless or name in left_out:
            continue
        try:
            arm = registered_arm(session, name)
        except ArError as error:
            raise ConfigError(
                f"the lossless decoder {name!r} cannot be built without settings ({str(error).removesuffix('.')}); give it as "
                f"--arm '{name} key=value', or leave it out with --without {name}."
            ) from error
        arms.append(arm)
        if hasattr(arm.method.options, "fallback"):
            arms.append(registered_arm(session, f"{name} fallback=false"))
    return arms
