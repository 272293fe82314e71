"""Quality without a reference, by the package pyiqa, whose numbers are those that papers report.

Source: ours, around pyiqa.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ar_core.errors import ConfigError, MissingPackageError
from torch import Tensor

__all__ = ["METRICS", "open_no_reference"]

METRICS = {"niqe": "niqe", "musiq": "musiq", "maniqa": "maniqa", "clipiqa": "clipiqa", "topiq": "topiq_nr"}
"""Ours and pyiqa's name of each metric of the published tables. All are proxies: networks, or statistics of natural images, that imitate
judgements of people. A smaller NIQE is better, a larger one of the others."""


def open_no_reference(names: Sequence[str], device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return metrics by name, from images [B, 3, H, W] in [-1, 1] to float32 [B]; their weights are fetched at the first use.

    Raises:
        ConfigError: there is no such metric.
        MissingPackageError: pyiqa is not installed.
    """
    unknown = next((name for name in names if name not in METRICS), None)
    if unknown is not None:
        raise ConfigError(f"there is no metric {unknown!r}; choose some of {', '.join(METRICS)}")
    if not names:
        return {}
    try:
        import pyiqa
    except ImportError as error:
        raise MissingPackageError(
            "metrics without reference are computed by the package pyiqa; install it with `pip install 'ar-vision[iqa]'`"
        ) from error
    return {name: _measure(pyiqa.create_metric(METRICS[name], device=device)) for name in names}


def _measure(metric: Any) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def measure(images: Tensor) -> Tensor:
        # One by one: several of them resize or crop by the image.
        return torch.stack([metric((image[None].float() + 1) / 2).flatten()[0].float().cpu() for image in images])

    return measure
