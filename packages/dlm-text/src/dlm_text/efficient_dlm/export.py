"""`ar-train export` of Efficient-DLM checkpoints: in blocks by the loader of SDAR, hybrids one token at a time. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ar_core.errors import CheckpointError, ConfigError, UnsupportedModelError
from ar_core.json_text import read_fields
from ar_core.registry import Exporter
from ar_core.serving import SDAR_MASK_ID, Engine, served, taken

from dlm_text.autoregressive.export import export_tokens

if TYPE_CHECKING:
    from .checkpoint import Conversion

__all__ = ["EXPORTER", "claims", "export"]

EXPORTER = Exporter(
    name="efficient_dlm",
    summary="Efficient-DLM: on Qwen3 in blocks (sglang, threshold=0.9); hybrids one token at a time",
    claims="dlm_text.efficient_dlm.export:claims",
    export="dlm_text.efficient_dlm.export:export",
)

FIELDS = (
    "block_size",
    "dlm_paradigm",
    "dlm_type",
    "mask_token_id",
    "tok_mask_half_life_ratio",
    "training_paradigm",
    # Of the published layout alone.
    "adaptive_mask_rate",
    "ar_loss_weight",
    "attn_implementation",
    "auto_map",
    "disable_qk_norm",
    "dlm_arch",
    "prefix_ratio",
    "random_length_prob",
)
"""What a config has beside that of the base."""

SDAR = "SDARForCausalLM"


def claims(folder: Path, fields: Mapping[str, Any]) -> bool:
    """Whether a folder holds a checkpoint of Efficient-DLM, published or plain."""
    del folder
    named = any(fields.get(name) is not None for name in ("dlm_paradigm", "training_paradigm"))
    return named or fields.get("architectures") == ["EfficientDLM"]


def export(engine: Engine, source: Path, destination: Path, settings: Mapping[str, Any]) -> str:
    """Write the folder; see :class:`ar_core.registry.Exporter`.

    Raises:
        UnsupportedModelError: it is no hybrid, and the engine has no loader for how it was trained.
    """
    from .checkpoint import Conversion

    fields = read_fields(source / "config.json")
    conversion = Conversion.of_checkpoint(SimpleNamespace(**fields), source)
    if conversion.clean == "token" or conversion.attention_pattern == "autoregressive":
        taken(settings)
        return export_tokens(engine, source, destination, without=FIELDS)
    reasons = _reasons(engine, conversion, fields)
    if reasons:
        raise UnsupportedModelError(
            f"{str(source)!r} is a checkpoint of Efficient-DLM that no loader of the engine decodes in blocks ({'; '.join(reasons)}), and "
            f"{served(engine)}: only hybrids (clean=token) can be read one token at a time"
        )
    threshold = taken(settings, "threshold").get("threshold", 0.9)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise ConfigError(f"threshold is {threshold!r}, but a confidence lies in [0, 1]: give one such as 0.9")
    return _export_blocks(engine, source, destination, conversion, threshold)


def _reasons(engine: Engine, conversion: "Conversion", fields: Mapping[str, Any]) -> list[str]:
    """Why the loader of SDAR would compute something else."""
    found = []
    if not any(known.name == SDAR for known in engine.architectures):
        found.append(f"{engine.name} has none that decodes blocks of a dense model")
    if conversion.attention_pattern != "block_clean":
        found.append(f"attention_pattern is {conversion.attention_pattern!r} and it computes 'block_clean'")
    if conversion.token_shift:
        found.append("token_shift is true and it predicts a token at its own place")
    if fields.get("model_type") != "qwen3":
        found.append(f"model_type is {fields.get('model_type')!r} and it normalises queries and keys as 'qwen3' does")
    return found


def _export_blocks(engine: Engine, source: Path, destination: Path, conversion: "Conversion", threshold: float) -> str:
    """Give M the row that the engine takes for it, and the head weights of its own."""
    import torch
    from ar_core.hf import export_pretrained, load_causal_lm, untie_embeddings

    loaded = load_causal_lm(source)
    model: Any = loaded.model
    rows = model.config.vocab_size
    if rows <= SDAR_MASK_ID:
        raise UnsupportedModelError(
            f"{str(source)!r} has {rows} tokens, and {engine.name} takes token {SDAR_MASK_ID} for the mask token of {SDAR}: give a "
            "checkpoint with the vocabulary of Qwen3 (151,936 rows)"
        )
    if not 0 <= conversion.mask_id < rows:
        raise CheckpointError(
            f"{str(source)!r} has mask token {conversion.mask_id!r}, but its embedding has rows 0 to {rows - 1}: get weights and config "
            "together again"
        )
    used = loaded.tokenizer is not None and SDAR_MASK_ID in loaded.tokenizer.get_vocab().values()
    if used and conversion.mask_id != SDAR_MASK_ID:
        raise UnsupportedModelError(
            f"{str(source)!r} has mask token {conversion.mask_id} and another token in place {SDAR_MASK_ID}, which {engine.name} takes "
            f"for the mask token of {SDAR}: give a checkpoint whose tokenizer leaves that place free"
        )
    untie_embeddings(model)
    with torch.no_grad():
        for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            places = [conversion.mask_id, SDAR_MASK_ID]
            weight[places] = weight[places[::-1]].clone()
    text = f"# --dllm-algorithm-config of {engine.name}\nblock_size: {conversion.diffusion_block_size}\nthreshold: {threshold}\n"
    export_pretrained(
        model,
        loaded.tokenizer,
        destination,
        engine,
        name=SDAR,
        without=FIELDS,
        files={"low_confidence.yaml": text},
    )
    # The loader looks for a field that configs of transformers 5 do not have, and takes 10,000 where it finds none.
    override = json.dumps({"rope_theta": model.config.rope_parameters["rope_theta"]})
    return (
        f" --dllm-algorithm LowConfidence --dllm-algorithm-config {{folder}}/low_confidence.yaml "
        f"--json-model-override-args '{override}'"
    )
