"""Checkpoints of image models: a folder of ``model.safetensors`` and ``config.json``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import torch
from ar_core.config import from_dict, to_dict
from ar_core.errors import ArError, CheckpointError
from ar_core.io import built_on_meta, load_strict, read_tensors, require_fit, save_tensors
from ar_core.json_text import read_json
from ar_core.registry import resolve
from torch import Tensor, nn

from .digest import digest_of
from .families import Family, Role, family
from .later_field import LATER_FIELD

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "Loaded",
    "filled",
    "fingerprint",
    "load_checkpoint",
    "read_record",
    "require_codebook",
    "require_codes",
    "require_finite",
    "require_pair",
    "require_pairs",
    "save_checkpoint",
]

M = TypeVar("M", bound=nn.Module)

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Files of a checkpoint's folder."""


@dataclass(frozen=True)
class Loaded:
    """A model as a checkpoint holds it.

    Attributes:
        model: in eval mode, on the CPU, in the dtype stored unless another was asked for.
        family: its kind.
        tokenizer: fingerprint of the tokenizer that a generator was trained with; None for a tokenizer, or where it is not
            known (converted weights).
        provenance: where the weights come from: source file, its digest, recipe, data; plain text by name.
        path: the folder.
    """

    model: nn.Module
    family: Family
    tokenizer: str | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


def save_checkpoint(
    directory: str | Path,
    model: nn.Module,
    *,
    tokenizer: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model into a folder, which is made if it is not there; whoever needs it whole or not at all uses ``atomic_directory``.

    Args:
        directory: the folder.
        model: of a known family: it has ``kind`` and ``config``.
        tokenizer: fingerprint of the tokenizer that a generator works with.
        provenance: JSON-able facts about the origin.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    kind = family(str(model.kind)).kind
    record = {
        "kind": kind,
        "config": to_dict(model.config),
        "tokenizer": tokenizer,
        "provenance": dict(provenance or {}),
    }
    save_tensors(directory / WEIGHTS, model.state_dict(), {"kind": kind})
    (directory / CONFIG).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_checkpoint(path: str | Path, role: Role | None = None, *, dtype: torch.dtype | None = None) -> Loaded:
    """Read a folder that :func:`save_checkpoint` wrote; every key fits, or none is loaded.

    Args:
        path: the folder.
        role: what is needed; None takes any.
        dtype: of the model; None takes the one stored. Fingerprints are the same in any that holds the stored numbers.

    Raises:
        CheckpointError: it is no such folder, of the other role, of an unknown kind, damaged, holds numbers that are none, or
            weights and config do not belong together; names the file and key.
    """
    path = Path(path)
    record = read_record(path)
    found = family(record["kind"], str(path))
    if role is not None and found.role != role:
        raise CheckpointError(
            f"{path} holds {_one(found.role)} ({found.kind}), and {_one(role)} is needed: give its folder"
        )
    try:
        config = from_dict(resolve(found.config), record["config"])
    except ArError as error:
        raise CheckpointError(f"{path / CONFIG} does not describe a {found.kind} ({error}): write it anew") from error
    tensors = read_tensors(path / WEIGHTS)
    require_finite(tensors, str(path / WEIGHTS))
    model = filled(lambda: resolve(found.model)(config), tensors, source=str(path / WEIGHTS), dtype=dtype)
    return Loaded(model, found, record["tokenizer"], record["provenance"], path)


def filled(
    build: Callable[[], M],
    tensors: Mapping[str, Tensor],
    *,
    layout: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] | None = None,
    source: str = "the checkpoint",
    dtype: torch.dtype | None = None,
) -> M:
    """Build a model and copy weights into it; every key fits, or an error names those that do not.

    The model is allocated once, in the dtype of the weights (of several, the one that holds them all): no random weights are
    drawn for it, and weights of 16 bits need no room for 32.

    Args:
        build: makes the model; all it computes while it is made must be parameters or persistent buffers.
        tensors: by the model's names, or by those of the layout.
        layout: as ``load_strict`` takes it.
        source: what the error calls the origin.
        dtype: of the model; None takes that of the weights.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen.
    """
    stored = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    model = built_on_meta(build, len(tensors), source)
    # Before memory is taken for what the config asks for.
    require_fit(model, tensors, layout=layout, source=source)
    stored_as = reduce(torch.promote_types, stored) if stored else torch.float32
    model = model.to(stored_as if dtype is None else dtype).to_empty(device="cpu")
    load_strict(model, tensors, layout=layout, source=source)
    return model.eval()


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that are no numbers.

    Raises:
        CheckpointError: names the first tensor that holds a NaN or an infinity.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{source} has values in {name!r} that are not finite: training had diverged, take an earlier checkpoint"
            )


