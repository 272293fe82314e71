"""Dataclasses from plain data, and back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ..errors import ConfigError
from .nearest import did_you_mean

__all__ = ["from_dict", "require_types", "text_fields", "to_dict"]

T = TypeVar("T")


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass ``cls`` from a mapping; every key must be a field and every value of its field's type.

    Understood types: ``bool``, ``int``, ``float`` (an integer is accepted), ``str``, ``Path`` (from text), ``None``,
    ``Any``, ``Literal``, ``X | None`` and other unions, ``list[X]``, ``tuple[X, ...]``, ``tuple[X, Y]``,
    ``dict[str, X]`` and dataclasses, nested at will. Nothing is converted beyond that: ``"1"`` is no integer and
    ``true`` is not 1.

    Args:
        cls: the dataclass.
        data: its fields by name; fields with a default may be absent.
        where: dotted path of this mapping in the whole config, for messages.

    Raises:
        ConfigError: unknown key (with its dotted path and the nearest valid key), missing key, wrong type, or what the
            dataclass's own ``__post_init__`` refuses (with the path in front).
    """
    if not isinstance(data, Mapping):
        raise ConfigError(_wrong(where or cls.__name__, data, f"a mapping of {cls.__name__} settings"))
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]  # a dataclass, which the caller has checked
    for key in data:
        if key not in fields:
            raise ConfigError(f"unknown key {_join(where, str(key))!r}; {did_you_mean(str(key), fields)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"the key {_join(where, name)!r} is missing; give it {_describe(hints[name])}")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def require_types(config: Any) -> None:
    """Refuse values that are not of the types of their fields, for dataclasses that Python code builds as well.

    Args:
        config: the dataclass, of the types that :func:`from_dict` understands; fields that hold dataclasses check themselves.

    Raises:
        ConfigError: names the first.
    """
    for name, hint in _hints(type(config)).items():  # type: ignore[arg-type]  # classes are hashable
        value = getattr(config, name)
        if not dataclasses.is_dataclass(value):
            _value(hint, value, name)


def to_dict(config: Any) -> dict[str, Any]:
    """Return the plain data of a dataclass: mappings, lists and scalars only, such that ``from_dict`` rebuilds it."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"only a config object can be turned into a mapping, not {type(config).__name__}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}


def text_fields(cls: type[Any]) -> frozenset[str]:
    """Return the names of a dataclass's own fields that are text or a path, or one of these or nothing."""
    kinds = (str, Path, str | None, Path | None)
    return frozenset(name for name, hint in typing.get_type_hints(cls).items() if hint in kinds)


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(hint, value, where)
    if origin is Literal:
        choices = get_args(hint)
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        hint_text = (
            did_you_mean(value, map(str, choices)) if isinstance(value, str) else f"choose one of {_list(choices)}"
        )
        raise ConfigError(f"{where} is {value!r}, which is none of {_list(choices)}; {hint_text}")
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)  # type: ignore[arg-type]  # a dataclass, as the line above says
    if origin in (list, tuple):
        return _sequence(hint, origin, value, where)
    if origin is dict:
        return _mapping(hint, value, where)
    if not _fits(hint, value):
        raise ConfigError(_wrong(where, value, _describe(hint)))
    return hint(value) if hint in (float, Path) else value


def _fits(hint: Any, value: Any) -> bool:
    if hint in (None, type(None)):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, (str, Path))
    if hint in (bool, str):
        return isinstance(value, hint)
    raise TypeError(f"from_dict cannot build fields of type {hint!r}")


def _union(hint: Any, value: Any, where: str) -> Any:
    members = get_args(hint)
    if value is None and type(None) in members:
        return None
    exact = [m for m in members if isinstance(m, type) and not dataclasses.is_dataclass(m) and type(value) is m]
    if exact:
        return value
    structured = [m for m in members if m is not type(None)]
    if isinstance(value, Mapping):
        mappings = [m for m in structured if dataclasses.is_dataclass(m) or get_origin(m) is dict]
        structured = mappings or structured
    errors = []
    for member in structured:
        try:
            return _value(member, value, where)
        except ConfigError as error:
            errors.append(error)
    if len(structured) == 1 and (dataclasses.is_dataclass(structured[0]) or get_origin(structured[0]) is not None):
        raise errors[0]
    raise ConfigError(_wrong(where, value, _describe(hint)))


def _sequence(hint: Any, origin: type, value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(_wrong(where, value, _describe(hint)))
    args = get_args(hint)
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        if len(value) != len(args):
            raise ConfigError(_wrong(where, value, _describe(hint)))
        return tuple(_value(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value)))
    return origin(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))


def _mapping(hint: Any, value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(_wrong(where, value, _describe(hint)))
    key_hint, item_hint = get_args(hint)
    return {
        _value(key_hint, key, f"{where} (key)"): _value(item_hint, item, _join(where, str(key)))
        for key, item in value.items()
    }


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _list(values: typing.Iterable[Any]) -> str:
    return ", ".join(repr(value) for value in values)


def _wrong(where: str, value: Any, wanted: str) -> str:
    return f"{where} is {value!r} ({type(value).__name__}); give it {wanted}"


def _describe(hint: Any) -> str:
    names = {
        bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path", type(None): "null"
    }  # fmt: skip
    if hint in names:
        return names[hint]
    origin = get_origin(hint)
    args = get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(arg) for arg in args)
    if origin is Literal:
        return f"one of {_list(args)}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping of {hint.__name__} settings"  # type: ignore[union-attr]  # a class: hints are no instances
    if origin is list or (origin is tuple and args[-1] is Ellipsis):
        return f"a list, each entry {_describe(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {', '.join(_describe(arg) for arg in args)}"
    if origin is dict:
        return f"a mapping, each value {_describe(args[1])}"
    return "any value"
