"""What a proposer hands to the verifier: a chain or a tree of guessed tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """Guessed tokens behind a row's newest committed one.

    Tokens of a tree come after their parents, so that every prefix of ``tokens`` is a draft too: order them by how
    much they are worth, because a draft that does not fit is cut at its end. Of the children of one node the first is
    its main continuation.

    Attributes:
        tokens: n ≥ 0 ids.
        parents: index of each token's parent, smaller than its own; -1 is the row's newest committed token. Children of
            one node are distinct tokens. ``None``: a chain.
        densities: float [n, V], rows sum to 1. Only for a chain whose tokens were drawn independently, token i from row i,
            with a generator of the proposer's own (never a row's). How many are drawn may depend on tokens drawn
            before, never on those that are left out. Of proposers that are ``Drawing``.
        left_to_right: float [n, V]. What the DiffuSpec paper divides by: the drafter's density of each place given the
            chosen tokens before it. Read only under ``acceptance="paper_l2r_biased"``, and only for a chain.

    Raises:
        ConfigError: not such a tree, or densities of another length, or densities with a tree.
    """

    tokens: Sequence[int]
    parents: Sequence[int] | None = None
    densities: Tensor | None = field(default=None, compare=False)
    left_to_right: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.parents is not None:
            _check_tree(self.tokens, self.parents)
        for name in ("densities", "left_to_right"):
            given: Tensor | None = getattr(self, name)
            if given is None:
                continue
            if self.parents is not None:
                raise ConfigError(f"A draft tree was given {name}, which only a chain can have; leave one of them out.")
            if given.ndim != 2 or given.shape[0] != len(self.tokens) or not given.is_floating_point():
                raise ConfigError(
                    f"A draft of {len(self.tokens)} tokens was given {name} of shape {list(given.shape)} and "
                    f"{given.dtype}; give one row of floating-point numbers for each token."
                )

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, proposed: Draft | Sequence[int]) -> Draft:
        """A draft as it is, or a list of ids as a chain."""
        return proposed if isinstance(proposed, Draft) else cls(proposed)

    @classmethod
    def of_chains(cls, chains: Sequence[Sequence[int]]) -> Draft:
        """Merge chains into a tree in which equal beginnings are shared; earlier chains come first, duplicates vanish."""
        tokens: list[int] = []
        parents: list[int] = []
        found: dict[tuple[int, int], int] = {}
        for chain in chains:
            node = -1
            for token in chain:
                known = found.get((node, token))
                if known is None:
                    known = found[node, token] = len(tokens)
                    tokens.append(token)
                    parents.append(node)
                node = known
        branches = any(parent != node - 1 for node, parent in enumerate(parents))
        return cls(tokens, parents if branches else None)

    @property
    def is_chain(self) -> bool:
        """Whether every token follows the one before it."""
        return self.parents is None or all(parent == node - 1 for node, parent in enumerate(self.parents))

    def chains(self) -> list[list[int]]:
        """The tokens of every path to a leaf, in the order of the leaves."""
        if self.parents is None:
            return [list(self.tokens)] if len(self.tokens) else []
        paths: list[list[int]] = []
        for token, parent in zip(self.tokens, self.parents, strict=True):
            paths.append([*(paths[parent] if parent >= 0 else []), token])
        inner = set(self.parents)
        return [path for node, path in enumerate(paths) if node not in inner]

    def depths(self) -> list[int]:
        """How many tokens behind the newest committed one each stands, from 1."""
        if self.parents is None:
            return list(range(1, len(self.tokens) + 1))
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 if parent < 0 else depths[parent] + 1)
        return depths

    def cut(self, depth: int, nodes: int | None = None) -> Draft:
        """The draft without tokens deeper than ``depth``, and of these the first ``nodes`` (default: all)."""
        if self.parents is None:
            length = depth if nodes is None else min(depth, nodes)
            if length >= len(self.tokens):
                return self
            return Draft(
                self.tokens[:length],
                None,
                None if self.densities is None else self.densities[:length],
                None if self.left_to_right is None else self.left_to_right[:length],
            )
        kept = [node for node, at in enumerate(self.depths()) if at <= depth][:nodes]
        if len(kept) == len(self.tokens):
            return self
        index = {-1: -1} | {node: new for new, node in enumerate(kept)}
        return Draft([self.tokens[node] for node in kept], [index[self.parents[node]] for node in kept])

    def accepted(self, picks: Sequence[int]) -> list[int]:
        """Nodes of the longest path on which each token is what the verifier picked before it.

        Args:
            picks: the verifier's token behind the newest committed one, then behind each of the n tokens.
        """
        if self.parents is None:
            right = next((i for i, token in enumerate(self.tokens) if token != picks[i]), len(self.tokens))
            return list(range(right))
        path: list[int] = []
        newest = -1
        for node, (token, parent) in enumerate(zip(self.tokens, self.parents, strict=True)):
            if parent == newest and token == picks[newest + 1]:
                path.append(node)
                newest = node
        return path

    def along(self, chain: Sequence[int]) -> list[int]:
        """Nodes that spell a chain from its first token on, as far as the draft holds it."""
        path: list[int] = []
        parents = range(-1, len(self.tokens) - 1) if self.parents is None else self.parents
        for node, (token, parent) in enumerate(zip(self.tokens, parents, strict=True)):
            newest = path[-1] if path else -1
            if parent == newest and len(path) < len(chain) and token == chain[len(path)]:
                path.append(node)
        return path

    def behind(self, node: int) -> list[int]:
        """The main continuation of a node (-1: of the newest committed token): first child after first child."""
        if self.parents is None:
            return list(range(node + 1, len(self.tokens)))
        line: list[int] = []
        for child, parent in enumerate(self.parents):
            if parent == node:
                line.append(child)
                node = child
        return line


def _check_tree(tokens: Sequence[int], parents: Sequence[int]) -> None:
    if len(parents) != len(tokens):
        raise ConfigError(f"A draft of {len(tokens)} tokens was given {len(parents)} parents; give one for each.")
    children = set()
    for node, (token, parent) in enumerate(zip(tokens, parents, strict=True)):
        if not -1 <= parent < node:
            raise ConfigError(
                f"Token {node} of a draft tree was given the parent {parent}; it must be -1 or the index of an earlier token."
            )
        if (parent, token) in children:
            raise ConfigError(
                f"A draft tree holds the token {token} twice below the same parent; merge them (Draft.of_chains does)."
            )
        children.add((parent, token))
