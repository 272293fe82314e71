"""Names of tensors in a published layout, and in ours."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..errors import CheckpointError

__all__ = ["KeyMap"]


@dataclass(frozen=True)
class KeyMap:
    """Ordered rename rules between two layouts of one checkpoint; the first rule that matches a key renames it.

    A rule is a pair of patterns (published, ours). In a pattern ``{name}`` stands for one part between dots, and
    ``{name*}`` for one or more; both patterns of a rule use the same names. Every key must match a rule and come back
    unchanged from the other direction, so nothing is lost; ``("{key*}", "{key*}")`` as the last rule keeps the rest.

        KeyMap((
            ("encoder.layers.{i}.{rest*}", "model.layers.{i}.{rest*}"),
            ("diffusion_head.weight", "lm_head.weight"),
        ))

    Raises:
        ValueError: The two patterns of a rule do not use the same names.
    """

    rules: tuple[tuple[str, str], ...]
    """Pairs (published, ours), in the order in which they are tried."""

    def __post_init__(self) -> None:
        for published, ours in self.rules:
            if sorted(_names(published)) != sorted(_names(ours)) or len(set(_names(ours))) != len(_names(ours)):
                raise ValueError(f"the patterns {published!r} and {ours!r} must use the same names, each once")

    @cached_property
    def _compiled(self) -> tuple[list[tuple[re.Pattern[str], str]], list[tuple[re.Pattern[str], str]]]:
        into = [(_regex(published), _template(ours)) for published, ours in self.rules]
        back = [(_regex(ours), _template(published)) for published, ours in self.rules]
        return into, back

    def to_ours(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a published checkpoint under our names.

        Raises:
            CheckpointError: A key matches no rule, does not come back unchanged, or two keys get one name.
        """
        into, back = self._compiled
        return _rename(tensors, into, back)

    def to_published(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors under our names as the published layout names them; raises as :meth:`to_ours` does."""
        into, back = self._compiled
        return _rename(tensors, back, into)


def _rename(
    tensors: Mapping[str, Tensor],
    forward: Iterable[tuple[re.Pattern[str], str]],
    backward: Iterable[tuple[re.Pattern[str], str]],
) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in tensors.items():
        new = _first(key, forward)
        if new is None:
            unknown.append(key)
            continue
        if _first(new, backward) != key or new in renamed:
            raise CheckpointError(
                f"the key {key!r} becomes {new!r}, from which it cannot be told apart again: "
                "the checkpoint is of another layout than its key map"
            )
        renamed[new] = tensor
    if unknown:
        raise CheckpointError(
            f"the keys {', '.join(map(repr, unknown))} are not of the expected layout: "
            "this is a checkpoint of another architecture or version"
        )
    return renamed


def _first(key: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        match = pattern.fullmatch(key)
        if match:
            return template.format(**match.groupdict())
    return None


def _names(pattern: str) -> list[str]:
    return re.findall(r"\{(\w+\*?)\}", pattern)


def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\*?\})", pattern)
    return re.compile("".join(_group(part) if part.startswith("{") else re.escape(part) for part in parts))


def _group(field: str) -> str:
    name = field.strip("{}")
    return f"(?P<{name[:-1]}>.+)" if name.endswith("*") else f"(?P<{name}>[^.]+)"


def _template(pattern: str) -> str:
    return pattern.replace("*}", "}")
