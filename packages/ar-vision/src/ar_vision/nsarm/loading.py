"""NSARM in the layout of its published weights."""

from collections.abc import Mapping
from typing import Any

from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ..backbones.infinity import loading as infinity
from ..checkpoint import filled
from ..published_layout import highest, shape_of
from ..text.config import TextEncoderName
from .config import MapConfig, NsarmModelConfig
from .layout import Layout
from .map_network import MapNetwork
from .model import Nsarm

__all__ = ["PREFIX", "from_published", "map_from_published", "map_to_published", "to_published"]

PREFIX = "map_transformer."
"""What the names of the transformation network begin with in a published file of both networks."""

KEYS = KeyMap(
    (
        ("feature_extractor.{i}.{p}", "stem.{i}.{p}"),
        ("feature_transforms.{s}.{i}.{p}", "branches.{s}.features.{i}.{p}"),
        ("transformers.{s}.layers.{l}.{rest*}", "branches.{s}.encoder.layers.{l}.{rest*}"),
        ("output_projs.{s}.{i}.{p}", "branches.{s}.output.{i}.{p}"),
    )
)
"""The published names of M, behind their prefix, and ours."""

HEADS = {64: 4, 128: 4, 256: 8, 384: 8, 512: 8, 768: 12, 1024: 16}
"""Heads of a published width, which weights do not show."""


def from_published(
    tensors: Mapping[str, Tensor],
    *,
    map_sizes: tuple[int, ...] | None = None,
    map_heads: tuple[int, ...] | None = None,
    layout: Layout | None = None,
    factor: int | None = None,
    patchify: bool | None = None,
    schedules: tuple[tuple[tuple[int, int], ...], ...] | None = None,
    text_encoder: TextEncoderName = "t5",
) -> Nsarm:
    """Build the model whose weights these are; what weights do not tell is as published, unless it is given.

    Args:
        tensors: flat state dict such as ``NSARM.pth`` holds (its parts joined): Infinity's names, and ``map_transformer.`` with M's.
        map_sizes: S_k; None: 2, 4, 8, 12, 16, 24, 32, as many as there are.
        map_heads: of M's transformers; None: those of the published widths.
        layout: of M's outputs; None: memory.
        factor: of the upscaling; None: 4.
        patchify: as Infinity's loader takes it.
        schedules: likewise.
        text_encoder: likewise.

    Returns:
        The model in the dtype of the weights, on the CPU, in eval mode; decoding resizes its inputs by area, as the published one does.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen; names it. Heads or sizes do not fit the weights.
    """
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    if not own:
        raise CheckpointError(
            f"there is no key that begins with {PREFIX!r}: these are weights of an Infinity alone, convert them as infinity"
        )
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
    network = map_from_published(own, sizes=map_sizes, heads=map_heads, layout=layout)
    transformer = infinity.from_published(rest, patchify=patchify, schedules=schedules, text_encoder=text_encoder)
    try:
        config = NsarmModelConfig(network.config, transformer.config, 4 if factor is None else factor, "area")
    except ConfigError as error:
        raise CheckpointError(f"the two networks do not fit together: {error}") from error
    weights = {
        **{f"map.{name}": tensor for name, tensor in network.state_dict().items()},
        **{f"transformer.{name}": tensor for name, tensor in transformer.state_dict().items()},
    }
    return filled(lambda: Nsarm(config), weights)


def map_from_published(
    tensors: Mapping[str, Tensor],
    *,
    sizes: tuple[int, ...] | None = None,
    heads: tuple[int, ...] | None = None,
    layout: Layout | None = None,
) -> MapNetwork:
    """Build the transformation network from its published names without their prefix; see :func:`from_published`."""
    config = _config(tensors, sizes, heads, layout or "memory")
    return filled(lambda: MapNetwork(config), tensors, layout=KEYS.to_published)


def map_to_published(network: MapNetwork) -> dict[str, Tensor]:
    """Return M's weights by published name, without the prefix."""
    return KEYS.to_published(network.state_dict())


def to_published(model: Nsarm, chunks: int = 1) -> dict[str, Tensor]:
    """Return all weights by published name; ``chunks`` as Infinity's ``to_published`` takes it."""
    own = {f"{PREFIX}{name}": tensor for name, tensor in map_to_published(model.map).items()}
    return infinity.to_published(model.transformer, chunks) | own


def _config(
    tensors: Mapping[str, Tensor], sizes: tuple[int, ...] | None, heads: tuple[int, ...] | None, layout: Layout
) -> MapConfig:
    count = highest(tensors, "feature_transforms") + 1
    widths = tuple(shape_of(tensors, f"feature_transforms.{s}.3.weight")[0] for s in range(count))
    unknown = next((width for width in widths if width not in HEADS), None)
    if heads is None and unknown is not None:
        raise CheckpointError(
            f"a width of the map is {unknown}, whose heads are not published: give map_heads, one a scale"
        )
    first, channels = shape_of(tensors, "feature_extractor.0.weight")[:2]
    settings: dict[str, Any] = {
        "channels": channels,
        "grid": shape_of(tensors, "feature_extractor.1.weight", 3)[1],
        "sizes": (2, 4, 8, 12, 16, 24, 32)[:count] if sizes is None else sizes,
        "widths": widths,
        "layers": tuple(highest(tensors, f"transformers.{s}.layers") + 1 for s in range(count)),
        "heads": tuple(HEADS[width] for width in widths) if heads is None else heads,
        "stem": (first, shape_of(tensors, "feature_extractor.3.weight")[0]),
        "layout": layout,
    }
    try:
        return MapConfig(**settings)
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no transformation network of a known shape: {error}") from error
