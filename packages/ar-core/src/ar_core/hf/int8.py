"""Weights of linear layers in 8 bits, activations as they are: half the memory of bfloat16."""

import importlib.util

from torch import nn

from ar_core.errors import MissingPackageError, UnsupportedModelError
from ar_core.hf.quiet import quiet

__all__ = ["quantize_int8"]


def quantize_int8(model: nn.Module) -> None:
    """Quantise the weights of all linear layers but the output head, in place, for inference (torchao, extra ``int8``).

    Each output channel has a scale: the largest absolute weight is 127. The head stays, because most models share it with
    their embeddings, and because ranks of tokens depend on it directly. Layers are computed as
    ``(x @ int8.to(dtype)) * scale``; only a compiler keeps the converted weight out of memory, so that it pays with the engine
    "compile".

    Args:
        model: a causal LM in float32, bfloat16 or float16.

    Raises:
        MissingPackageError: torchao is not installed.
        UnsupportedModelError: the model has no linear layers besides its head.
    """
    if importlib.util.find_spec("torchao") is None:
        raise MissingPackageError("int8 weights need torchao, which is not installed: pip install 'ar-core[int8]'.")
    with quiet():
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

    head = model.get_output_embeddings()  # type: ignore[operator]  # transformers declares it on a mixin
    chosen = {module for module in model.modules() if type(module) is nn.Linear and module is not head}
    if not chosen:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no linear layers besides its head, so that nothing can be stored in int8; leave its "
            "weights as they are."
        )
    with quiet():
        quantize_(model, Int8WeightOnlyConfig(version=2), filter_fn=lambda module, _: module in chosen)
