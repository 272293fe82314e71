"""Velocity and posterior mean of the flow from noise to codes, without a tensor of rows, codes and dimensions.

The path of Distilled Decoding (arXiv 2412.17153, section 3) is x(s) = (1 - s) e + s c from a Gaussian e to a
code c that is drawn with probability p_c. In z = x / (1 - s) and tau = s / (1 - s) the posterior weights are

    w_c = softmax_c( log p_c + tau <z, c> - tau^2 |c|^2 / 2 ),    D = sum_c w_c c,

and dx/ds = (D - x) / (1 - s) becomes dz/dtau = D.
"""

from typing import Literal

import torch
from torch import Tensor

from ar_kernels.flow_velocity.pieces import in_pieces
from ar_kernels.flow_velocity.result import FlowMean
from ar_kernels.implementation import use_triton

__all__ = ["flow_mean", "flow_velocity"]

Implementation = Literal["auto", "torch", "triton"]


def flow_mean(
    z: Tensor,
    tau: Tensor | float,
    log_probs: Tensor,
    codebook: Tensor,
    *,
    ids: Tensor | None = None,
    implementation: Implementation = "auto",
) -> FlowMean:
    """Posterior mean of the code, and the most probable one, of points on the flow.

    This is attention of one query a row over the codebook; memory beside the operands does not grow with N V. Codes whose log
    probability is -inf have weight 0 and are never the code. Rows without any other have a mean and a weight that are NaN, and a
    code that can be looked up.

    float32 bounds tau: scores are right to about 1e-7 tau^2 |c|^2, so centre the codebook and stop where that matters.

    Not differentiable: gradients of no operand are made, and none are refused.

    Args:
        z: x / (1 - s), [N, C], any floating dtype; float16 and bfloat16 are computed with in float32.
        tau: s / (1 - s), at least 0; one number, or one for each row, [N].
        log_probs: log p up to a constant a row, [N, V]; with `ids` [N, M].
        codebook: [V, C].
        ids: int64 [N, M], the codes of each row that `log_probs` are of, each at most once where it is finite; None: all, in order.
        implementation: `auto` takes Triton on CUDA, but for float64, and torch elsewhere.

    Returns:
        Mean, code and its weight, in float32, or in float64 if an operand is.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or the codebook or the lists are empty.

    Example:
        >>> flow_mean(torch.zeros(1, 1), 0.0, torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[-1.0], [1.0]])).mean
        tensor([[0.5000]])
    """
    wide = torch.promote_types(z.dtype, torch.float32)
    time = torch.as_tensor(tau, dtype=wide, device=z.device).expand(len(z))
    _check(z, time, log_probs, codebook, ids)
    operands = (z, time, log_probs, codebook)
    # Any operand can be the one of float64.
    triton = all(use_triton(implementation, one) for one in operands)
    return FlowMean(*torch.ops.ar_kernels.flow_mean(*(one.detach() for one in operands), ids, triton))


def flow_velocity(
    x: Tensor,
    s: Tensor | float,
    log_probs: Tensor,
    codebook: Tensor,
    *,
    ids: Tensor | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """dx/ds = (D(x, s) - x) / (1 - s) of the flow from noise (s = 0) to codes (s = 1).

    Args:
        x: [N, C].
        s: 0 <= s < 1; one number, or one for each row, [N].
        log_probs: [N, V], with `ids` [N, M], as `flow_mean` takes them, like all that follows.
        codebook: [V, C].
        ids: int64 [N, M].
        implementation: who computes it.

    Returns:
        [N, C], float32, or float64 if an operand is.

    Raises:
        ValueError: as `flow_mean` does.

    Example:
        >>> flow_velocity(torch.tensor([[3.0]]), 0.5, torch.zeros(1, 1), torch.tensor([[1.0]]))
        tensor([[-4.]])
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    rest = 1 - torch.as_tensor(s, dtype=wide, device=x.device).expand(len(x))
    x = x.to(wide)
    mean = flow_mean(
        x / rest[:, None], (1 - rest) / rest, log_probs, codebook, ids=ids, implementation=implementation
    ).mean
    return (mean - x) / rest[:, None]


def _check(z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None) -> None:
    listed = codebook.shape[:1] if ids is None else ids.shape[1:]
    fits = (
        z.ndim == codebook.ndim == log_probs.ndim == 2
        and z.shape[1] == codebook.shape[1]
        and log_probs.shape == (len(z), *listed)
        and (ids is None or ids.shape == log_probs.shape)
        and codebook.numel() > 0
        and log_probs.shape[1] > 0
    )
    if not fits:
        given = "" if ids is None else f" of codes {tuple(ids.shape)}"
        raise ValueError(
            f"flow_mean got rows {tuple(z.shape)}, log probabilities {tuple(log_probs.shape)}{given} and a codebook "
            f"{tuple(codebook.shape)}: give [N, C], [N, V] (with ids, both [N, M]) and [V, C], none of V, M and C being 0"
        )
    if ids is not None and ids.dtype != torch.int64:
        raise ValueError(f"flow_mean got ids of {ids.dtype}: give int64")
    operands = [z, tau, log_probs, codebook]
    devices = {one.device for one in [*operands, *([] if ids is None else [ids])]}
    if not all(one.is_floating_point() for one in operands) or len(devices) > 1:
        kinds = ", ".join(f"{one.dtype} on {one.device}" for one in operands)
        raise ValueError(f"flow_mean got {kinds}: give floating dtypes on one device")


@torch.library.custom_op("ar_kernels::flow_mean", mutates_args=())
def _forward(
    z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None, triton: bool
) -> tuple[Tensor, Tensor, Tensor]:
    # Autocast reaches into ops, and would make products of few bits.
    with torch.autocast(z.device.type, enabled=False):
        if triton:
            from ar_kernels.flow_velocity.mean_triton import launch

            return launch(z, tau, log_probs, codebook, ids)
        wide = _wide(z, log_probs, codebook)
        z, tau, log_probs, codebook = (one.to(wide) for one in (z, tau, log_probs, codebook))
        return in_pieces(z, tau, log_probs, codebook, ids)


@_forward.register_fake
def _(z, tau, log_probs, codebook, ids, triton):  # type: ignore[no-untyped-def]  # as the op above
    wide = _wide(z, log_probs, codebook)
    return z.new_empty(z.shape, dtype=wide), z.new_empty(len(z), dtype=torch.int64), z.new_empty(len(z), dtype=wide)


def _wide(z: Tensor, log_probs: Tensor, codebook: Tensor) -> torch.dtype:
    wide = torch.promote_types(torch.promote_types(z.dtype, log_probs.dtype), codebook.dtype)
    return torch.promote_types(wide, torch.float32)
