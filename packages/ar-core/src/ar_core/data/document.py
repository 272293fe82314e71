"""One tokenised document."""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError

__all__ = ["Document"]


@dataclass(frozen=True)
class Document:
    """n token ids, and which of them are supervised."""

    ids: np.ndarray
    """Token ids, int32 [n]."""
    supervised: np.ndarray
    """Which of them are supervised, bool [n]."""

    @classmethod
    def of(cls, ids: list[int], supervised: list[bool] | bool) -> "Document":
        """Build from lists; a single bool holds for every token."""
        flags = np.full(len(ids), supervised) if isinstance(supervised, bool) else np.array(supervised, dtype=bool)
        if len(flags) != len(ids):
            raise DataError(f"a document has {len(ids)} ids and {len(flags)} supervision flags; give one flag an id")
        return cls(np.array(ids, dtype=np.int32), flags)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, span: slice) -> "Document":
        return Document(self.ids[span], self.supervised[span])
