"""The command that turns a published CAR checkpoint into a controller's folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import atomic_directory, read_weights

from ...backbones.var.model import Var
from ...checkpoint import fingerprint, load_checkpoint, require_finite
from ..checkpoint import save_controller
from ..controls.config import ControlConfig, ControlKind
from .car_loading import from_published

__all__ = ["convert"]


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the weights do not tell."""

    base: str
    """Folder of the converted VAR that the branch was trained beside."""
    control: ControlKind = "canny"
    """Its control; HED and sketch are soft edges."""
    image_size: int = 256


def convert(
    kind: str,
    source: Path,
    destination: Path,
    *,
    entry: str | None = None,
    tokenizer: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Read published weights of a CAR branch and write them as a folder that `ar-decode control` takes.

    Args:
        kind: ``car``.
        source: the file.
        destination: a folder that is not there yet.
        entry: path of the weights inside a training checkpoint; None looks for them.
        tokenizer: checkpoint folder of the base's tokenizer, which is recorded.
        settings: ``base``, ``control`` and ``image_size``.

    Returns:
        A line for the terminal.

    Raises:
        CheckpointError: the weights cannot be read, are not as published, or are of another base.
        ConfigError: the base is not given, or a setting is none.
    """
    given = from_dict(_Settings, settings or {})
    base = load_checkpoint(expand_path(given.base), "generator")
    if not isinstance(base.model, Var):
        raise ConfigError(f"{given.base} holds a {base.family.kind} and CAR controls a var: give the folder of one")
    tensors = read_weights(source, entry=entry, inside=())
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("car_")}
    try:
        model = from_published(own or tensors, cast(Any, base.model.config), given.image_size)
    except CheckpointError as error:
        raise CheckpointError(f"{source} is no CAR branch as published: {error}") from error
    require_finite(model.state_dict(), str(source))
    paired = None if tokenizer is None else fingerprint(load_checkpoint(tokenizer, "tokenizer").model)
    with atomic_directory(destination) as folder:
        save_controller(
            folder,
            model,
            (ControlConfig(kind=given.control),),
            base=fingerprint(base.model),
            tokenizer=paired,
            provenance={"source": source.name},
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"{kind} with {count:,} parameters written to {destination}"
