"""Nearest codes without the distances of every row to every code.

Source: vector quantisation (VQ-VAE, arXiv 1711.00937, equation 1).
"""

from typing import Literal, overload

import torch
from torch import Tensor

from ar_kernels.implementation import use_triton
from ar_kernels.nearest_code.screening import screened

__all__ = ["nearest_code"]

Metric = Literal["euclidean", "cosine"]
Implementation = Literal["auto", "torch", "triton"]


@overload
def nearest_code(
    x: Tensor,
    codebook: Tensor,
    *,
    metric: Metric = ...,
    with_score: Literal[False] = ...,
    implementation: Implementation = ...,
) -> Tensor: ...
@overload
def nearest_code(
    x: Tensor,
    codebook: Tensor,
    *,
    metric: Metric = ...,
    with_score: Literal[True],
    implementation: Implementation = ...,
) -> tuple[Tensor, Tensor]: ...
def nearest_code(
    x: Tensor,
    codebook: Tensor,
    *,
    metric: Metric = "euclidean",
    with_score: bool = False,
    implementation: Implementation = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Id of the code that is nearest to each row: argmin |x - e|^2, or argmax of the cosine of x and e.

    Memory does not grow with N times V. Of equally near codes the lowest id wins. Distances are those of differences, not of
    |e|^2 - 2 x e, so that a large common offset costs no digits: torch decides in float64, Triton in float32. Cosines divide
    each row by its length, or by 1e-12 if that is more; so a row of zeros has cosine 0 with all codes, and id 0.

    A code never wins if its distance or cosine is not finite. Rows that no code wins, such as those with a NaN, have id 0, which
    can be looked up, and the score NaN.

    Not differentiable: gradients of neither operand are made, and none are refused.

    Args:
        x: [N, C], any floating dtype; float16 and bfloat16 are computed with in float32.
        codebook: [V, C], any floating dtype, on the same device.
        metric: `euclidean` or `cosine`.
        with_score: give the squared distance, or the cosine, as well.
        implementation: `auto` takes Triton on CUDA, but for float64, and torch elsewhere; torch waits for a CUDA device.

    Returns:
        int64 [N]; with the score, that and float32 [N], float64 if an operand is.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, the codebook is empty, or there is no such metric.

    Example:
        >>> nearest_code(torch.tensor([[0.9, 0.2]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        tensor([1])
    """
    if x.ndim != 2 or codebook.ndim != 2 or x.shape[1] != codebook.shape[1] or not codebook.numel():
        raise ValueError(
            f"nearest_code got rows {tuple(x.shape)} and a codebook {tuple(codebook.shape)}: give [N, C] and [V, C], V and C positive"
        )
    if not (x.is_floating_point() and codebook.is_floating_point()) or x.device != codebook.device:
        raise ValueError(
            f"nearest_code got rows {x.dtype} on {x.device} and a codebook {codebook.dtype} on {codebook.device}: give "
            "floating dtypes on one device"
        )
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric is {metric!r}: give euclidean or cosine")
    # Both are looked at, so that either can be the one of float64.
    triton = use_triton(implementation, x) & use_triton(implementation, codebook)
    ids, score = torch.ops.ar_kernels.nearest_code(x.detach(), codebook.detach(), metric == "cosine", triton)
    return (ids, score) if with_score else ids


@torch.library.custom_op("ar_kernels::nearest_code", mutates_args=())
def _forward(x: Tensor, codebook: Tensor, cosine: bool, triton: bool) -> tuple[Tensor, Tensor]:
    # Autocast reaches into ops, and would make products of few bits.
    with torch.autocast(x.device.type, enabled=False):
        if triton:
            from ar_kernels.nearest_code.codes_triton import launch

            return launch(x, codebook, cosine)
        return screened(x, codebook, cosine)


@_forward.register_fake
def _(x, codebook, cosine, triton):  # type: ignore[no-untyped-def]  # as the op above
    wide = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    return x.new_empty(len(x), dtype=torch.int64), x.new_empty(len(x), dtype=wide)
