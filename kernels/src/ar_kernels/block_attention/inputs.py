"""Checks that both forms of block attention share."""

from torch import Tensor

__all__ = ["check_heads"]


def check_heads(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse queries, keys and values that do not go together.

    Args:
        q: [B, H, Q, D].
        k: [B, Hkv, K, D], H a multiple of Hkv, in the dtype and on the device of q.
        v: [B, Hkv, K, D], likewise.

    Raises:
        ValueError: in one sentence.
    """
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{q.shape[1]} query heads do not share {k.shape[1]} key heads evenly: give a multiple")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"queries are {q.dtype}, keys {k.dtype} and values {v.dtype}: give one dtype")
    if not q.device == k.device == v.device:
        raise ValueError(f"queries are on {q.device}, keys on {k.device} and values on {v.device}: give one device")
