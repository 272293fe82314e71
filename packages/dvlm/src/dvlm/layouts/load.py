"""Loading a vision-language model in whatever layout it comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.config import from_dict
from ar_core.errors import ArError, CheckpointError, ConfigError
from ar_core.hf import IMPLEMENTATION, cast_weights, load_causal_lm, load_tokenizer, register
from ar_core.hf.load import check_keys, downloaded, first_line
from ar_core.hf.quiet import quiet
from ar_core.hf.source import locate
from ar_core.io import load_strict, read_checkpoint, read_header, read_tensors, require_modest
from ar_core.json_text import read_fields
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from ..assembled import AssembledVL
from ..model import VisionLanguageModel
from ..qwen_vl import FAMILIES, QwenVL
from ..settings import Settings
from ..towers import ConnectorConfig, TowerConfig, build_tower
from ..towers.efficientnet_lite import EfficientNetLiteTower
from ..towers.hugging_face import HuggingFaceTower
from . import assembled_keys, qwen_keys

__all__ = ["OURS", "LoadedVL", "load_vision_language"]

OURS = "dvlm.json"
"""File of our own layout, and (without suffix) the field of ours in a hub config."""


@dataclass(frozen=True)
class LoadedVL:
    """A vision-language model with what belongs to it."""

    model: VisionLanguageModel
    """In eval mode, its language model driven through our attention."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""
    settings: Settings | None
    """What the checkpoint says about itself; None for a plain base of the hub."""
    source: str
    """What it was loaded from, as the user gave it."""


