"""A controlled generator as the sampling protocol takes it: image i is drawn under map i.

Source: ours.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, cast

import torch
from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, DataError
from ar_core.training.device import choose_device
from torch import Tensor

from ..backbones.class_labels import checked_labels
from ..backbones.var.model import Var
from ..checkpoint import fingerprint, load_checkpoint, require_pair
from ..decoding.generated import GeneratedImages, OnScale
from ..evaluation.computing import dtype_name, placed
from ..evaluation.generation import ImageGenerator
from ..evaluation.sampling_config import ComputeDtype
from ..pixels import to_signed
from .checkpoint import LoadedController, load_controller, require_base
from .decode import ControlDecoding, generate

__all__ = ["open_controlled", "require_kind"]


def require_kind(loaded: LoadedController, kind: str) -> int:
    """Return the number of a kind of control among those that a controller was trained for.

    Raises:
        CheckpointError: it is none of them.
    """
    known = [one.kind for one in loaded.controls]
    if kind not in known:
        raise CheckpointError(
            f"{loaded.path} was trained for {', '.join(known)} and {kind!r} was asked for: give a controller of it"
        )
    return known.index(kind)


def open_controlled(
    adapter: str,
    checkpoint: str,
    tokenizer: str,
    maps: Tensor,
    labels: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    kind: str | None = None,
    device: str = "cpu",
    dtype: ComputeDtype = "auto",
) -> ImageGenerator:
    """Load base, tokenizer and controller, and check that they belong together.

    Args:
        adapter: folder of the controller; ``~`` and ``$NAME`` are expanded.
        checkpoint: folder of its base.
        tokenizer: folder of the base's tokenizer.
        maps: uint8 [N, 3, H, W].
        labels: N classes; None: the null class.
        settings: of `ControlDecoding`, by name.
        kind: of the maps; None: the first that the controller was trained for.
        device: as in `ar_core.training.choose_device`.
        dtype: that all compute in.

    Returns:
        A generator whose "prompts" are the maps, by number.

    Raises:
        CheckpointError: a folder cannot be loaded, or they do not belong together.
        ConfigError: a setting is unknown or out of range.
        DataError: there is not one label for each map, or one is no class.
    """
    where = choose_device(device)
    options = from_dict(ControlDecoding, settings or {}, "decoding")
    loaded = load_controller(expand_path(adapter))
    base = load_checkpoint(expand_path(checkpoint), "generator")
    coder = load_checkpoint(expand_path(tokenizer), "tokenizer")
    require_base(loaded, base)
    require_pair(base, coder)
    given = fingerprint(coder.model)
    if loaded.tokenizer not in (None, given):
        raise CheckpointError(
            f"{loaded.path} was trained with the tokenizer {loaded.tokenizer} and {coder.path} is {given}: give the tokenizer it was trained with"
        )
    number = 0 if kind is None else require_kind(loaded, kind)
    options.require_scales(cast(Var, base.model).schedule.count)
    count = cast(Var, base.model).config.num_classes
    classes = checked_labels([count] * len(maps) if labels is None else list(labels), count)
    if len(classes) != len(maps):
        raise DataError(f"{len(classes)} labels and {len(maps)} control maps were given: give one label for each map")
    facts = {
        "kind": loaded.kind,
        "adapter": _digest(loaded),
        "checkpoint": fingerprint(base.model),
        "tokenizer": given,
        "control": loaded.controls[number].kind,
        "provenance": {"adapter": dict(loaded.provenance)},
        "maps": sha256(maps.contiguous().numpy().tobytes()).hexdigest()[:16],
        "classes": classes.tolist(),
        "decoding": dict(settings or {}),
        # What numbers name, as those of prompts do, is no class.
        "prompts": [f"map {number}" for number in range(len(maps))],
    }
    models: list[Any] = [placed(one, where, dtype) for one in (base, coder)]
    controller: Any = loaded.model.requires_grad_(False).to(where, next(models[0].parameters()).dtype)
    facts["dtype"] = dtype_name(models[0])

    # What is asked for are maps, by number.
    def sample(labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None) -> GeneratedImages:
        rows = torch.tensor(list(labels))
        return generate(
            models[0],
            controller,
            models[1],
            to_signed(maps[rows]),
            classes[rows],
            options,
            kinds=torch.full((len(rows),), number, device=where),
            seed=list(seeds),
            on_scale=on_scale,
        )

    return ImageGenerator(loaded.kind, len(maps), sample, facts, models[1].decode, tuple(facts["prompts"]))


def _digest(loaded: LoadedController) -> str:
    digest = sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(name.encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
