"""Frozen weights of linear layers in 4 bits, under adapters that train: QLoRA (arXiv 2305.14314)."""

import importlib.util
from typing import Any

from torch import nn

from ar_core.errors import MissingPackageError, UnsupportedModelError
from ar_core.hf.quiet import quiet

__all__ = ["dequantize_nf4", "quantize_nf4"]

BLOCK, SCALERS = 64, 256
"""Weights that share a scale, and scales that share theirs (section 3): 4.127 bits a weight."""


def quantize_nf4(model: nn.Module) -> None:
    """Store the weights of all linear layers but the output head as NormalFloat of 4 bits, in place and frozen (torchao).

    Equation 5 of the paper with its double quantisation; products are computed in the dtype of their input, from weights that
    are laid out for each of them and again in the backward pass. Layers whose weights do not divide into 64 x 256 stay as they
    are. The paper's paged optimiser is not used.

    Args:
        model: a causal LM in float32, bfloat16 or float16.

    Raises:
        MissingPackageError: torchao is not installed.
        UnsupportedModelError: no layer can be stored so.
    """
    if importlib.util.find_spec("torchao") is None:
        raise MissingPackageError(
            "model.quantization needs torchao, which is not installed: pip install 'ar-core[train]'."
        )
    with quiet():
        from torchao.dtypes.nf4tensor import to_nf4

    head = model.get_output_embeddings()  # type: ignore[operator]  # transformers declares it on a mixin
    chosen = [
        module
        for module in model.modules()
        if type(module) is nn.Linear and module is not head and module.weight.numel() % (BLOCK * SCALERS) == 0
    ]
    if not chosen:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no linear layer besides its head whose weights divide into {BLOCK * SCALERS}, so that "
            "nothing can be stored in 4 bits; set model.quantization to null."
        )
    for module in chosen:
        stored = to_nf4(module.weight.detach(), block_size=BLOCK, scaler_block_size=SCALERS)
        module.weight = nn.Parameter(stored, requires_grad=False)


def dequantize_nf4(model: nn.Module) -> None:
    """Give the layers of :func:`quantize_nf4` plain weights again, in place: the numbers that they computed with."""
    for module in model.modules():
        # Adapters show the weight of the layer that they wrap as theirs.
        weight: Any = module._parameters.get("weight")
        if hasattr(weight, "get_original_weight"):
            module.weight = nn.Parameter(weight.get_original_weight(), requires_grad=False)
