"""All loaders by name; the modules that hold them are imported when one is asked for, since some import much."""

from collections.abc import Mapping
from importlib import import_module

from ar_core.config import did_you_mean
from ar_core.errors import DataError

from ..loader import Loader

__all__ = ["MODULES", "loader", "loaders_of"]

MODULES: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("ar_core/safetensors", "ar_core/sharded", "ar_core/torch_file"),
    "records": (
        "ar_core/yaml",
        "ar_core/run_config",
        "ar_core/jsonl",
        "ar_core/jsonl_gz",
        "ar_core/token_rows",
        "ar_core/journal",
    ),
    "runs": ("ar_core/run_checkpoint", "ar_core/metrics", "ar_core/best"),
    "images": ("ar_core/png", "ar_core/pictures", "ar_vision/decoded_pictures", "ar_vision/evaluated_npz"),
    "collections": (
        "ar_vision/npz",
        "ar_vision/jsonl",
        "ar_vision/parquet",
        "ar_vision/webdataset",
        "ar_vision/folder",
    ),
    "stages": (
        "ar_core/stage",
        "ar_vision/codes",
        "ar_vision/published_codes",
        "ar_vision/pairs",
        "ar_vision/log_probs",
        "ar_vision/drawn_images",
        "ar_vision/profile",
        "dlm_text/trajectories",
    ),
    "texts": (
        "dlm_text/arpa",
        "dlm_text/arpa_gz",
        "dlm_text/ngram_tables",
        "dlm_text/published_trajectories",
        "ar_vision/texts",
    ),
    "apps": ("ar_decode/prompts", "ar_decode/profile", "ar_decode/unfinished"),
    "conversations": ("dvlm/conversations", "dvlm/questions"),
    "image_models": ("ar_vision/checkpoint", "ar_vision/controller", "ar_vision/convert", "ar_vision/features"),
    "language_models": (
        "ar_core/causal_lm",
        "ar_core/tokenizer",
        "ar_core/gguf",
        "dlm_text/drafter",
        "dlm_text/llada",
    ),
    "vision_language_models": ("dvlm/assembled", "dvlm/published", "dvlm/connector"),
}
"""Names of the loaders in each module of this room."""


def loader(name: str) -> Loader:
    """The loader of a name.

    Raises:
        DataError: there is none.
    """
    module = next((module for module, names in MODULES.items() if name in names), None)
    if module is None:
        known = [one for names in MODULES.values() for one in names]
        raise DataError(f"there is no loader {name!r}; {did_you_mean(name, known)}")
    return next(one for one in loaders_of(module) if one.name == name)


def loaders_of(module: str) -> tuple[Loader, ...]:
    """The loaders that a module of this room holds."""
    return import_module(f"{__package__}.{module}").LOADERS  # type: ignore[no-any-return]
