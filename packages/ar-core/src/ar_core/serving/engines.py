"""Facts about the loaders of serving engines, each with the version and the file of the engine that it was read in.

Nothing of an engine is imported or run: this is what their published wheels say. A newer release may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ar_core.config import did_you_mean
from ar_core.errors import ConfigError, UnsupportedModelError

__all__ = ["ENGINES", "SDAR_MASK_ID", "Architecture", "Engine", "Family", "architecture", "engine", "served"]

Family = Literal["llama", "qwen2", "qwen3", "qwen2_5_vl"]
"""Layouts of checkpoints that engines load, by the architecture of the language model."""

SDAR_MASK_ID = 151_669
"""The mask token of `SDARForCausalLM`: fixed in `srt/dllm/config.py`, whatever `config.json` says."""


@dataclass(frozen=True)
class Architecture:
    """What one loader of an engine needs of a folder."""

    name: str
    """The only entry of `architectures` in `config.json`."""
    model_type: str
    """By which transformers, that engines read configs with, finds the class of the config."""
    family: Family
    """Whose names and shapes the tensors have; see :func:`ar_core.serving.expected_tensors`."""
    file: str
    """Of the engine, relative to its package; where this was read."""
    decodes: Literal["tokens", "blocks"] = "tokens"
    """One token a pass, or the masked tokens of a block in parallel."""
    fields: tuple[str, ...] = ()
    """Fields of `config.json` that the loader reads without a default of ours in mind; dots lead into sections."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Values that the loader takes for granted: another one is refused or, worse, not looked at. An absent field is fine."""
    files: tuple[str, ...] = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
    """What lies beside the weights."""
    least_vocabulary: int = 1
    """Rows that the embedding has at least."""


@dataclass(frozen=True)
class Engine:
    """A serving engine, at the version that was read."""

    name: str
    """As users type it."""
    version: str
    """Of the wheel."""
    registry: str
    """File of the engine that maps names of architectures to loaders."""
    launch: str
    """How it is started; `{folder}` stands for the folder."""
    architectures: tuple[Architecture, ...]
    """Those loaders that checkpoints of this workspace can have; the engine has many more."""


_DECODER = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "rms_norm_eps",
    "max_position_embeddings",
    "rope_parameters.rope_theta",
    "tie_word_embeddings",
)
_VISION = (
    "vision_config.depth",
    "vision_config.hidden_size",
    "vision_config.intermediate_size",
    "vision_config.num_heads",
    "vision_config.out_hidden_size",
    "vision_config.patch_size",
    "vision_config.temporal_patch_size",
    "vision_config.spatial_merge_size",
    "vision_config.window_size",
    "vision_config.fullatt_block_indexes",
    "image_token_id",
    "vision_start_token_id",
)
_PLAIN = {"hidden_act": "silu"}
_UNPACKED = {"quantization_config": None}
_QWEN = {**_PLAIN, "use_sliding_window": False}
_NO_BIAS = {"attention_bias": False}


def _text_architectures(models: str) -> tuple[Architecture, ...]:
    """Loaders that both engines have, with the same needs, in files of the same names."""
    text = tuple(f"text_config.{name}" for name in _DECODER if name != "tie_word_embeddings")
    return (
        # SGLang's gives biases to attention alone, vLLM's to the MLP too.
        Architecture(
            "LlamaForCausalLM",
            "llama",
            "llama",
            f"{models}/llama.py",
            fields=_DECODER,
            fixed={**_PLAIN, **_UNPACKED, **_NO_BIAS, "mlp_bias": False},
        ),
        Architecture(
            "Qwen2ForCausalLM", "qwen2", "qwen2", f"{models}/qwen2.py", fields=_DECODER, fixed={**_QWEN, **_UNPACKED}
        ),
        # vLLM's has a bias on queries, keys and values alone, SGLang's and transformers' on the output too.
        Architecture(
            "Qwen3ForCausalLM",
            "qwen3",
            "qwen3",
            f"{models}/qwen3.py",
            fields=(*_DECODER, "head_dim"),
            fixed={**_QWEN, **_UNPACKED, **_NO_BIAS},
        ),
        Architecture(
            "Qwen2_5_VLForConditionalGeneration",
            "qwen2_5_vl",
            "qwen2_5_vl",
            f"{models}/qwen2_5_vl.py",
            fields=(*text, "text_config.rope_parameters.mrope_section", "tie_word_embeddings", *_VISION),
            fixed={**_UNPACKED, **{f"text_config.{name}": value for name, value in _QWEN.items()}},
            files=(*Architecture.files, "preprocessor_config.json"),
        ),
    )


_SDAR = Architecture(
    "SDARForCausalLM",
    "qwen3",
    "qwen3",
    "srt/models/sdar.py",
    decodes="blocks",
    fields=(*_DECODER, "head_dim"),
    # A tied head ends in a KeyError on one GPU: the loader looks for a parameter that it has left out.
    fixed={**_QWEN, **_UNPACKED, **_NO_BIAS, "tie_word_embeddings": False},
    files=(*Architecture.files, "low_confidence.yaml"),
    least_vocabulary=SDAR_MASK_ID + 1,
)

ENGINES = {
    "vllm": Engine(
        "vllm",
        "0.33.0",
        "model_executor/models/registry.py",
        "vllm serve {folder}",
        _text_architectures("model_executor/models"),
    ),
    "sglang": Engine(
        "sglang",
        "0.5.23",
        "srt/models/registry.py",
        "python -m sglang.launch_server --model-path {folder}",
        (*_text_architectures("srt/models"), _SDAR),
    ),
}
"""The engines by name, each at the version that was read."""


def engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no layout for the engine {name!r}; {did_you_mean(name, ENGINES)}")
    return ENGINES[name]


def architecture(target: Engine, names: Any) -> Architecture:
    """The loader of an engine by what `architectures` of a config says.

    Raises:
        UnsupportedModelError: that is no list of one name, or the engine has no such loader, or none that was read; names those
            that were.
    """
    for known in target.architectures:
        if names == [known.name]:
            return known
    raise UnsupportedModelError(
        f"the architectures {names!r} are none whose loader in {target.name} {target.version} is known here: give a checkpoint of "
        f"{', '.join(known.name for known in target.architectures)}"
    )


def served(target: Engine) -> str:
    """What an engine serves of this workspace, as part of a sentence."""
    tokens = [known.name for known in target.architectures if known.decodes == "tokens"]
    blocks = [known.name for known in target.architectures if known.decodes == "blocks"]
    text = f"{target.name} {target.version} serves {', '.join(tokens)} one token at a time"
    return f"{text} and, in blocks, {', '.join(blocks)} (Efficient-DLM on Qwen3)" if blocks else text
