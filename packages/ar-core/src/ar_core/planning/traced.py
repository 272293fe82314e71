"""Running code for the shapes of what it makes: weights without values, inputs as they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from .live_bytes import LiveBytes

__all__ = ["ReadOnHost", "Traced", "without_values"]

SMALL = 2**20
"""Elements up to which a new tensor of floating-point numbers has values: constants, tables of positions."""


@dataclass(frozen=True)
class Bound:
    """What is made in the place of a result whose size depends on values."""

    made: Callable[..., Tensor]
    said: str


BOUNDS: Mapping[Any, Bound] = MappingProxyType(
    {
        torch.ops.aten.bincount.default: Bound(
            lambda values, weights=None, minlength=0: torch.zeros(
                max(minlength, 1), dtype=torch.int64 if weights is None else weights.dtype
            ),
            "it was taken for as long as it is at least",
        ),
        torch.ops.aten.nonzero.default: Bound(
            lambda values: torch.zeros(values.numel(), values.ndim, dtype=torch.int64),
            "all elements were taken for true",
        ),
    }
)


INDEXED = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_)
"""Operations that may be given masks as indices, whose values decide the shape of the result."""


class Traced(TorchDispatchMode):
    """Every operation that touches a tensor without values gives tensors without values; all others are computed.

    So masks, positions and corruption, on which the shapes of a step depend, are what they are in a run, and the models cost
    neither memory nor time. Counts the storages that come alive, and operations by torch's formulas (matrix products, attention,
    convolutions; a multiplication and an addition are two).

    Args:
        fake: makes tensors without values.
        live: counts storages.
        widths: last dimensions that only logits have.
    """

    def __init__(self, fake: FakeTensorMode, live: LiveBytes, widths: Iterable[int] = ()) -> None:
        super().__init__()
        self.fake, self.live, self.widths = fake, live, frozenset(widths)
        self.flops: Counter[torch.dtype] = Counter()
        self.guessed: set[str] = set()
        """What was assumed of values that are not there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, or give shapes."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(is_traceable_wrapper_subclass(tensor) for tensor in tensors):
            return NotImplemented
        if any(_valueless(tensor) for tensor in tensors):
            out = self._shapes(func, args, kwargs)
        elif tensors:
            out = func(*args, **kwargs)
        else:
            out = self._made(func, args, kwargs)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                wide = leaf.ndim > 1 and leaf.shape[-1] in self.widths
                self.live.note([leaf], "logits" if wide else "activations")
        return out

    def _shapes(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            if args[0].is_floating_point():
                return 1.0
            self.guessed.add(
                "a count or a condition that the models compute was taken for 1: what depends on it may differ"
            )
            return args[0].dtype is torch.bool or 1
        if func._overloadpacket in INDEXED:
            args = (args[0], self._positions(args[1]), *args[2:])
        bounded = BOUNDS.get(func)
        if bounded is not None:
            self.guessed.add(f"{func} depends on what the models compute: {bounded.said}")
        with self.fake:
            shadowed, named = tree_map_only(Tensor, self._shadow, (args, kwargs))
            out = func(*shadowed, **named) if bounded is None else bounded.made(*shadowed, **named)
        if func._overloadpacket in flop_registry:
            dtype = next(leaf.dtype for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
            self.flops[dtype] += flop_registry[func._overloadpacket](*shadowed, **named, out_val=out)
        if func._schema.is_mutable and isinstance(out, Tensor):
            # What was written into stays the tensor that its owner holds.
            written = [
                given
                for given, argument in zip(args, func._schema.arguments)
                if argument.alias_info is not None and argument.alias_info.is_write
            ]
            return written[0] if len(written) == 1 else out
        return out

    def _positions(self, indices: Iterable[Tensor | None]) -> list[Tensor | None]:
        """Indices without masks: of a mask with values the positions that it has, of any other all."""
        positions: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                positions.append(index)
                continue
            if _valueless(index):
                self.guessed.add("an index is a mask that the models compute: all of it was taken for true")
                index = torch.ones(index.shape, dtype=torch.bool)
            positions.extend(index.nonzero().unbind(1))
        return positions

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What no tensor was given to: made with values unless it is large and of floating-point numbers."""
        with self.fake:
            shape = func(*args, **kwargs)
        if isinstance(shape, Tensor) and (not shape.is_floating_point() or shape.numel() <= SMALL):
            return func(*args, **kwargs)
        return shape

    def _shadow(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else _fake_like(self.fake, tensor)


class ReadOnHost(TorchFunctionMode):
    """What the host reads of tensors without values, for the record of a step, is 1."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer ``tolist``, leave the rest."""
        if func is Tensor.tolist and _valueless(args[0]):
            return torch.ones(args[0].shape, dtype=args[0].dtype).tolist()
        return func(*args, **(kwargs or {}))


def without_values(module: nn.Module, fake: FakeTensorMode) -> None:
    """Take the values of a module's parameters and large buffers away, in place: whoever holds one of them holds the new one.

    Buffers of whole numbers and small ones keep theirs, since shapes may depend on them.
    """
    for parameter in module.parameters():
        if not isinstance(parameter, FakeTensor):
            _empty(parameter, fake)
    for buffer in module.buffers():
        if not isinstance(buffer, FakeTensor) and (
            buffer.is_meta or (buffer.is_floating_point() and buffer.numel() > SMALL)
        ):
            _empty(buffer, fake)


def _empty(tensor: Tensor, fake: FakeTensorMode) -> None:
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            _empty(getattr(tensor, name), fake)
        return
    empty = _fake_like(fake, tensor)
    # An attribute that makes a Parameter of a tensor whose class is not that.
    empty._is_param = isinstance(tensor, nn.Parameter)
    torch.utils.swap_tensors(tensor, empty)


def _fake_like(fake: FakeTensorMode, tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return FakeTensor(fake, empty, torch.device("cpu"), requires_grad=tensor.requires_grad and tensor.is_leaf)


def _valueless(tensor: Tensor) -> bool:
    return isinstance(tensor, FakeTensor) or tensor.is_meta
