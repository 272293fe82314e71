"""The first layers of a model as a model of their own."""

import copy
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from ar_core.errors import ConfigError, UnsupportedModelError

__all__ = ["first_layers"]

_BY_LAYER = ("layers", "layer_types")
"""How the names of config lists end that have an entry for each layer, such as `layer_types` and `no_rope_layers`."""


def first_layers(model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """The first `layers` decoder layers with the model's embeddings, final norm and head.

    Args:
        model: a causal LM; it is left as it is.
        layers: between 1 and as many as it has.

    Returns:
        A model of the same class on the same tensors (not copies of them), whose config says how many layers it has.

    Raises:
        ConfigError: the model has fewer layers.
        UnsupportedModelError: its decoder keeps its layers in no list.
    """
    held = model.config.get_text_config().num_hidden_layers
    if not 1 <= layers <= held:
        raise ConfigError(
            f"{layers} layers were asked for of a model of type {model.config.model_type!r} that has {held}; give a number "
            f"between 1 and {held}"
        )
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    small: Any = copy.deepcopy(model, shared)
    decoder = small.get_decoder()
    for name, blocks in decoder.named_children():
        if isinstance(blocks, nn.ModuleList) and len(blocks) == held:
            setattr(decoder, name, blocks[:layers])
            break
    else:
        raise UnsupportedModelError(
            f"The decoder of model type {model.config.model_type!r} has no list of its {held} layers, so that it cannot be "
            "cut; use all of them."
        )
    config = small.config.get_text_config()
    for name, value in vars(config).items():
        if name.endswith(_BY_LAYER) and isinstance(value, list) and len(value) == held:
            setattr(config, name, value[:layers])
    config.num_hidden_layers = layers
    return cast(PreTrainedModel, small)
