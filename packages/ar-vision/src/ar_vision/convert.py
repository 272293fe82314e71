"""Published weights become checkpoints of ours, once."""

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from hashlib import sha256
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, get_type_hints

from ar_core.config import did_you_mean, from_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import atomic_directory, read_entry
from ar_core.registry import resolve

from . import __version__
from .checkpoint import Loaded, fingerprint, load_checkpoint, require_finite, require_pair, save_checkpoint
from .families import family

__all__ = ["convert"]


def convert(
    kind: str,
    source: Path,
    destination: Path,
    *,
    entry: str | None = None,
    tokenizer: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Read weights in the layout of their publication and write them as a checkpoint folder.

    The config is inferred from names and shapes. Pickles are read without running code from them. The checkpoint records
    the file, its digest and the entry that was taken.

    Args:
        kind: as in `ar_vision.families`.
        source: a file or a folder of shards.
        destination: a folder that is not there yet.
        entry: path of the weights inside a training checkpoint; None looks for them: those that were published where the kind knows
            them, else the trained ones, also where averaged ones lie beside them.
        tokenizer: checkpoint folder of the tokenizer that a generator was trained with.
        settings: what weights of this kind do not tell, such as the grid of a LlamaGen; see its ``from_published``.

    Returns:
        A line for the terminal, which names the entry that was taken.

    Raises:
        CheckpointError: the weights cannot be read, do not have the layout of this kind (names the keys), hold numbers that
            are none, or do not fit the tokenizer.
        ConfigError: a tokenizer was given for a tokenizer; a setting is unknown or of another type, or one is needed that was
            not given.
    """
    found = family(kind)
    if found.role == "tokenizer" and tokenizer is not None:
        raise ConfigError(f"{kind} is a tokenizer itself and goes with no other: leave out the tokenizer")
    if found.from_published is None:
        raise CheckpointError(f"no published weights of a {kind} are known: train one with its recipe")
    build, settings = resolve(found.from_published), settings or {}
    known = [name for name, one in signature(build).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    if unknown := sorted(settings.keys() - known):
        raise ConfigError(f"{kind} has no setting {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
    hints = get_type_hints(build)
    typed: Any = from_dict(
        make_dataclass("Settings", [(name, hints[name], field(default=None)) for name in known]), settings
    )
    taken, tensors = read_entry(source, entry=entry, inside=found.inside, preferred=found.published)
    try:
        model = build(tensors, **{name: getattr(typed, name) for name in settings})
    except CheckpointError as error:
        raise CheckpointError(f"{source} is no {kind} as published: {error}") from error
    except ConfigError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Settings are inferred from shapes, and may be anything where shapes are.
        raise CheckpointError(
            f"{source} is no {kind} as published: its shapes fit no config ({str(error) or type(error).__name__})"
        ) from error
    # Buffers that no model takes, such as masks of -inf, may hold anything.
    require_finite(model.state_dict(), str(source))
    paired = None
    if tokenizer is not None:
        loaded = load_checkpoint(tokenizer, "tokenizer")
        require_pair(Loaded(model, found, None, path=source), loaded)
        paired = fingerprint(loaded.model)
    provenance = {
        "source": source.name,
        "sha256": _digest(source),
        "entry": taken or None,
        "settings": dict(settings),
        "converter": f"ar-vision {__version__}",
    }
    with atomic_directory(destination) as folder:
        save_checkpoint(folder, model, tokenizer=paired, provenance=provenance)
    count = sum(parameter.numel() for parameter in model.parameters())
    note = (
        ""
        if paired or found.role == "tokenizer"
        else "; its tokenizer is not recorded, give --tokenizer to have it checked"
    )
    where = f" under {taken!r}" if taken else ""
    return f"{kind} with {count:,} parameters{where} written to {destination}{note}"


def _digest(source: Path) -> dict[str, str]:
    """SHA-256 of each file of weights, by name."""
    if source.suffix == ".json":
        # An index of the shards beside it.
        source = source.parent
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    digests = {}
    for file in files:
        with file.open("rb") as stream:
            digest = sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
        digests[file.name] = digest.hexdigest()
    return digests
