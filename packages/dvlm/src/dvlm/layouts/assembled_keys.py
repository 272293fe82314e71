"""Route 2: names of tensors and fields of published configs."""

import re
from collections.abc import Mapping
from typing import Any

from ar_core.errors import CheckpointError
from ar_core.io import KeyMap
from torch import Tensor

from ..images.config import ImageConfig
from ..settings import Settings
from .qwen_keys import published_diffusion, with_flat_rotary

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


def route2_settings(published: Mapping[str, Any]) -> Settings:
    """What a published config says about diffusion and pictures."""
    aspect = str(published.get("image_aspect_ratio", "anyres_max_4"))
    tiles = re.fullmatch(r"anyres_max_(\d+)", aspect)
    if aspect.startswith("anyres"):
        images = ImageConfig(fit="anyres", max_tiles=int(tiles[1]) if tiles else ImageConfig.max_tiles)
    else:
        images = ImageConfig(fit="square" if aspect == "pad" else "stretch")
    return Settings(images=images, diffusion=published_diffusion(published))


def route2_config(
    language: Mapping[str, Any], tower: Mapping[str, Any], settings: Settings, *, newline: bool
) -> dict[str, Any]:
    """The published config (e) of a Qwen2 config and a SigLIP config."""
    images, diffusion = settings.images, settings.diffusion
    aspect = {"anyres": f"anyres_max_{images.max_tiles}", "square": "pad"}.get(images.fit, "plain")
    bd3lm = {} if diffusion is None else {"bd3lm_block_size": diffusion.block_size, "mask_token_id": diffusion.mask_id}
    return {
        **with_flat_rotary(language),
        "model_type": MODEL_TYPE,
        "architectures": ["DiffusionVLQwenForCausalLM"],
        "vision_config": dict(tower),
        "mm_projector_type": "mlp2x_gelu",
        "mm_patch_merge_type": "spatial_unpad" if newline else "flat",
        "image_aspect_ratio": aspect,
        "enable_bd3lm": diffusion is not None,
        **bd3lm,
    }
