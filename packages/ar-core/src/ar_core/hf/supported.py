"""Which models masks and a windowed cache can express."""

from typing import Any

from ar_core.errors import UnsupportedModelError

__all__ = ["check_supported"]

_LAYERS = {"full_attention", "sliding_attention"}
_RECURRENT = ("mamba", "rwkv", "recurrent_gemma", "jamba", "falcon_h1", "xlstm", "bamba", "zamba", "lfm2")
_ARGUMENTS = {"attn_logit_softcapping": "softcapped attention scores", "num_kv_shared_layers": "layers that share keys"}


def check_supported(config: Any) -> None:
    """Refuse, by name, what could only be computed wrongly.

    Args:
        config: a transformers config.

    Raises:
        UnsupportedModelError: the model has recurrent, linear-attention or chunked layers, which cannot be rewound or
            masked freely, softcapped scores, or layers that share keys and values.
    """
    text = config.get_text_config()
    name = text.model_type
    if any(name.startswith(kind) for kind in _RECURRENT):
        raise UnsupportedModelError(
            f"The model type {name!r} has recurrent layers, whose state cannot be rewound; use a model in which every layer "
            "is attention."
        )
    for kind in getattr(text, "layer_types", None) or ():
        if kind not in _LAYERS:
            raise UnsupportedModelError(
                f"The model type {name!r} has layers of type {kind!r}; only {' and '.join(sorted(_LAYERS))} can be rewound "
                "and masked freely, so use a model made of these."
            )
    for key, meaning in _ARGUMENTS.items():
        if getattr(text, key, None):
            raise UnsupportedModelError(
                f"The model type {name!r} has {meaning} ({key}={getattr(text, key)}), which ar_core does not compute; use a "
                "model without it."
            )
