"""The one entry to attention."""

from torch import Tensor

from ar_core.attention.choose import BACKENDS, choose
from ar_core.errors import MaskError
from ar_core.masks import Mask

__all__ = ["attend"]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None,
    *,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Scaled dot product attention, softmax(scale q k^T) v over the keys that the mask lets a query see.

    Args:
        q: queries [B, H, Q, D].
        k: keys [B, Hkv, K, D], any float dtype; H must be a multiple of Hkv (grouped-query attention).
        v: values [B, Hkv, K, D].
        mask: who may attend to whom; None: everything visible.
        scale: factor on q k^T; None: 1 / sqrt(D).
        backend: ``"auto"``, or a name in :data:`ar_core.attention.BACKENDS`: ``"sdpa"``, ``"segments"``, ``"flex"``,
            ``"flex_uncompiled"``, ``"triton"``, ``"flash_attn"``, ``"xformers"``. They agree up to rounding;
            :func:`ar_core.attention.choose` says which one ``"auto"`` takes, and why.

    Returns:
        [B, H, Q, D], dtype of q; 0 for a query that sees no key.

    Raises:
        MaskError: the mask's shape or device does not fit q and k.
        BackendError: the named backend is unknown, absent, or cannot compute this call.
    """
    if mask is not None:
        batch, _, queries, keys = mask.shape
        if (queries, keys) != (q.shape[2], k.shape[2]) or batch not in (1, q.shape[0]):
            raise MaskError(
                f"A mask of shape {mask.shape} was given for {q.shape[2]} queries and {k.shape[2]} keys in a batch of "
                f"{q.shape[0]}; it must have shape ({q.shape[0]} or 1, 1, {q.shape[2]}, {k.shape[2]})."
            )
        if mask.device != q.device:
            raise MaskError(f"The mask is on {mask.device}, the queries on {q.device}; move it with mask.to(device).")
    return BACKENDS[choose(q, k, mask, backend).name].compute(q, k, v, mask, scale)
