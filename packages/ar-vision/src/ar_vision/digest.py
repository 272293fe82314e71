"""What tells one set of weights from another."""

from collections.abc import Mapping
from hashlib import sha256

import torch
from torch import Tensor

__all__ = ["digest_of"]


def digest_of(tensors: Mapping[str, Tensor], head: str = "") -> str:
    """Return the first 16 hex digits of a digest of a text and of tensors: their names, shapes and values as float32."""
    digest = sha256(head.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}/{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
