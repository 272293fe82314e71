"""Which models masks and a windowed cache can express."""

from typing import Any

from ar_core.errors import UnsupportedModelError

__all__ = ["check_supported"]

_LAYERS = frozenset({"full_attention", "sliding_attention", "attention"})

_STATEFUL = {
    "recurrent": ("rwkv", "recurrent_gemma", "xlstm", "lfm2"),
    "state-space": ("mamba", "falcon_mamba", "falcon_h1", "jamba", "bamba", "zamba", "nemotron_h"),
}
"""Model families whose configs do not list their layers, by the prefix of their model type."""

_SETTINGS = {
    "attn_logit_softcapping": "softcapped attention scores",
    "num_kv_shared_layers": "layers that share keys and values",
    "kv_lora_rank": "latent attention, whose keys and values differ in width",
    "attention_k_eq_v": "layers whose values are their keys",
    "alibi": "ALiBi position biases",
}
"""Config fields that, when set, ask for more than a mask and a scale."""

_SINKS = ("gpt_oss", "granite_swa", "granitemoe_swa", "mimo_v2_flash")


def check_supported(config: Any) -> None:
    """Refuse, by name, what could only be computed wrongly.

    Args:
        config: a transformers config.

    Raises:
        UnsupportedModelError: the model has recurrent, linear-attention or chunked layers, which cannot be rewound or
            masked freely; scores with a softcap, sinks or position biases; layers that share keys and values; or an
            encoder. Names all of them.
    """
    text = config.get_text_config()
    name = text.model_type
    kinds = [*(getattr(text, "layer_types", None) or ()), *(getattr(text, "layers_block_type", None) or ())]
    faults = [f"{kind.replace('_', '-')} layers" for kind in dict.fromkeys(kinds) if kind not in _LAYERS]
    faults += [f"{what} layers" for what, families in _STATEFUL.items() if name.startswith(families)]
    faults += [f"{what} ({key}={getattr(text, key)})" for key, what in _SETTINGS.items() if getattr(text, key, None)]
    if name in _SINKS:
        faults.append("attention sinks")
    if getattr(config, "is_encoder_decoder", False):
        faults.append("an encoder")
    if faults:
        raise UnsupportedModelError(
            f"The model type {name!r} has {', '.join(dict.fromkeys(faults))}, which masks and the windowed KV cache cannot "
            "express; use a dense decoder with full or sliding-window attention, such as Llama or Qwen."
        )
