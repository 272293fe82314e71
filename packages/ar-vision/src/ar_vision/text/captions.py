"""Captions of samples on their way to a model: laid out on the host, encoded where the models are.

Source: ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ar_core.errors import DataError
from torch import Tensor, nn

from .encoder import TextEncoder
from .text import Text

__all__ = ["ENCODER", "encoded_captions", "prepared_captions", "require_condition"]

ENCODER = "text"
"""Name of the frozen encoder among the models of a job."""


def prepared_captions(
    prepare: Callable[[Sequence[str]], dict[str, Tensor]], batch: Sequence[Mapping[str, Any]]
) -> dict[str, Tensor]:
    """Return the tensors of B samples' captions, whose names begin with ``text_``.

    Args:
        prepare: of the encoder.
        batch: samples with ``index`` and ``caption``.

    Raises:
        DataError: a sample has no caption.
    """
    for sample in batch:
        require_condition(sample, "caption")
    return prepare([sample["caption"] for sample in batch])


def encoded_captions(models: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> Text:
    """Return the features of captions that :func:`prepared_captions` laid out, by the encoder among the models."""
    encoder = cast(TextEncoder, models[ENCODER])
    return encoder({name: tensor for name, tensor in tensors.items() if name.startswith("text_")})


def require_condition(sample: Mapping[str, Any], name: str) -> None:
    """Refuse a sample without what a model is conditioned on.

    Raises:
        DataError: names both.
    """
    if name not in sample:
        raise DataError(
            f"sample {sample['index']} has no {name!r}, on which the model is conditioned: add it to the data"
        )
