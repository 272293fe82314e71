"""Nearest codes of a codebook."""

from functools import partial

import torch
from ar_kernels import nearest_code
from torch import Tensor
from torch.nn.functional import normalize

from .case import Case

__all__ = ["nearest_code_case"]


def nearest_code_case(codebook: tuple[int, int], count: int, device: str, metric: str = "euclidean") -> Case:
    """Ids of some rows: all distances as tokenizers usually have them, all by `torch.cdist`, ours.

    Args:
        codebook: (V, C), of float32 as the quantisers of published tokenizers.
        count: N.
        device: where.
        metric: `euclidean` or `cosine`.
    """
    vocabulary, width = codebook
    generator = torch.Generator(device).manual_seed(0)
    codes, x = (torch.randn(n, width, generator=generator, device=device) for n in (vocabulary, count))

    def of_all(form) -> tuple[Tensor]:
        given = (normalize(x), normalize(codes)) if metric == "cosine" else (x, codes)
        return (form(*given).argmin(1),)

    return Case(
        op="nearest_code",
        size=f"{count} rows, V={vocabulary}, C={width}, {metric}",
        runs={
            "all distances": partial(of_all, _squared_distances),
            "torch.cdist": partial(of_all, torch.cdist),
            "ar_kernels": lambda: (nearest_code(x, codes, metric=metric),),
        },
        ours="ar_kernels",
        # Ids alone, of which `disagreement` allows a few: usual distances are rounded.
        most=1e-3,
        flops=2 * count * vocabulary * width,
        bytes=4 * width * (vocabulary + count) + 8 * count,
    )


def _squared_distances(x: Tensor, codes: Tensor) -> Tensor:
    return x.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * x @ codes.T
