"""Loading causal language models strictly, from a folder, the hub, a GGUF file or an installed wheel."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from ar_core.errors import CheckpointError
from ar_core.hf.agreement import TESTED, check_agreement
from ar_core.hf.attention import IMPLEMENTATION, register
from ar_core.hf.gguf import converted_gguf
from ar_core.hf.published import published_keys, register_published
from ar_core.hf.quiet import quiet
from ar_core.hf.source import WHEELS, locate
from ar_core.hf.supported import check_supported
from ar_core.io import read_checkpoint, read_header, require_modest
from ar_core.io.strict import key_ranges
from ar_core.json_text import read_json
from ar_core.shapes_only import allocating, only_shapes

__all__ = ["WHEELS", "LoadedModel", "check_source", "load_causal_lm", "load_tokenizer"]


@dataclass(frozen=True)
class LoadedModel:
    """A model with what belongs to it."""

    model: PreTrainedModel
    """The causal LM, in eval mode, driven through our attention."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""
    source: str
    """What it was loaded from, as the user gave it."""
    revision: str | None = None
    """What exactly that was: the commit of a hub id, the sha256 of a GGUF file; None for a folder."""


def load_causal_lm(
    source: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a causal LM and its tokenizer; never runs code of a checkpoint.

    Model types that no test covers are checked once against their own attention (`check_agreement`).

    Args:
        source: folder in Hugging Face layout, hub id, `*.gguf` file, or a name of `WHEELS`; `~` and `$NAME` are expanded.
        dtype: of the weights; None keeps the stored one (GGUF: float32).
        device: where the model goes.

    Raises:
        CheckpointError: nothing is there, a file is truncated, or keys are missing, unexpected or misshapen.
        UnsupportedModelError: the architecture cannot be driven.
    """
    where = locate(source)
    if isinstance(where, Path) and where.suffix == ".gguf":
        with converted_gguf(where, str(source)) as (folder, digest):
            return _load(folder, str(source), dtype, device, digest)
    return _load(where, str(source), dtype, device, None)


def _shaped(config: Any, dtype: torch.dtype | None) -> PreTrainedModel:
    """The model that a config describes, without weights; none are read."""
    loader: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with quiet(), allocating():
        model = loader._from_config(config, dtype=dtype or config.dtype, attn_implementation=IMPLEMENTATION)
    out: PreTrainedModel = model.eval()
    return out


def check_source(source: str | Path) -> None:
    """Refuse a model by its name and its config alone, before anything large is read or downloaded.

    Args:
        source: see `load_causal_lm`.

    Raises:
        CheckpointError: nothing is there, or its config cannot be used.
        UnsupportedModelError: the architecture cannot be driven.
    """
    where = locate(source)
    if not (isinstance(where, Path) and where.suffix == ".gguf"):
        _supported_config(where, str(source))


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or hub id.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    try:
        with quiet():
            found = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            # Settings of other types than those that are meant, such as a text for a length, tell at the first text.
            found("a", verbose=False)
            return found
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A panic of the extension that parses tokenizer.json is no Exception.
        raise CheckpointError(
            f"The tokenizer of {str(source)!r} cannot be read ({first_line(error)}); the folder needs tokenizer.json."
        ) from error


def _load(
    where: Path | str, source: str, dtype: torch.dtype | None, device: torch.device | str, revision: str | None
) -> LoadedModel:
    register()
    config = _supported_config(where, source)
    if only_shapes():
        return LoadedModel(_shaped(config, dtype), load_tokenizer(where) if _has_tokenizer(where) else None, source)
    # It names code files that lie beside this checkpoint and would not lie beside one saved from it.
    config.__dict__.pop("auto_map", None)
    if isinstance(where, Path):
        held: dict[str, Any] = {}
        for file in sorted(where.glob("*.safetensors")):
            held |= {name: entry["shape"] for name, entry in read_header(file).items() if name != "__metadata__"}
        with quiet():
            require_modest(lambda: AutoModelForCausalLM.from_config(config), held, source)
    renamed = published_keys(config)
    loader: Any = AutoModelForCausalLM
    folder = tensors = None
    if renamed is not None:
        # Auto classes read files themselves, under the names that those have.
        loader = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        folder = where if isinstance(where, Path) else downloaded(where)
        tensors = renamed.to_ours(read_checkpoint(folder))
    try:
        # Keys that a checkpoint lacks are filled from the global generator before they are reported.
        with quiet(), torch.random.fork_rng(devices=[]):
            found: Any = loader.from_pretrained(
                where if tensors is None else None,
                config=config,
                state_dict=tensors,
                dtype=dtype or "auto",
                attn_implementation=IMPLEMENTATION,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
            )
            if folder is not None and (folder / "generation_config.json").is_file():
                # Read with the weights otherwise; it may hold more stop ids than the tokenizer.
                found[0].generation_config = GenerationConfig.from_pretrained(folder)
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {source!r} cannot be read ({first_line(error)}); give a complete model in Hugging Face "
            "layout."
        ) from error
    model, report = found
    check_keys(report, source, config.model_type)
    nn.Module.to(model, device).eval()
    if config.model_type not in TESTED:
        check_agreement(model)
    tokenizer = load_tokenizer(where) if _has_tokenizer(where) else None
    return LoadedModel(model, tokenizer, source, revision or getattr(config, "_commit_hash", None))


def downloaded(hub_id: str) -> Path:
    """Folder of a hub id's weights and JSON files.

    Raises:
        CheckpointError: it cannot be downloaded.
    """
    try:
        return Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {hub_id!r} cannot be downloaded ({first_line(error)}); check the id and the network, or give "
            "a folder."
        ) from error


def _supported_config(where: Path | str, source: str) -> Any:
    register_published()
    config = _config(where, source)
    check_supported(config)
    return config


def _config(where: Path | str, source: str) -> Any:
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        names = getattr(config, "architectures", None) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"its architectures are {names!r:.100}, no list of names")
        return config
    except Exception as error:
        kind = ""
        if isinstance(where, Path) and (where / "config.json").is_file():
            with suppress(ValueError, AttributeError):
                kind = f", model_type {read_json(where / 'config.json').get('model_type')!r}"
        raise CheckpointError(
            f"The config of {source!r}{kind} cannot be used ({first_line(error)}); give a causal language model that "
            "transformers knows."
        ) from error


def check_keys(report: dict[str, Any], source: str, model_type: str) -> None:
    """Refuse a checkpoint by the loading report of transformers.

    Args:
        report: `missing_keys`, `unexpected_keys` and `mismatched_keys`, as `output_loading_info` gives them.
        source: names the checkpoint in messages.
        model_type: of its config.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen; names them.
    """
    misshapen = [
        f"{key} {list(held)} instead of {list(wanted)}" for key, held, wanted in sorted(report["mismatched_keys"])
    ]
    faults = [
        f"it lacks {key_ranges(sorted(report['missing_keys']))}" if report["missing_keys"] else "",
        f"it has {key_ranges(sorted(report['unexpected_keys']))}, which the model does not know"
        if report["unexpected_keys"]
        else "",
        f"its shapes differ: {', '.join(misshapen)}" if misshapen else "",
    ]
    if any(faults):
        raise CheckpointError(
            f"The checkpoint {source!r} does not fit its config of type {model_type!r}: {'; '.join(filter(None, faults))}; "
            f"give the weights that belong to the config."
        )


def _has_tokenizer(where: Path | str) -> bool:
    return not isinstance(where, Path) or (where / "tokenizer.json").is_file() or (where / "tokenizer.model").is_file()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
