"""Route 1: names of tensors and fields of configs, published and of the hub."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from ar_core.errors import ConfigError
from ar_core.io import KeyMap
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

from ..images.config import ImageConfig
from ..settings import Diffusion, Settings

__all__ = [
    "CONVERTER_FILES",
    "MASK_ID",
    "PUBLISHED_KEYS",
    "hub_config",
    "published_config",
    "published_diffusion",
    "published_settings",
    "text_fields",
    "training_fields",
    "with_flat_rotary",
]

MASK_ID = 151_671
"""M of published checkpoints, whose config does not name it."""

MODEL_TYPE = "diffusionvl_qwenvl"

PUBLISHED_KEYS = KeyMap(
    (
        ("model.mm_projector.merger.{rest*}", "visual.merger.{rest*}"),
        ("model.vision_tower.vision_tower.{rest*}", "visual.{rest*}"),
        ("lm_head.weight", "lm_head.weight"),
        ("model.{rest*}", "model.{rest*}"),
    )
)
"""Published training layout (c), and the hub layout of Qwen2.5-VL."""

CONVERTER_FILES = {
    "projector.safetensors": "visual.merger.",
    "vision_tower.safetensors": "visual.",
    "model.safetensors": "",
}
"""Files of the converter's layout (b), and what goes before their keys in the hub layout; the first that fits holds a key."""

_IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


def text_fields(published: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Those fields of a flat published config that a config class of transformers knows; the rest is the training code's.

    Args:
        published: the config.
        config: the class.
    """
    known = {*signature(config).parameters, "rope_parameters", "rope_scaling", "rope_theta", "dtype", "torch_dtype"}
    return {key: value for key, value in published.items() if key in known and key != "kwargs"}


def with_flat_rotary(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A text config as the published code's release of transformers (4.55) reads it.

    It knows `rope_theta`, `rope_scaling` and `torch_dtype`, and not `rope_parameters` and `dtype`; without them it falls back on
    its own base frequency.
    """
    flat = dict(fields)
    rope = dict(flat.pop("rope_parameters", None) or {})
    if rope:
        flat["rope_theta"] = rope.pop("rope_theta")
        if "mrope_section" in rope:
            flat["rope_scaling"] = {**rope, "type": "mrope"}
        else:
            flat["rope_scaling"] = None if rope.get("rope_type") == "default" else rope
    if "dtype" in flat:
        flat["torch_dtype"] = flat.pop("dtype")
    return flat


def hub_config(published: Mapping[str, Any]) -> dict[str, Any]:
    """The config of Qwen2.5-VL inside a published one, whose text fields lie flat beside `text_config`.

    Args:
        published: of layout (b), (c) or (d).
    """
    flat = text_fields(published, Qwen2_5_VLTextConfig)
    text = {**flat, **(published.get("text_config") or {})}
    # The published class reads the flat flag; a nested one is there in some copies only, with the default of its class.
    tied = bool(published.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))
    # Some copies have a null where the tokenizer decides; the class has the published ids as defaults.
    tokens = {key: published[key] for key in _IMAGE_TOKENS if published.get(key) is not None}
    return {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **tokens,
        "tie_word_embeddings": tied,
        "text_config": {**text, "tie_word_embeddings": tied, "model_type": "qwen2_5_vl_text"},
        "vision_config": {**published["vision_config"], "model_type": "qwen2_5_vl_vision"},
    }


def published_diffusion(published: Mapping[str, Any]) -> Diffusion | None:
    """How a published config says that the model denoises; None: it was not converted. Nulls stand for the published values.

    Raises:
        ConfigError: a value is out of range or no integer.
    """
    if not published.get("enable_bd3lm", True):
        return None
    return Diffusion(_count(published, "mask_token_id", 0, MASK_ID), _count(published, "bd3lm_block_size", 1, 8))


def _count(published: Mapping[str, Any], name: str, least: int, usual: int) -> int:
    value = usual if published.get(name) is None else published[name]
    if type(value) is not int or value < least:
        raise ConfigError(f"{name} is {value!r:.60}, but must be an integer of at least {least}: correct it")
    return value


def published_settings(published: Mapping[str, Any]) -> Settings:
    """What a published config says about diffusion and pictures.

    Raises:
        ConfigError: a value is out of range.
    """
    return Settings(
        images=ImageConfig(
            fit="square" if published.get("image_aspect_ratio", "pad") == "pad" else "native",
            min_pixels=published.get("min_pixels") or ImageConfig.min_pixels,
            max_pixels=published.get("max_pixels") or ImageConfig.max_pixels,
        ),
        diffusion=published_diffusion(published),
    )


def training_fields(settings: Settings) -> dict[str, Any]:
    """What published configs of both routes say of diffusion and of images in a prompt.

    Of the noise, which `settings` do not tell, the published values; it matters in training alone.
    """
    # The published loader adds a patch token, and cuts the embedding to the tokenizer's size, where a config does not deny it.
    images = {"mm_use_im_patch_token": False, "mm_use_im_start_end": False}
    diffusion = settings.diffusion
    if diffusion is None:
        return {**images, "enable_bd3lm": False}
    return {
        **images,
        "enable_bd3lm": True,
        "bd3lm_block_size": diffusion.block_size,
        "bd3lm_antithetic_sampling": True,
        "bd3lm_sampling_eps_min": 1e-3,
        "bd3lm_sampling_eps_max": 1.0,
        "bd3lm_block_aligned_eos": True,
        "mask_token_id": diffusion.mask_id,
    }


def published_config(hub: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The published config (c) of a hub config of Qwen2.5-VL."""
    text = with_flat_rotary(hub.get("text_config") or {})
    return {
        **text,
        **with_flat_rotary({key: hub[key] for key in hub if key not in ("text_config", "vision_config", "dvlm")}),
        "model_type": MODEL_TYPE,
        "architectures": ["DiffusionVLQwenVLForCausalLM"],
        "text_config": text,
        "vision_config": hub["vision_config"],
        "image_aspect_ratio": "pad" if settings.images.fit == "square" else "native",
        "min_pixels": settings.images.min_pixels,
        "max_pixels": settings.images.max_pixels,
        **training_fields(settings),
    }
