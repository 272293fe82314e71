"""Route 2: names of tensors and fields of published configs."""

import math
import re
from collections.abc import Mapping
from typing import Any

from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ..images.anyres import candidates
from ..images.config import ImageConfig
from ..settings import Settings
from .qwen_keys import published_diffusion, training_fields, with_flat_rotary

__all__ = ["MODEL_TYPE", "ROUTE2_KEYS", "route2_config", "route2_settings", "siglip_fields"]

MODEL_TYPE = "diffusionvl_qwen"
"""What the config of a published checkpoint of route 2 calls itself."""

ROUTE2_KEYS = KeyMap(
    (
        ("model.vision_tower.vision_tower.vision_model.{rest*}", "vision_tower.encoder.{rest*}"),
        ("model.mm_projector.{rest*}", "mm_projector.{rest*}"),
        ("model.image_newline", "image_newline"),
        ("lm_head.weight", "language.lm_head.weight"),
        ("model.{rest*}", "language.model.{rest*}"),
    )
)
"""Published layout (e), and the names of :class:`dvlm.assembled.AssembledVL`."""

SIGLIP2 = "google/siglip2-so400m-patch14-384"
"""The published tower."""
SIGLIP2_SHAPE = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    # One less than its own 27: the published code deletes the last when it builds the tower.
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 384,
}

_TOWER = "model.vision_tower.vision_tower.vision_model."


def siglip_fields(published: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The tower's config: `vision_config` of the checkpoint where it has one, else what its tensors tell.

    Raises:
        CheckpointError: there is no tower, or its number of heads is in neither.
    """
    given = dict(published.get("vision_config") or {})
    name = f"{_TOWER}embeddings.patch_embedding.weight"
    if name not in tensors:
        raise CheckpointError(
            f"the checkpoint of type {MODEL_TYPE!r} has no {name}, so that its vision tower is not there or no SigLIP: give the whole "
            "checkpoint"
        )
    width, _, patch, _ = tensors[name].shape
    positions = tensors[f"{_TOWER}embeddings.position_embedding.weight"].shape[0]
    found = re.compile(re.escape(_TOWER) + r"encoder\.layers\.(\d+)\.")
    layers = {int(match[1]) for key in tensors if (match := found.match(key))}
    heads = given.get("num_attention_heads", 16 if width == 1152 else None)
    if heads is None:
        raise CheckpointError(
            f"the checkpoint's vision tower has width {width} and its config no vision_config, which says how many heads it has: add "
            "vision_config with num_attention_heads to config.json"
        )
    return {
        **given,
        "hidden_size": width,
        "patch_size": patch,
        "image_size": round(positions**0.5) * patch,
        "num_hidden_layers": len(layers),
        "intermediate_size": tensors[f"{_TOWER}encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_attention_heads": heads,
        "vision_use_head": False,
    }


def route2_settings(published: Mapping[str, Any], side: int) -> Settings:
    """What a published config says about diffusion and pictures.

    Args:
        published: the config.
        side: of the tower's input.

    Raises:
        ConfigError: a value is out of range, or the resolutions of pictures are no square grid of the tower's.
    """
    aspect = str(published.get("image_aspect_ratio", "anyres_max_4"))
    tiles = re.fullmatch(r"anyres_max_(\d+)", aspect)
    if aspect.startswith("anyres"):
        most = _max_grid(published.get("image_grid_pinpoints"), side)
        # Without a number nothing is scaled down: no picture has more crops than the largest grid.
        images = ImageConfig(fit="anyres", max_grid=most, max_tiles=int(tiles[1]) if tiles else most**2)
    else:
        images = ImageConfig(fit="square" if aspect == "pad" else "stretch")
    return Settings(images=images, diffusion=published_diffusion(published))


def _max_grid(pinpoints: Any, side: int) -> int:
    """The largest i and j of resolutions side · (i, j): a list of all, or `(1x1),...,(6x6)` as on the published command line."""
    if pinpoints is None:
        return ImageConfig.max_grid
    spelt = re.fullmatch(r"\(1x1\),?\.\.\.,?\(([1-9]\d*)x\1\)", pinpoints) if isinstance(pinpoints, str) else None
    if spelt is not None:
        return int(spelt[1])
    if isinstance(pinpoints, list):
        most = math.isqrt(len(pinpoints))
        if most and sorted(pinpoints, key=str) == sorted(_pinpoints(most, side), key=str):
            return most
    raise ConfigError(
        f"image_grid_pinpoints is {str(pinpoints)!r:.80}, but must hold all multiples of {side} x {side} up to as many crops in "
        "height as in width, as (1x1),...,(6x6) does: correct it, or give another checkpoint"
    )


def _pinpoints(most: int, side: int) -> list[list[int]]:
    return [[width, height] for height, width in candidates(side, most)]


def route2_config(
    language: Mapping[str, Any], tower: Mapping[str, Any], settings: Settings, *, newline: bool
) -> dict[str, Any]:
    """The published config (e) of a Qwen2 config and a SigLIP config.

    The published code builds the tower by its name: that of the public checkpoint of its shape is written, if there is one. Where tower
    and language model were read from is not, since it may be a private path.
    """
    images = settings.images
    aspect = {"anyres": f"anyres_max_{images.max_tiles}", "square": "pad"}.get(images.fit, "plain")
    anyres = {}
    if images.fit == "anyres":
        anyres["image_grid_pinpoints"] = _pinpoints(images.max_grid, tower["image_size"])
    named = {}
    if SIGLIP2_SHAPE.items() <= tower.items():
        named = {"mm_vision_tower": SIGLIP2, "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch"}
    return {
        **with_flat_rotary({key: value for key, value in language.items() if key != "_name_or_path"}),
        "model_type": MODEL_TYPE,
        "architectures": ["DiffusionVLQwenForCausalLM"],
        "vision_config": dict(tower),
        **named,
        "mm_hidden_size": tower["hidden_size"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_patch_merge_type": "spatial_unpad" if newline else "flat",
        "image_aspect_ratio": aspect,
        **anyres,
        **training_fields(settings),
    }
