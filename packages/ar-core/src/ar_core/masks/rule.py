"""A rule says, for one query token and one key token, whether the first may attend to the second.

Source: ours; predicates over index tensors are FlexAttention's idea (arXiv 2412.05496).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Ids", "Rule"]


class Ids(Protocol):
    """The ids of one side of the attention matrix, shaped to broadcast against the other side."""

    @property
    def index(self) -> Tensor:
        """Index of each token in the layout; rules use it only for its shape."""
        ...

    def __getitem__(self, name: str) -> Tensor:
        """The id ``name``."""
        ...


@dataclass(frozen=True, repr=False)
class Rule:
    """An elementwise predicate over (query ids, key ids), combined with ``&``, ``|`` and ``~``.

    Rules are values: equal when built alike, hashable, picklable.

    Args:
        name: what ``repr`` shows.
        allows: module-level function ``(q, k, *arguments) -> bool tensor`` that broadcasts q against k. It compares
            integers only: a comparison of two bool tensors does not compile under FlexAttention.
        queries: names of the ids it reads from the query side.
        keys: names of the ids it reads from the key side.
        arguments: the rule's own numbers, or the rules it combines.
    """

    name: str
    allows: Callable[..., Tensor]
    queries: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    arguments: tuple[Any, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Names of all ids it reads, on either side."""
        return self.queries | self.keys

    def __call__(self, q: Ids, k: Ids) -> Tensor:
        """Bool tensor, broadcast of q's and k's shapes (or of one of them): True where q may attend to k."""
        return self.allows(q, k, *self.arguments)

    def __and__(self, other: "Rule") -> "Rule":
        return _combine("&", _both, self, other)

    def __or__(self, other: "Rule") -> "Rule":
        return _combine("|", _either, self, other)

    def __invert__(self) -> "Rule":
        return Rule("~", _not, self.queries, self.keys, (self,))

    def __repr__(self) -> str:
        if self.name in ("&", "|"):
            return f"({self.arguments[0]!r} {self.name} {self.arguments[1]!r})"
        if self.name == "~":
            return f"~{self.arguments[0]!r}"
        return f"{self.name}({', '.join(map(repr, self.arguments))})"


def _combine(name: str, allows: Callable[..., Tensor], left: Rule, right: Rule) -> Rule:
    return Rule(name, allows, left.queries | right.queries, left.keys | right.keys, (left, right))


def _both(q: Ids, k: Ids, left: Rule, right: Rule) -> Tensor:
    return left(q, k) & right(q, k)


def _either(q: Ids, k: Ids, left: Rule, right: Rule) -> Tensor:
    return left(q, k) | right(q, k)


def _not(q: Ids, k: Ids, rule: Rule) -> Tensor:
    return ~rule(q, k)
