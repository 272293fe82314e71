"""The unit that training consumes, and where it comes from."""

from collections.abc import Iterator
from typing import Any, Protocol, TypedDict

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ["PADDING_DOCUMENT", "Sample", "SampleSource", "stack_rows"]

PADDING_DOCUMENT = -1
"""Document id of what fills a row shorter than the longest of its batch; data count documents from 0."""


class Sample(TypedDict):
    """One row of training text.

    Attributes:
        index: number of the sample in its run, counted from 0 over all epochs; noise is keyed by it.
        ids: int64 [L], token ids.
        labels: int64 [L], equal to ``ids`` where supervised and -100 elsewhere; not shifted.
        document: int64 [L], number of the document within the row, non-decreasing from 0. Padding at the end of a
            row is a document of its own; positions within documents follow from these ids.
    """

    index: int
    ids: Tensor
    labels: Tensor
    document: Tensor


class SampleSource(Protocol):
    """The infinite stream of samples of a run, a pure function of the source's settings, its seed and the start."""

    def open(self, start: int) -> Iterator[Sample]:
        """Yield samples number ``start``, ``start + 1``, ... without end; a run resumes by opening at its next one."""
        ...

    def describe(self) -> dict[str, Any]:
        """Plain facts for logs and resume checks: what is read, how many documents, rows and tokens, fingerprint."""
        ...


def stack_rows(rows: list[Tensor], *, fill: int) -> Tensor:
    """Stack B tensors [L_i] as [B, L], the short ones filled up on the right with ``fill``."""
    return pad_sequence(rows, batch_first=True, padding_value=fill)
