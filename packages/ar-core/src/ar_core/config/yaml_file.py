"""YAML read without its traps.

Three readings of YAML 1.1 differ from what authors of training configs mean and are replaced by those of YAML 1.2:
``1e-4`` is a number (not text), only ``true`` and ``false`` are booleans (``no`` and ``on`` are text), and leading
zeros or colons do not make octal or base-60 integers. A key written twice in one mapping is an error.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingPackageError

__all__ = ["load_yaml", "parse_yaml"]


DEEPEST = 100
"""Levels of nesting."""
LARGEST = 100_000
"""Values of a document, those behind an alias counted wherever it stands."""


@cache
def _loader() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingPackageError(
            "reading YAML needs the package pyyaml; install it with `pip install 'ar-core[train]'`"
        ) from error

    class Loader(yaml.SafeLoader):
        def fetch_flow_collection_start(self, TokenClass: Any) -> None:
            # Each token looks at all open brackets, so that deep ones cost the square of their depth.
            if self.flow_level >= DEEPEST:
                raise ConfigError(_too_deep(_place(self.get_mark())))
            super().fetch_flow_collection_start(TokenClass)

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            # Merges of merges multiply before anything is constructed.
            if len(node.value) > LARGEST:
                raise ConfigError(
                    f"{_place(node.start_mark)}: merged mappings have more than {LARGEST} keys; write fewer"
                )

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise ConfigError(f"{_place(key_node.start_mark)}: the key {key!r} is not text; put it in quotes")
                if key in seen:
                    raise ConfigError(
                        f"{_place(key_node.start_mark)}: the key {key!r} is written twice; keep one of the two"
                    )
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    retyped = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"}
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in retyped]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")
    )
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+|[-+]?(?:[0-9][0-9_]*\.[0-9]*|\.[0-9]+)"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    )
    return yaml, Loader


def _place(mark: Any) -> str:
    return f"{mark.name}, line {mark.line + 1}"


def _too_deep(place: str) -> str:
    return f"{place}: this is nested more than {DEEPEST} levels deep; write it flatter"


def _check_size(data: Any, name: str) -> None:
    """Refuse what is nested too deep, holds itself, or is far larger than its text by aliases of aliases."""
    level, total = [data], 0
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, (dict, list, tuple, set))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        total += len(level)
        if total > LARGEST:
            raise ConfigError(f"{name}: with its aliases written out this has more than {LARGEST} values; write fewer")
        if not level:
            return
    raise ConfigError(f"{name}: this is nested more than {DEEPEST} levels deep, or holds itself; write it flatter")


def parse_yaml(text: str, name: str = "<text>") -> Any:
    """Parse one YAML document; ``name`` stands for its file in error messages.

    Raises:
        ConfigError: not valid YAML, a key written twice, or a key that is not text.
        MissingPackageError: pyyaml is not installed.
    """
    yaml, loader_class = _loader()
    loader = None
    try:
        # Already here characters are refused that YAML does not have.
        loader = loader_class(text)
        loader.name = name
        data = loader.get_single_data()
        _check_size(data, name)
        return data
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(_too_deep(name)) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Values whose tag, or whose form, says that they are dates or numbers and that are none.
        raise ConfigError(f"{name}: a value is not what its form or tag says ({error}); put it in quotes") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = _place(mark) if mark is not None else name
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ConfigError(f"{place}: this is not valid YAML ({problem}); correct the line") from error
    finally:
        if loader is not None:
            loader.dispose()


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: the file is absent, unreadable, not UTF-8, not valid YAML, or not a mapping.
        MissingPackageError: pyyaml is not installed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"the config {str(path)!r} cannot be read ({reason}); give a UTF-8 YAML file") from error
    data = parse_yaml(text, name=str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"the config {str(path)!r} holds {type(data).__name__}, not a mapping; write `key: value` lines"
        )
    return data
