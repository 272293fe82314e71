"""The two ways in which a rule reads ids: as a whole side of the attention matrix, or one token at a time.

Source: ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ar_core.masks.rule import Rule
from ar_core.masks.tokens import Tokens

__all__ = ["Axis", "Gathered", "predicate", "visible"]


class Axis:
    """One side of the attention matrix: ids gain a dimension at ``dim`` (-1: queries, rows; -2: keys, columns)."""

    def __init__(self, tokens: Tokens, dim: int) -> None:
        self._tokens, self._dim = tokens, dim

    @property
    def index(self) -> Tensor:
        """Indices of the tokens, [n, 1] or [1, n]."""
        return torch.arange(self._tokens.length, device=self._tokens.device).unsqueeze(self._dim)

    def __getitem__(self, name: str) -> Tensor:
        return self._tokens[name].unsqueeze(self._dim)


class Gathered:
    """Ids of the token ``index`` in row ``batch``, both tensors: what FlexAttention hands to a predicate."""

    def __init__(self, tokens: Tokens, batch: Tensor, index: Tensor) -> None:
        self._tokens, self._batch, self.index = tokens, batch, index

    def __getitem__(self, name: str) -> Tensor:
        ids = self._tokens[name]
        return ids[self.index] if ids.ndim == 1 else ids[self._batch, self.index]


def visible(rule: Rule, queries: Tokens, keys: Tokens) -> Tensor:
    """The rule over all pairs: bool [Q, K], or [B, Q, K] if either side has per-row ids."""
    batch = queries.batch if queries.batch is not None else keys.batch
    shape = (queries.length, keys.length) if batch is None else (batch, queries.length, keys.length)
    return rule(Axis(queries, -1), Axis(keys, -2)).expand(shape)


def predicate(rule: Rule, queries: Tokens, keys: Tokens) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The rule as FlexAttention's ``mask_mod(b, h, q_idx, kv_idx)``: scalar index tensors in, scalar bool out."""

    def mask_mod(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return rule(Gathered(queries, b, q_idx), Gathered(keys, b, kv_idx))

    return mask_mod
