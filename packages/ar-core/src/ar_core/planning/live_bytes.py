"""Bytes of the storages that are alive, by what they are for."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

__all__ = ["LiveBytes"]


class LiveBytes:
    """Follows storages from the first tensor seen on them to their end; tensors that share a storage count once.

    ``held`` is what is alive, ``peak`` the most that ever was, and ``at_peak`` says by kind what was alive at that moment.
    """

    def __init__(self) -> None:
        self.held = self.peak = 0
        self.by_kind: Counter[str] = Counter()
        self.at_peak: Counter[str] = Counter()
        self._known: dict[int, tuple[str, int]] = {}

    def note(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Count the storages of tensors that are not counted yet.

        Args:
            tensors: of any shape; of wrappers, such as quantised ones, what they wrap.
            kind: what they are for.
        """
        for tensor in _plain(tensors):
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self._known or size == 0:
                continue
            self._known[key] = kind, size
            weakref.finalize(storage, self._forget, key).atexit = False
            self.held += size
            self.by_kind[kind] += size
            if self.held > self.peak:
                self.peak, self.at_peak = self.held, self.by_kind.copy()

    def rename(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what the storages of tensors of any shape are for from now on; those not yet counted are."""
        for tensor in _plain(tensors):
            key = tensor.untyped_storage()._cdata
            if key not in self._known:
                self.note([tensor], kind)
            elif self._known[key][0] != kind:
                before, size = self._known[key]
                self._known[key] = kind, size
                self.by_kind[before] -= size
                self.by_kind[kind] += size

    def begin(self) -> None:
        """Forget the peak: it is what is alive now."""
        self.peak, self.at_peak = self.held, self.by_kind.copy()

    def _forget(self, key: int) -> None:
        kind, size = self._known.pop(key)
        self.held -= size
        self.by_kind[kind] -= size


def _plain(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    for tensor in tensors:
        if is_traceable_wrapper_subclass(tensor):
            yield from _plain(getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        else:
            yield tensor