def fingerprint(model: nn.Module) -> str:
    """Return what tells a tokenizer from any other: the first 16 hex digits of a digest of its kind, config and weights."""
    config: Any = model.config
    absent = {one.name for one in fields(config) if LATER_FIELD.items() <= one.metadata.items()}
    settings = {name: value for name, value in to_dict(config).items() if value is not None or name not in absent}
    return digest_of(model.state_dict(), f"{model.kind}/{json.dumps(settings, sort_keys=True)}")


def require_pair(generator: Loaded, tokenizer: Loaded) -> None:
    """Refuse a tokenizer that a generator was not trained with: the codes of one mean nothing to another.

    A generator that does not name its tokenizer (converted weights) takes any of the kind that it was published with whose codes have
    its number and dimension.

    Raises:
        CheckpointError: the generator knows its tokenizer and this is not it; or it does not, and this is of another kind than it
            was published with; or the codes differ in number or size.
    """
    if generator.tokenizer is not None:
        given = fingerprint(tokenizer.model)
        if generator.tokenizer != given:
            raise CheckpointError(
                f"{generator.path} was trained with the tokenizer {generator.tokenizer} and {tokenizer.path} is {given}: give "
                "the tokenizer it was trained with, any other turns its codes into noise"
            )
        return
    found, kind = generator.family, tokenizer.family.kind
    if kind != found.codes:
        raise CheckpointError(
            f"{generator.path} is a {found.kind}, whose codes are those of a {found.codes}, and {tokenizer.path} is a {kind}: "
            "give the tokenizer it was trained with"
        )
    require_codes(generator.model, tokenizer.model)


def require_codes(generator: nn.Module, tokenizer: nn.Module) -> None:
    """Refuse a tokenizer whose codes a generator cannot know; whether it is the very one, :func:`require_pair` tells.

    Raises:
        CheckpointError: their number, dimension or bits differ.
    """
    settings: Any = tokenizer.config
    names = [
        name
        for name in ("vocab_sizes", "vocab_size", "code_dim", "bits", "patchify")
        if hasattr(generator.config, name)
    ]
    wanted = {name: getattr(generator.config, name) for name in names}
    given: dict[str, Any] = {name: getattr(tokenizer, name, getattr(settings, name, None)) for name in names}
    if wanted != given:
        takes, has = (", ".join(f"{name} {value}" for name, value in one.items()) for one in (wanted, given))
        raise CheckpointError(
            f"the {type(generator).__name__} is for codes with {takes} and those of the {type(tokenizer).__name__} have {has}: "
            "give the tokenizer that it was trained with"
        )


def require_codebook(tokenizer: Loaded) -> None:
    """Refuse a tokenizer whose codes are not the rows of one codebook, for models that predict such.

    Raises:
        CheckpointError: it is one of bits, or of pairs.
    """
    if not hasattr(tokenizer.model, "codebook"):
        what = "pairs" if hasattr(tokenizer.model, "named_codebooks") else "bits"
        raise CheckpointError(
            f"{tokenizer.path} holds a {tokenizer.family.kind}, whose codes are {what}, and the model predicts codes of a codebook: "
            "give a var_vqvae or a vq"
        )


def _one(role: Role) -> str:
    return f"{'an' if role == 'upscaler' else 'a'} {role}"


def require_pairs(tokenizer: Loaded) -> None:
    """Refuse a tokenizer whose codes are not pairs of two codebooks, for models that predict such.

    Raises:
        CheckpointError: it has one codebook, or none.
    """
    if not hasattr(tokenizer.model, "vocab_sizes"):
        raise CheckpointError(
            f"{tokenizer.path} holds a {tokenizer.family.kind}, and the model is for pairs of two codebooks: give a dual_vq"
        )


def read_record(path: Path, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read the ``config.json`` of a checkpoint folder.

    Args:
        path: the folder.
        more: entries that it must have beside ``kind``, ``config``, ``tokenizer`` and ``provenance``, with their types.

    Raises:
        CheckpointError: it cannot be read, is no JSON, or lacks an entry.
    """
    try:
        record: dict[str, Any] = read_json(path / CONFIG)
    except OSError as error:
        raise CheckpointError(
            f"{path} is no checkpoint folder ({CONFIG} cannot be read: {error.strerror}): give a folder that a recipe or "
            "`ar-train convert` wrote"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path / CONFIG} is no JSON ({error}): write the checkpoint anew") from error
    needed: dict[str, Any] = {"kind": str, "config": dict, "tokenizer": (str, type(None)), "provenance": dict}
    needed |= more or {}
    wrong = [
        name for name, kind in needed.items() if not isinstance(record, dict) or not isinstance(record.get(name), kind)
    ]
    if wrong:
        raise CheckpointError(
            f"{path / CONFIG} is no description of an image model ({wrong[0]!r} is missing or of another type): give a folder "
            "that a recipe or `ar-train convert` wrote"
        )
    return record
