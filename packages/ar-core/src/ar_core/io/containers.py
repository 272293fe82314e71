"""The wrappings in which published weights come: a state dict inside a training checkpoint, under a compiler's prefix."""

import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from .pickles import read_pickle
from .sharded import read_checkpoint

__all__ = ["read_entry", "read_weights", "unwrap"]

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into the names of parameters, anywhere in them."""

REPLICA = "module."
"""What DDP puts before every name. Inside a name it may be the model's own."""

DEEPEST = 6
"""Levels of entries in which a state dict is looked for."""

CONTAINERS = ("model", "module", "state_dict", "trainer", "ema", "vae")
"""Entries that hold a state dict, in the order in which they are looked for."""


def read_weights(path: str | Path, *, entry: str | None = None, inside: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the flat state dict of a file or folder of weights, whatever it is wrapped in.

    Args:
        path: as in :func:`read_entry`.
        entry: as in :func:`unwrap`.
        inside: as in :func:`unwrap`.

    Raises:
        CheckpointError: as :func:`read_entry`.
    """
    return read_entry(path, entry=entry, inside=inside)[1]


def read_entry(
    path: str | Path, *, entry: str | None = None, inside: Iterable[str] = (), preferred: str | None = None
) -> tuple[str, dict[str, Tensor]]:
    """Return the entry that was taken of a file or folder of weights, '' for the top level, and its flat state dict.

    Args:
        path: a safetensors file, a folder of them, or a ``torch.save`` file; the latter is read without running code, and
            may hold ``argparse`` settings beside tensors.
        entry: as in :func:`unwrap`.
        inside: as in :func:`unwrap`.
        preferred: the entry that is taken before all others where it is there and ``entry`` is None.

    Raises:
        CheckpointError: as :func:`unwrap`, ``read_checkpoint`` and ``read_pickle`` do.
    """
    path = Path(path)
    tensors_only = os.path.isdir(path) or path.suffix in (".safetensors", ".json")
    content = read_checkpoint(path) if tensors_only else read_pickle(path, allow=(Namespace,))
    return _taken(content, entry, (*inside, *CONTAINERS), preferred, str(path))


def unwrap(
    content: Any, *, entry: str | None = None, inside: Iterable[str] = (), source: str = "the checkpoint"
) -> dict[str, Tensor]:
    """Return the flat state dict of a checkpoint, without compiler and wrapper prefixes.

    A mapping whose values are all tensors is the state dict itself. Otherwise the entry that holds one is taken: the one
    asked for, or the only one; what is no tensor beside a state dict (epochs, arguments, optimiser state) is left out.

    Args:
        content: what was read from the file.
        entry: dotted path of the entry to take, such as ``ema`` or ``trainer.gpt_ema_fsdp``; None looks for it.
        inside: further names of entries that hold the weights of this architecture, such as ``var_wo_ddp``.
        source: what the error calls the origin.

    Returns:
        Tensors by name.

    Raises:
        CheckpointError: there is no state dict, there are several and none was named, or the named entry is absent; names
            the entries that are there.
    """
    return _taken(content, entry, (*inside, *CONTAINERS), None, source)[1]


def _taken(
    content: Any, entry: str | None, names: tuple[str, ...], preferred: str | None, source: str
) -> tuple[str, dict[str, Tensor]]:
    # Whoever names an entry may name any.
    found = _states(content, (*names, *(entry or preferred or "").split(".")))
    if entry is None and preferred in found:
        entry = preferred
    if entry is not None:
        if entry not in found:
            raise CheckpointError(
                f"{source} has no weights under {entry!r}; it has them under {_listed(found)}: name one of these"
            )
        return entry, _plain(found[entry], source)
    if "" in found:
        return "", _plain(found[""], source)
    # Averaged weights lie beside the trained ones and have to be asked for, or preferred.
    trained = {where: state for where, state in found.items() if "ema" not in where.split(".")[-1]} or found
    known = [where for name in names for where in trained if where.split(".")[-1] == name]
    if not known:
        raise CheckpointError(
            f"{source} holds no weights: expected tensors by name, alone or under one of {', '.join(names)}, and found "
            f"{_keys(content)}"
        )
    if len(known) > 1:
        raise CheckpointError(f"{source} holds weights under {_listed(trained)}: say which of them to take (entry)")
    return known[0], _plain(trained[known[0]], source)


def _states(content: Any, names: tuple[str, ...], path: str = "") -> dict[str, Mapping[str, Tensor]]:
    """Every state dict inside, by its dotted path; the content itself has the path ''."""
    # A pickle's mapping may hold itself.
    if not isinstance(content, Mapping) or path.count(".") > DEEPEST:
        return {}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return {path: content}
    found: dict[str, Mapping[str, Tensor]] = {}
    for key, value in content.items():
        if isinstance(key, str) and (key in names or (path and "ema" in key)):
            found |= _states(value, names, f"{path}.{key}" if path else key)
    return found


def _plain(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    names = [_without_wrappers(str(name)) for name in state]
    replicated = all(name.startswith(REPLICA) for name in names)
    tensors: dict[str, Tensor] = {}
    for name, tensor in zip(names, state.values()):
        plain = name.removeprefix(REPLICA) if replicated else name
        if plain in tensors:
            raise CheckpointError(
                f"{source} holds {plain!r} with and without a wrapper's prefix: it is damaged, download it again"
            )
        tensors[plain] = tensor
    return tensors


def _without_wrappers(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(f".{wrapper}", ".").removeprefix(wrapper)
    return name


def _listed(found: Mapping[str, Any]) -> str:
    return ", ".join(repr(path) if path else "the top level" for path in found) or "no entry"


def _keys(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return ", ".join(repr(key) for key in list(content)[:8]) or "nothing"
