"""KenLM binaries as a proxy, through the module kenlm where it is installed.

Source: KenLM (Heafield, 2011), which DiffuSpec (arXiv 2510.02358) scores paths with.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import DataError, MissingPackageError
from torch import Tensor

__all__ = ["KenLMProxy"]

NEPER = math.log(10.0)


class KenLMProxy:
    """Asks KenLM for one token at a time, on the host: for parity, and for files that exist only as binaries.

    An ARPA file gives the same scores from tensors (:func:`read_arpa`).

    Args:
        path: a KenLM binary (or ARPA file) over token ids written as decimal words.
        end_id: the id that `</s>` stands for.
        device: where scores go.

    Raises:
        MissingPackageError: the module kenlm is not installed.
        DataError: KenLM cannot read the file.
    """

    def __init__(self, path: Path, *, end_id: int | None = None, device: torch.device | str = "cpu") -> None:
        try:
            import kenlm
        except ImportError as error:
            raise MissingPackageError(
                f"the proxy {str(path)!r} is read as a KenLM binary, which needs the module kenlm; install it with `pip install "
                "kenlm`, or give the model as an ARPA file."
            ) from error
        try:
            self._model = kenlm.Model(str(path))
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"KenLM cannot read {str(path)!r} ({str(error).splitlines()[0]}); give a binary of build_binary or an ARPA file."
            ) from error
        self.history = self._model.order - 1
        self._new_state, self._end_id, self._device = kenlm.State, end_id, device
        self._state = lru_cache(maxsize=4096)(self._compute_state)

    def begin(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """See :class:`Proxy`; the beginning of a sequence is -2."""
        rows = [[-1] * self.history + [-2, *context] for context in contexts]
        last = [row[len(row) - self.history :] for row in rows]
        return torch.tensor(last, dtype=torch.int64, device=self._device).view(len(rows), self.history)

    def score(self, history: Tensor, candidates: Tensor) -> Tensor:
        """See :class:`Proxy`."""
        out = self._new_state()
        scores = [
            [
                [self._model.BaseScore(self._state(tuple(before)), self._word(token), out) * NEPER for token in tokens]
                for before in beams
            ]
            for beams, tokens in zip(history.tolist(), candidates.tolist(), strict=True)
        ]
        return torch.tensor(scores, device=self._device).view(*history.shape[:2], candidates.shape[1])

    def _compute_state(self, before: tuple[int, ...]) -> Any:
        state = self._new_state()
        self._model.NullContextWrite(state)
        for token in before:
            if token == -2:
                self._model.BeginSentenceWrite(state)
            elif token >= 0:
                longer = self._new_state()
                self._model.BaseScore(state, self._word(token), longer)
                state = longer
        return state

    def _word(self, token: int) -> str:
        return "</s>" if token == self._end_id else str(token)
