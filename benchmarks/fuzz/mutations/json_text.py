"""JSON whose values, keys and nesting are hostile."""

import json
from random import Random
from typing import Any

__all__ = ["changed_json", "changed_lines", "changed_tree"]

DEEP = 100_000
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    -(2**64),
    10**40,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a",
    "1",
    "\0",
    "../outside.safetensors",
    "../../../../etc/passwd",
    "/etc/passwd",
    "~/x",
    "file:///etc/passwd",
    "x" * 3000,
    "line\nline\x1b[31m\u202e\u2028",
    "\ud800",
    [],
    [[]],
    [None],
    ["a", 1],
    [0] * 300,
    {},
    {"": None},
    {"a": {"b": []}},
)
RAW = (
    "[" * DEEP,
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
    "1" * 5000,
    "-" * 50,
    "1e999",
    "-Infinity",
    '"\\ud800\\udc"',
    '{"a":1,"a":2}',
    "0x10",
    "'a'",
    "//",
    "\ufeff1",
)
SLOT = "@raw@"


def changed_json(data: bytes, random: Random) -> bytes | None:
    """One change in a JSON text; None where it is none."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    raw = random.choice(RAW) if random.random() < 0.15 else None
    text = json.dumps(changed_tree(tree, random, SLOT if raw is not None else None))
    if raw is not None:
        text = text.replace(f'"{SLOT}"', raw)
    elif random.random() < 0.05:
        text = _doubled(text, random)
    return text.encode("utf-8", "surrogatepass")


def changed_lines(data: bytes, random: Random) -> bytes:
    """One change in a line of JSON Lines, or in their order and number."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    way = random.randrange(8)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(random.randrange(len(lines) + 1), lines[at])
    elif way == 2:
        lines[at] = random.choice((b"", b"null", b"[]", b"1", b"\xff\xfe{}", b'"', b"{" * 2000, b"\r", b"{}" * 3))
    else:
        lines[at] = changed_json(lines[at], random) or lines[at][: random.randrange(len(lines[at]) + 1)]
    return b"\n".join(lines)


def changed_tree(tree: Any, random: Random, given: Any = None) -> Any:
    """A copy of plain data in which one place was changed, or holds ``given``."""
    places = list(_places(tree, ()))
    place = random.choice(places)
    return _with(tree, place, lambda value: given if given is not None else _other(value, random, tree))


def _other(value: Any, random: Random, tree: Any) -> Any:
    way = random.randrange(6)
    if way == 0 and isinstance(value, (dict, list)) and value:
        return _without_one(value, random)
    if way == 1 and isinstance(value, dict):
        return {**value, random.choice(("a", "", "__class__", "../x", *value)): random.choice(VALUES)}
    if way == 2 and isinstance(value, list):
        return [*value, random.choice(value) if value else None]
    if way == 3 and isinstance(value, (int, float)) and not isinstance(value, bool):
        return random.choice(
            (-value, value + 1, value - 1, value * 2, value * 10**6, float(value) if abs(value) < 1e300 else 0.0)
        )
    if way == 4 and isinstance(value, str):
        return random.choice((value.upper(), value[:-1], value + "x", f"../{value}", value.replace(".", "/")))
    if way == 5 and tree:
        places = list(_places(tree, ()))
        return _at(tree, random.choice(places))
    return random.choice(VALUES)


def _without_one(value: Any, random: Random) -> Any:
    if isinstance(value, list):
        at = random.randrange(len(value))
        return value[:at] + value[at + 1 :]
    gone = random.choice(list(value))
    return {key: item for key, item in value.items() if key != gone}


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*path, key))
    elif isinstance(tree, list):
        # Long lists of numbers would take all changes.
        for at, value in enumerate(tree[:12]):
            yield from _places(value, (*path, at))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _with(tree: Any, path: tuple[Any, ...], change: Any) -> Any:
    if not path:
        return change(tree)
    key, rest = path[0], path[1:]
    if isinstance(tree, dict):
        return {name: _with(value, rest, change) if name == key else value for name, value in tree.items()}
    return [_with(value, rest, change) if at == key else value for at, value in enumerate(tree)]


def _doubled(text: str, random: Random) -> str:
    """Some key of an object is there twice."""
    at = text.find('"', random.randrange(len(text)))
    colon = text.find(":", at)
    if at < 0 or colon < 0 or text[at - 1 : at] not in ("{", " "):
        return text
    return f"{text[:at]}{text[at : colon + 1]} null, {text[at:]}"
