"""The controllers there are, by the name that their folders carry. Imports no torch."""

from dataclasses import dataclass

from ar_core.config import did_you_mean
from ar_core.errors import CheckpointError

__all__ = ["CONTROLLERS", "ControllerKind", "controller_kind"]


@dataclass(frozen=True)
class ControllerKind:
    """A kind of controller.

    Attributes:
        kind: its name in ``config.json``.
        model: ``"module:Class"``, made from its config, the base's, the side of the images and the number of controls.
        config: ``"module:Class"``, a frozen dataclass buildable by ``from_dict``.
    """

    kind: str
    model: str
    config: str


CONTROLLERS = {
    "ecm": ControllerKind("ecm", "ar_vision.ecm.model:Ecm", "ar_vision.ecm.config:EcmConfig"),
    **{
        kind: ControllerKind(
            kind, f"ar_vision.ecm.baselines.{kind}:{name}Control", f"ar_vision.ecm.baselines.config:{name}Config"
        )
        for kind, name in (("lora", "Lora"), ("full", "Full"), ("car", "Car"))
    },
}
"""All of them by kind."""


def controller_kind(kind: str, source: str) -> ControllerKind:
    """Return the controller of a kind.

    Raises:
        CheckpointError: there is none of that name; the nearest is given.
    """
    if kind not in CONTROLLERS:
        raise CheckpointError(
            f"{source} is of the kind {kind!r}, which controls nothing; {did_you_mean(kind, CONTROLLERS)}"
        )
    return CONTROLLERS[kind]
