"""`ar-train export` of vision-language models: autoregressive Qwen2.5-VL, one token at a time. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.errors import CheckpointError, UnsupportedModelError
from ar_core.registry import Exporter
from ar_core.serving import Engine, served, taken

from ..images.config import ImageConfig
from ..settings import Settings

__all__ = ["VISION_LANGUAGE", "claims", "export"]

VISION_LANGUAGE = Exporter(
    name="vl_autoregressive",
    summary="Qwen2.5-VL trained autoregressively with three-part positions: one token at a time",
    claims="dvlm.layouts.export:claims",
    export="dvlm.layouts.export:export",
)

COPIED = ("preprocessor_config.json", "video_preprocessor_config.json", "chat_template.json")
"""What a base of the hub has beside its weights, and a checkpoint of ours has not."""


def claims(folder: Path, fields: Mapping[str, Any]) -> bool:
    """Whether a folder holds a vision-language model in any layout of :mod:`dvlm.layouts`."""
    diffusion = str(fields.get("model_type")).startswith("diffusionvl")
    return diffusion or "vision_config" in fields or (folder / "dvlm.json").is_file()


def export(engine: Engine, source: Path, destination: Path, settings: Mapping[str, Any]) -> str:
    """Write the folder; see :class:`ar_core.registry.Exporter`.

    Raises:
        UnsupportedModelError: no loader of the engine computes it, or its pictures and turns are put otherwise in training.
        CheckpointError: a file beside the weights is no text.
    """
    taken(settings)
    if (source / "dvlm.json").is_file():
        raise UnsupportedModelError(
            f"{str(source)!r} is a language model put together with a tower, which no loader of an engine computes as we do, and "
            f"{served(engine)}: give its folder language/ for text alone"
        )
    from ar_core.hf import export_pretrained

    from ..qwen_vl import FAMILIES, QwenVL
    from .load import load_vision_language

    loaded = load_vision_language(source)
    found = loaded.settings
    reasons = [] if found is None else _reasons(found)
    if not isinstance(loaded.model, QwenVL):
        reasons.append("its tower is put together with a language model")
    if reasons:
        raise UnsupportedModelError(
            f"{str(source)!r} cannot be read by an engine as it was trained ({'; '.join(reasons)}), and {served(engine)}: serve it with "
            "ar-decode vlm, or train with method.mrope=true, data.images.fit=native and Qwen-VL's own turns"
        )
    model: Any = loaded.model.base_language
    files = {name: _text(source / name) for name in COPIED if (source / name).is_file()}
    if COPIED[0] not in files or found is not None:
        mean, std = FAMILIES[model.config.model_type]
        images = ImageConfig(fit="native") if found is None else found.images
        files[COPIED[0]] = _preprocessor(images, model.config.vision_config, mean, std)
    export_pretrained(model, loaded.tokenizer, destination, engine, without=("dvlm",), files=files)
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise CheckpointError(f"{path} is no text in UTF-8: copy it again") from error


def _reasons(settings: Settings) -> list[str]:
    """What an engine, which knows Qwen2.5-VL as it was released, would do otherwise."""
    chat, reasons = settings.chat, []
    if settings.diffusion is not None:
        reasons.append("it denoises blocks, and predicts a token at its own place")
    if not settings.mrope:
        reasons.append("positions of image tokens count one by one, and engines give them three parts")
    if settings.images.fit != "native":
        reasons.append(f"pictures are fitted as {settings.images.fit!r}, and engines keep their ratio")
    if chat.form != "chatml" or not chat.vision_markers or chat.break_after_image:
        reasons.append(
            "turns are not those of Qwen-VL's template (form=chatml, vision_markers=true, break_after_image=false)"
        )
    return reasons


def _preprocessor(images: ImageConfig, vision: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """`preprocessor_config.json` by which transformers fits pictures as :class:`dvlm.images.processor.PatchProcessor` does."""
    fields = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": images.min_pixels,
        "max_pixels": images.max_pixels,
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.spatial_merge_size,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"
