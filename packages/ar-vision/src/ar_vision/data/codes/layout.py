"""How codes lie in a chunk: as small as their range allows, captions as one run of bytes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["pack_captions", "pack_codes", "unpack_captions", "unpack_codes"]


def pack_codes(scales: Sequence[Tensor], vocab_size: int | None) -> Tensor:
    """Join the codes of all scales in the smallest type that holds them.

    Args:
        scales: K tensors, int64 [N, L_k]; or bits [N, L_k, d].
        vocab_size: V; None for bits.

    Returns:
        int16 (V up to 32768) or int32 [N, L]; bits as uint8 [N, ceil(L d / 8)], the first bit of a byte being its highest.
    """
    joined = torch.cat([codes.cpu() for codes in scales], dim=1)
    if vocab_size is None:
        return torch.from_numpy(np.packbits(joined.flatten(1).bool().numpy(), axis=1))
    return joined.to(torch.int16 if vocab_size <= 2**15 else torch.int32)


def unpack_codes(stored: Tensor, length: int, bits: int | None) -> Tensor:
    """Turn one row of :func:`pack_codes` into int64 [L], or bool [L, d].

    Args:
        stored: the row, [L], or uint8 [ceil(L d / 8)].
        length: L.
        bits: d; None where codes are numbers.
    """
    if bits is None:
        return stored.long()
    return torch.from_numpy(np.unpackbits(stored.numpy(), count=length * bits)).view(length, bits).bool()


def pack_captions(captions: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """N lists of texts as ``caption_bytes`` uint8, ``caption_lengths`` int64 (one a text) and ``caption_counts`` int64 [N]."""
    texts = [text.encode() for one in captions for text in one]
    return {
        "caption_bytes": torch.tensor(list(b"".join(texts)), dtype=torch.uint8),
        "caption_lengths": torch.tensor([len(text) for text in texts], dtype=torch.int64),
        "caption_counts": torch.tensor([len(one) for one in captions], dtype=torch.int64),
    }


def unpack_captions(tensors: dict[str, Tensor]) -> list[tuple[str, ...]]:
    """The inverse of :func:`pack_captions`."""
    data = tensors["caption_bytes"].numpy().tobytes()
    ends = tensors["caption_lengths"].cumsum(0).tolist()
    texts = [data[start:end].decode() for start, end in zip([0, *ends], ends)]
    stops = tensors["caption_counts"].cumsum(0).tolist()
    return [tuple(texts[start:stop]) for start, stop in zip([0, *stops], stops)]
