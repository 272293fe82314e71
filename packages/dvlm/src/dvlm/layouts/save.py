"""Saving a vision-language model in any of the layouts."""

import copy
import json
from pathlib import Path
from typing import Any, Literal

from ar_core.config import to_dict
from ar_core.errors import ConfigError
from ar_core.hf import save_pretrained
from ar_core.io import atomic_directory, read_checkpoint, require_replaceable, save_tensors
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2Config, SiglipVisionConfig

from ..assembled import AssembledVL
from ..model import VisionLanguageModel
from ..qwen_vl import QwenVL
from ..settings import Settings
from ..towers import ConnectorConfig
from ..towers.efficientnet_lite import NAME, EfficientNetLiteTower
from . import assembled_keys, qwen_keys
from .load import OURS

__all__ = ["Layout", "save_vision_language"]

Layout = Literal["own", "published", "converter"]
"""Whose tools load the folder; see :func:`save_vision_language`."""


def save_vision_language(
    model: VisionLanguageModel,
    directory: str | Path,
    settings: Settings | None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    layout: Layout = "own",
) -> None:
    """Save a model as one folder that appears only when complete; adapters are merged into a copy.

    Args:
        model: of either route.
        directory: folder to write; a checkpoint or an empty folder there is replaced.
        settings: stored beside the weights; None for a plain model of transformers.
        tokenizer: written beside the weights.
        layout: ``own``: what any tool of transformers loads (route 1), or `language/`, `tower/`, connector and `dvlm.json` (route
            2). ``published``: (c) or (e), for the published code. ``converter``: (b), which has no place for a tokenizer's settings.

    Raises:
        ConfigError: the layout does not exist for the model, or has no place for how it was trained.
        CheckpointError: the folder cannot be written, or holds something else.
    """
    directory = Path(directory)
    require_replaceable(directory, ("config.json", OURS))
    if layout != "own" and settings is not None:
        _check_published(settings, layout)
    if isinstance(model, QwenVL):
        _save_qwen(model, directory, settings, tokenizer, layout)
        return
    assert isinstance(model, AssembledVL)
    if layout == "own":
        _save_own(model, directory, settings or Settings(), tokenizer)
    elif layout == "published":
        _save_route2(model, directory, settings or Settings(), tokenizer)
    else:
        raise ConfigError("the layout 'converter' exists for Qwen2.5-VL alone: choose own or published")


def _check_published(settings: Settings, layout: Layout) -> None:
    """The published code would run these without a word, in its own way."""
    clean = "block" if settings.diffusion is None else settings.diffusion.clean
    if settings.mrope or clean != "block":
        found = "three-part positions" if settings.mrope else "a token-causal clean half"
        raise ConfigError(
            f"the model was trained with {found}, which the layout {layout!r} cannot say and its code does not do: choose own"
        )


def _save_qwen(
    model: QwenVL, directory: Path, settings: Settings | None, tokenizer: PreTrainedTokenizerBase | None, layout: Layout
) -> None:
    extra = {} if settings is None else {"dvlm": to_dict(settings)}
    if layout == "own":
        # In a folder of its own, since what is replaced may be of route 2.
        with atomic_directory(directory, replace=True) as folder:
            save_pretrained(model.language, folder, tokenizer=tokenizer, extra_config=extra)
        return
    if model.base_language.config.model_type != "qwen2_5_vl":
        raise ConfigError(
            f"the layout {layout!r} exists for Qwen2.5-VL alone and this is {model.base_language.config.model_type!r}: choose own"
        )
    with atomic_directory(directory, replace=True) as folder:
        # What transformers writes is the hub layout; renamed, it is the published one.
        hub = folder / ".hub"
        save_pretrained(model.language, hub, tokenizer=tokenizer)
        config = qwen_keys.published_config(_json(hub / "config.json"), settings or Settings())
        tensors = read_checkpoint(hub)
        for file in hub.iterdir():
            if file.suffix == ".safetensors" or file.name in ("config.json", "model.safetensors.index.json"):
                file.unlink()
            else:
                file.rename(folder / file.name)
        hub.rmdir()
        _write_json(folder / "config.json", {**config, **extra})
        if layout == "published":
            save_tensors(folder / "model.safetensors", qwen_keys.PUBLISHED_KEYS.to_published(tensors), {"format": "pt"})
            return
        _write_json(folder / "vision_config.json", config["vision_config"])
        for name, prefix in qwen_keys.CONVERTER_FILES.items():
            held = {key: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
            save_tensors(folder / name, {key[len(prefix) :]: value for key, value in held.items()}, {"format": "pt"})


def _save_own(
    model: AssembledVL, directory: Path, settings: Settings, tokenizer: PreTrainedTokenizerBase | None
) -> None:
    with atomic_directory(directory, replace=True) as folder:
        save_pretrained(model.language, folder / "language", tokenizer=tokenizer)
        tower = model.tower.save(folder / "tower")
        if isinstance(model.tower, EfficientNetLiteTower):
            tower["path"] = NAME
        held = model.state_dict()
        own = {key: value for key, value in held.items() if key.startswith(("mm_projector.", "image_newline"))}
        save_tensors(folder / "connector.safetensors", own)
        connector = {**to_dict(model.config), "stage1": None}
        _write_json(folder / OURS, {"format": 1, "tower": tower, "connector": connector, "settings": to_dict(settings)})


def _save_route2(
    model: AssembledVL, directory: Path, settings: Settings, tokenizer: PreTrainedTokenizerBase | None
) -> None:
    encoder: Any = getattr(model.tower, "encoder", None)
    language: Any = model.base_language
    if (
        not isinstance(language.config, Qwen2Config)
        or encoder is None
        or not isinstance(encoder.config, SiglipVisionConfig)
    ):
        raise ConfigError("the published layout of route 2 exists for Qwen2 with a SigLIP tower alone: choose own")
    tower: Any = model.tower
    for given, fits in (
        (f"connector.depth {model.config.depth}", model.config.depth == ConnectorConfig.depth),
        (f"connector.pool {model.config.pool}", model.config.pool == 1),
        ("a tower with its final norm", not tower.final_norm),
    ):
        if not fits:
            raise ConfigError(f"the model has {given}, which the published layout of route 2 cannot say: choose own")
    plain: Any = model
    if model.language is not language:
        plain = copy.deepcopy(model)
        plain.language = plain.language.merge_and_unload()
    tensors: dict[str, Tensor] = dict(plain.state_dict())
    if language.config.tie_word_embeddings:
        tensors.pop("language.lm_head.weight")
    config = assembled_keys.route2_config(
        language.config.to_dict(), encoder.config.to_diff_dict(), settings, newline=model.image_newline is not None
    )
    with atomic_directory(directory, replace=True) as folder:
        save_tensors(folder / "model.safetensors", assembled_keys.ROUTE2_KEYS.to_published(tensors), {"format": "pt"})
        _write_json(folder / "config.json", {**config, "dvlm": to_dict(settings)})
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
