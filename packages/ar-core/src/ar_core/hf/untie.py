"""A head of its own for a model that shares it with the embedding."""

from typing import Any

import torch
from torch import nn

__all__ = ["untie_embeddings"]


def untie_embeddings(model: nn.Module) -> bool:
    """Give the output head a copy of the embedding's weights, so that the two are trained and saved apart.

    Args:
        model: a transformers causal LM, or a peft model around one; changed in place. Its logits stay what they are.

    Returns:
        Whether they were tied.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    head, embedding = base.get_output_embeddings(), base.get_input_embeddings()
    if head.weight is not embedding.weight:
        return False
    with torch.no_grad():
        copied = nn.Parameter(embedding.weight.clone(), requires_grad=embedding.weight.requires_grad)
    head.weight = copied
    base.config.tie_word_embeddings = False
    # What transformers keeps of the tie, and would restore it from when the model is saved or resized.
    base.all_tied_weights_keys = {}
    return True