def load_vision_language(
    source: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> LoadedVL:
    """Load a vision-language model and its tokenizer; never runs code of a checkpoint.

    Args:
        source: folder or hub id in any layout of :mod:`dvlm.layouts`; `~` and `$NAME` are expanded.
        dtype: of the weights; None keeps the stored one.
        device: where the model goes.

    Raises:
        CheckpointError: nothing is there, a file is truncated, or keys are missing, unexpected or misshapen, or a field of its
            config is out of range or of another type.
        UnsupportedModelError: the architecture is not supported.
    """
    register()
    where = locate(source)
    folder = where if isinstance(where, Path) else downloaded(where)
    try:
        return _loaded(folder, str(source), dtype, device)
    except ArError:
        raise
    except Exception as error:
        # Transformers, its validation and torch raise errors of many kinds for settings that no config has.
        raise CheckpointError(
            f"The checkpoint {str(source)!r} cannot be read ({first_line(error)}); give a complete model in one of the known layouts."
        ) from error


def _loaded(folder: Path, source: str, dtype: torch.dtype | None, device: torch.device | str) -> LoadedVL:
    model: VisionLanguageModel
    settings: Settings | None
    if (folder / OURS).is_file():
        model, settings, words = _ours(folder, dtype)
    else:
        published = read_fields(folder / "config.json")
        kind, architectures = str(published.get("model_type")), published.get("architectures") or ()
        words = folder
        converter = (folder / "vision_tower.safetensors").is_file()
        released = any(str(name).startswith("DiffusionVL") for name in architectures)
        if kind == assembled_keys.MODEL_TYPE or (released and kind != qwen_keys.MODEL_TYPE and _has_connector(folder)):
            model, settings = _route2(folder, published, dtype)
        elif kind == qwen_keys.MODEL_TYPE or released or converter:
            model, settings = _route1(folder, published, dtype)
        elif kind in FAMILIES:
            model = QwenVL(_from_pretrained(folder, source, dtype))
            own = published.get("dvlm")
            with _said_by(folder / "config.json"):
                settings = None if own is None else from_dict(Settings, own, "dvlm")
        else:
            raise CheckpointError(
                f"the checkpoint {source!r} has model_type {kind!r}: give Qwen2.5-VL, Qwen3-VL or a DiffusionVL checkpoint, or put a "
                "language model and a tower together"
            )
    if settings is not None:
        _check_mask(model, settings, source)
    nn.Module.to(model, device).eval()
    has_tokenizer = any((words / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return LoadedVL(model, load_tokenizer(words) if has_tokenizer else None, settings, source)


def _has_connector(folder: Path) -> bool:
    """Whether a hub release, whose names of classes were never seen, holds the connector of route 2."""
    names = {name for file in folder.glob("*.safetensors") for name in read_header(file)}
    return "model.mm_projector.0.weight" in names


def _from_pretrained(
    folder: Path, source: str, dtype: torch.dtype | None, config: Any = None, tensors: Any = None
) -> Any:
    """A model of transformers from a folder, or from tensors under the names of its hub layout."""
    kind: Any = AutoModelForImageTextToText
    held = {} if tensors is None else {name: tensor.shape for name, tensor in tensors.items()}
    for file in [] if held else sorted(folder.glob("*.safetensors")):
        held |= {name: entry["shape"] for name, entry in read_header(file).items() if name != "__metadata__"}
    try:
        config = config or AutoConfig.from_pretrained(folder, trust_remote_code=False)
        require_modest(lambda: AutoModelForImageTextToText.from_config(config), held, source)
        if tensors is not None:
            kind = kind._model_mapping[type(config)]
        with quiet(), torch.random.fork_rng(devices=[]):
            found: Any = kind.from_pretrained(
                None if tensors is not None else folder,
                config=config,
                state_dict=tensors,
                dtype=dtype or "auto",
                attn_implementation={"text_config": IMPLEMENTATION},
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {source!r} cannot be read ({first_line(error)}); give a complete model in one of the known layouts."
        ) from error
    model, report = found
    check_keys(report, source, config.model_type)
    return model


def _route1(folder: Path, published: dict[str, Any], dtype: torch.dtype | None) -> tuple[QwenVL, Settings]:
    """Layouts (b), (c) and (d)."""
    if (folder / "vision_tower.safetensors").is_file():
        tensors: dict[str, Tensor] = {}
        for name, prefix in qwen_keys.CONVERTER_FILES.items():
            tensors |= {prefix + key: value for key, value in read_tensors(folder / name).items()}
        if (folder / "vision_config.json").is_file():
            published = {**published, "vision_config": read_fields(folder / "vision_config.json")}
    else:
        tensors = qwen_keys.PUBLISHED_KEYS.to_ours(read_checkpoint(folder))
    if not published.get("vision_config"):
        raise CheckpointError(f"{folder}/config.json has no vision_config, which says how its tower is built: add it")
    config: Any = AutoConfig.for_model(**qwen_keys.hub_config(published))
    own = published.get("dvlm")
    with _said_by(folder / "config.json"):
        settings = qwen_keys.published_settings(published) if own is None else from_dict(Settings, own, "dvlm")
    stored = next(iter(tensors.values())).dtype
    return QwenVL(_from_pretrained(folder, str(folder), dtype or stored, config, tensors)), settings


def _route2(folder: Path, published: dict[str, Any], dtype: torch.dtype | None) -> tuple[AssembledVL, Settings]:
    """Layout (e)."""
    tensors = read_checkpoint(folder)
    fields = qwen_keys.text_fields(published, Qwen2Config)
    config = Qwen2Config(**fields, attn_implementation=IMPLEMENTATION)  # type: ignore[call-arg]  # a keyword that transformers takes and does not declare
    vision = SiglipVisionConfig(**assembled_keys.siglip_fields(published, tensors))
    own, side = published.get("dvlm"), cast("int", vision.image_size)
    with _said_by(folder / "config.json"):
        settings = assembled_keys.route2_settings(published, side) if own is None else from_dict(Settings, own, "dvlm")
    encoder: Any
    held = {name: tensor.shape for name, tensor in tensors.items()}
    for build in (lambda: Qwen2ForCausalLM(config), lambda: SiglipVisionModel(vision)):
        require_modest(build, held, str(folder))
    with torch.random.fork_rng(devices=[]):
        language, encoder = Qwen2ForCausalLM(config), SiglipVisionModel(vision)
    if not any(".post_layernorm." in key for key in tensors):
        encoder.post_layernorm = nn.Identity()
    connector = ConnectorConfig(newline="model.image_newline" in tensors)
    model = AssembledVL(language, HuggingFaceTower(encoder, final_norm=False), connector)
    cast_weights(model, dtype or next(iter(tensors.values())).dtype)
    load_strict(model, tensors, source=str(folder), layout=assembled_keys.ROUTE2_KEYS.to_published)
    return model, settings


def _ours(folder: Path, dtype: torch.dtype | None) -> tuple[AssembledVL, Settings, Path]:
    """Our own layout of models put together."""
    facts = read_fields(folder / OURS)
    if absent := {"tower", "connector", "settings"} - facts.keys():
        raise CheckpointError(f"{folder / OURS} lacks {', '.join(sorted(absent))}: copy it again")
    fields = dict(facts["tower"])
    if fields.get("path") is None:
        fields["path"] = str(folder / "tower")
    with _said_by(folder / OURS):
        settings = from_dict(Settings, facts["settings"], "settings")
        connector = from_dict(ConnectorConfig, facts["connector"], "connector")
        built = from_dict(TowerConfig, fields, "tower")
    loaded = load_causal_lm(folder / "language", dtype=dtype)
    tower = build_tower(built)
    if isinstance(tower, EfficientNetLiteTower):
        load_strict(tower.network, read_tensors(folder / "tower" / "model.safetensors"), source=str(folder / "tower"))
    model = AssembledVL(loaded.model, tower, connector)
    held = read_tensors(folder / "connector.safetensors")
    own = {
        name: value for name, value in model.state_dict().items() if name.startswith(("mm_projector.", "image_newline"))
    }
    if held.keys() != own.keys():
        raise CheckpointError(
            f"{folder}/connector.safetensors holds {sorted(held)} in place of {sorted(own)}: copy it again"
        )
    load_strict(
        model.connector, {key[len("mm_projector.") :]: value for key, value in held.items() if key != "image_newline"}
    )
    if model.image_newline is not None:
        with torch.no_grad():
            model.image_newline.copy_(held["image_newline"])
    if dtype is not None:
        cast_weights(model, dtype)
    return model, settings, folder / "language"


@contextmanager
def _said_by(file: Path) -> Iterator[None]:
    """What is out of range in a checkpoint is no mistake of the user's config: names the file that says it."""
    try:
        yield
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _check_mask(model: VisionLanguageModel, settings: Settings, source: str) -> None:
    rows = model.backbone.vocab_size
    if settings.diffusion is not None and settings.diffusion.mask_id >= rows:
        raise CheckpointError(
            f"the checkpoint {source!r} masks with id {settings.diffusion.mask_id} and embeds only {rows} tokens: correct the mask id in its "
            "config"
        )
