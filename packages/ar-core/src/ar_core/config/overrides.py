"""Settings changed on the command line."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from .yaml_file import parse_yaml

__all__ = ["apply_overrides"]


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str], *, texts: Container[str] = ()) -> dict[str, Any]:
    """Return a copy of ``data`` in which each ``dotted.key=value`` is set and each ``~dotted.key`` taken out; later ones win.

    The syntax is torchtune's. Values are YAML (``1e-4`` a number, ``[1, 2]`` a list, ``null`` nothing, ``a=`` empty text).
    Mappings on the way that do not exist yet, or are ``null``, are created; whether a key is known is checked when the
    config is built, and a key that was taken out has its default there.

    Args:
        data: the config.
        overrides: its changes.
        texts: dotted keys whose values are text, see :func:`text_fields`: what YAML does not read as text or ``null`` is taken as it was
            written, so that ``prompt=Q: why?`` needs no quotes within quotes.

    Raises:
        ConfigError: an override without ``=`` or without a key, a key that leads through a value that is no mapping, or one
            to take out that is not there.
    """
    result: dict[str, Any] = _copy(data)
    for override in overrides:
        if override.startswith("~"):
            _take_out(result, override)
            continue
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(
                f"the override {override!r} is not of the form key=value or ~key, for example train.lr=1e-4 or ~model.lora"
            )
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
        if ".".join(parts) in texts:
            target[parts[-1]] = _as_text(text)
        else:
            target[parts[-1]] = parse_yaml(text, name=f"the override {override!r}") if text else ""
    return result


def _as_text(text: str) -> str | None:
    try:
        read = parse_yaml(text)
    except ConfigError:
        return text
    if text and read is None:
        return None
    return read if isinstance(read, str) else text


def _take_out(data: dict[str, Any], override: str) -> None:
    *way, last = override[1:].strip().split(".")
    target: Any = data
    for part in way:
        target = target.get(part) if isinstance(target, dict) else None
    if not isinstance(target, dict) or last not in target:
        raise ConfigError(f"the override {override!r} takes out a key that the config does not set; leave it out")
    del target[last]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value
