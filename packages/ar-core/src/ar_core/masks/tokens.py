"""Per-token ids: all that a mask may know about a sequence.

Source: ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.errors import MaskError

__all__ = ["Tokens"]


class Tokens:
    """Named integer ids of the tokens of a sequence.

    Rules read ids, never indices, so a ragged, packed, pruned or permuted layout changes only the ids.
    Names in use: ``position`` (what RoPE sees), ``document``, ``block``, ``stream`` (0 clean, 1 and 2 noised views),
    ``scale``, ``prefix`` (1 inside, 0 outside), ``valid`` (1 real, 0 padding), ``enter`` and ``exit`` (interval of a
    tree node).

    Args:
        ids: integer or bool tensors, each [L] (shared by the batch) or [B, L]; [1, L] counts as shared and bool
            becomes int64.

    Raises:
        MaskError: no ids, an id that is not integer, of another rank, length, batch size or device than the rest.
    """

    __slots__ = ("_ids", "batch", "device", "length")

    def __init__(self, **ids: Tensor) -> None:
        if not ids:
            raise MaskError("Tokens were given no ids; give at least one, such as position=torch.arange(L).")
        self._ids: dict[str, Tensor] = {}
        self.batch: int | None = None
        for name, tensor in ids.items():
            if tensor.is_floating_point() or tensor.is_complex() or tensor.ndim not in (1, 2):
                raise MaskError(
                    f"The id {name!r} is {tensor.dtype} of shape {tuple(tensor.shape)}; "
                    "ids must be integer tensors of shape [L] or [B, L]."
                )
            if tensor.dtype == torch.bool:
                tensor = tensor.long()
            if tensor.ndim == 2 and tensor.shape[0] == 1:
                tensor = tensor[0]
            if tensor.ndim == 2:
                if self.batch not in (None, tensor.shape[0]):
                    raise MaskError(
                        f"The id {name!r} has {tensor.shape[0]} rows where others have {self.batch}; "
                        "per-row ids of one sequence must agree in batch size."
                    )
                self.batch = tensor.shape[0]
            self._ids[name] = tensor
        first_name, first = next(iter(self._ids.items()))
        self.length: int = first.shape[-1]
        self.device: torch.device = first.device
        for name, tensor in self._ids.items():
            if tensor.shape[-1] != self.length or tensor.device != self.device:
                raise MaskError(
                    f"The id {name!r} has length {tensor.shape[-1]} on {tensor.device} and {first_name!r} has length "
                    f"{self.length} on {self.device}; the ids of one sequence must agree in both."
                )

    @property
    def names(self) -> frozenset[str]:
        """Names of the ids present."""
        return frozenset(self._ids)

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def __getitem__(self, name: str) -> Tensor:
        """The id ``name``, [L] or [B, L]; MaskError names what is missing and what is there."""
        if name not in self._ids:
            raise MaskError(
                f"A rule needs the id {name!r} and these tokens have only {', '.join(sorted(self._ids))}; "
                f"add it with tokens.with_ids({name}=...)."
            )
        return self._ids[name]

    def __repr__(self) -> str:
        rows = "" if self.batch is None else f", batch={self.batch}"
        return f"Tokens({', '.join(sorted(self._ids))}; length={self.length}{rows})"

    def with_ids(self, **more: Tensor) -> "Tokens":
        """These tokens with ids added or replaced."""
        return Tokens(**{**self._ids, **more})

    def slice(self, start: int, stop: int) -> "Tokens":
        """The tokens ``start`` to ``stop`` (exclusive)."""
        return Tokens(**{name: tensor[..., start:stop] for name, tensor in self._ids.items()})

    def permute(self, order: Tensor) -> "Tokens":
        """The tokens in another order: token i of the result is token ``order[i]`` ([L] int64) of these."""
        return Tokens(**{name: tensor[..., order] for name, tensor in self._ids.items()})

    def take(self, index: Tensor) -> "Tokens":
        """Tokens of each row of a batch: token i of row b is token ``index[b, i]`` (int64 [B, n]) of these."""
        return Tokens(**{n: t[index] if t.ndim == 1 else t.gather(1, index) for n, t in self._ids.items()})

    def row(self, batch: int) -> "Tokens":
        """The tokens of one row of the batch, every id [L]."""
        return Tokens(**{n: t if t.ndim == 1 else t[batch] for n, t in self._ids.items()})

    def to(self, device: torch.device | str) -> "Tokens":
        """These tokens on another device."""
        return Tokens(**{name: tensor.to(device) for name, tensor in self._ids.items()})

    @staticmethod
    def cat(parts: Sequence["Tokens"]) -> "Tokens":
        """Join sequences end to end; an id shared by the batch in one part and per row in another becomes per row.

        Raises:
            MaskError: the parts do not have the same ids or batch size.
        """
        names = parts[0].names
        for part in parts[1:]:
            if part.names != names:
                raise MaskError(
                    f"Tokens to be joined have the ids {', '.join(sorted(names))} and {', '.join(sorted(part.names))}; "
                    "give every part the same ids."
                )
        batches = {part.batch for part in parts if part.batch is not None}
        if len(batches) > 1:
            raise MaskError(
                f"Tokens to be joined have batch sizes {sorted(batches)}; per-row ids must agree in batch size."
            )
        joined = {}
        for name in parts[0]._ids:
            tensors = [part[name] for part in parts]
            rows = {t.shape[0] for t in tensors if t.ndim == 2}
            if rows:
                tensors = [t.expand(*rows, t.shape[-1]) for t in tensors]
            joined[name] = torch.cat(tensors, dim=-1)
        return Tokens(**joined)
