"""The posterior mean of the flow from noise to codes."""

import torch
from ar_kernels import flow_mean
from torch import Tensor

from .case import Case

__all__ = ["flow_mean_case"]


def flow_mean_case(codebook: tuple[int, int], count: int, device: str, listed: int | None = None) -> Case:
    """One evaluation for some rows: scores and softmax as they stand in the paper, torch's attention with a bias, ours.

    Args:
        codebook: (V, C).
        count: N.
        device: where.
        listed: how many codes of each row can be drawn, as top-k leaves them; None: all.
    """
    vocabulary, width = codebook
    generator = torch.Generator(device).manual_seed(0)
    codes, z = (torch.randn(n, width, generator=generator, device=device) for n in (vocabulary, count))
    log_probs = torch.randn(count, vocabulary, generator=generator, device=device)
    ids, kept = None, log_probs
    if listed is not None:
        kept, ids = log_probs.topk(listed, dim=1)
        log_probs = torch.full_like(log_probs, -torch.inf).scatter(1, ids, kept)
    norms = codes.square().sum(1) / 2

    def written_out() -> tuple[Tensor]:
        return ((log_probs + z @ codes.T - norms).softmax(1) @ codes,)

    def attention() -> tuple[Tensor]:
        bias = (log_probs - norms)[None]
        return (
            torch.nn.functional.scaled_dot_product_attention(z[None], codes[None], codes[None], bias, scale=1.0)[0],
        )

    return Case(
        op="flow_mean",
        size=f"{count} rows, V={vocabulary}, C={width}" + ("" if listed is None else f", {listed} a row"),
        runs={
            "written out": written_out,
            "torch's attention": attention,
            "ar_kernels": lambda: (flow_mean(z, 1.0, kept, codes, ids=ids).mean,),
        },
        ours="ar_kernels",
        most=1e-4,
        flops=4 * count * (listed or vocabulary) * width,
        bytes=4 * (width * (vocabulary + 2 * count) + count * (listed or vocabulary)),
    )
