"""Settings changed on the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from .yaml_file import parse_yaml

__all__ = ["apply_overrides"]


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``data`` in which each ``dotted.key=value`` is set; later ones win.

    Values are YAML (``1e-4`` a number, ``[1, 2]`` a list, ``null`` nothing, ``a=`` empty text). Mappings on the
    way that do not exist yet, or are ``null``, are created; whether a key is known is checked when the config is built.

    Raises:
        ConfigError: an override without ``=`` or without a key, or a key that leads through a value that is no mapping.
    """
    result = _copy(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"the override {override!r} is not of the form key=value, for example train.lr=1e-4")
        target = result
        for depth, part in enumerate(parts[:-1]):
            if target.get(part) is None:
                target[part] = {}
            target = target[part]
            if not isinstance(target, dict):
                path = ".".join(parts[: depth + 1])
                raise ConfigError(
                    f"the override {override!r} leads through {path}, which is {target!r} and no mapping; "
                    f"set {path} itself"
                )
        target[parts[-1]] = parse_yaml(text, name=f"the override {override!r}") if text else ""
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value
