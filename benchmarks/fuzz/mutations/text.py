"""Text formats: YAML with traps, n-gram files with numbers that are none."""

import re
from random import Random

from .raw import damaged

__all__ = ["changed_arpa", "changed_plain_text", "changed_yaml"]

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}], y{name}: 1}}\n"
    for before, name in zip("abcdefgh", "bcdefghi")
)
VALUES = (
    "!!python/object/apply:os.system ['touch ar_fuzz_canary']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!int x",
    "!!float ''",
    "!!bool maybe",
    "!!timestamp x",
    "!!binary '*'",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!str [a]",
    "!!map 1",
    "!!null x",
    "!x y",
    "2001-99-99",
    "2001-01-01 99:99:99",
    "0x1F",
    "0b2",
    "0o9",
    "1_000",
    "190:20:30",
    ".inf",
    "-.inf",
    ".nan",
    "1e999",
    "9" * 5000,
    "null",
    "~",
    "yes",
    "=",
    "<<",
    "*a",
    "&a [*a]",
    "&a {x: *a}",
    "{? [1]: 2}",
    "{1: 2}",
    "{null: 2}",
    "{a: 1, a: 2}",
    "{<<: 1}",
    "{<<: [1]}",
    "[" * 3000,
    "[" * 3000 + "]" * 3000,
    "{a: " * 3000,
    "- " * 3000,
    '"\\ud800"',
    '"\\x1b[31m"',
    '"\\U00110000"',
    "|\n  x\n y",
    ">9\n  x",
    "%YAML 9.9",
    "@x",
    "`x",
    "\t- x",
)
NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-99",
    "0",
    "",
    "x",
    "9" * 5000,
    "٣",
    "-1",
    "1_0",
    "²",
    "<s>",
    "</s>",
    "<unk>",
    "\\end\\",
    "0x1",
)


def changed_yaml(data: bytes, random: Random) -> bytes:
    """One change in a YAML text: a value, an indentation, a key, a bomb of aliases."""
    way = random.randrange(10)
    if way == 0:
        return damaged(data, random)
    if way == 1:
        return (
            data
            + b"\n"
            + random.choice((LAUGHS, MERGED, "---\na: 1\n", "...\n", "x: " + random.choice(VALUES))).encode()
        )
    lines = data.decode("utf-8", "replace").split("\n")
    at = random.randrange(len(lines))
    key, colon, _ = lines[at].partition(": ")
    if way == 2:
        lines.insert(at, lines[random.randrange(len(lines))])
    elif way == 3:
        del lines[at]
    elif way == 4:
        lines[at] = " " * random.randrange(9) + lines[at].lstrip()
    elif way == 5:
        lines[at] = random.choice(VALUES)
    elif way == 6 and colon:
        lines[at] = f"{key}: {LAUGHS_VALUE}"
    else:
        lines[at] = f"{key}: {random.choice(VALUES)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


LAUGHS_VALUE = (
    "[&l0 [x, x, x, x, x, x, x, x, x], " + ", ".join(f"&l{n + 1} [{', '.join([f'*l{n}'] * 9)}]" for n in range(8)) + "]"
)


def changed_arpa(data: bytes, random: Random) -> bytes:
    """One change in an n-gram file: a word, a probability, an order, a section, lines."""
    way = random.randrange(6)
    if way == 0:
        return damaged(data, random)
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    if way == 1:
        lines.insert(at, lines[random.randrange(len(lines))])
    elif way == 2:
        del lines[at]
    elif way == 3:
        heads = [place for place, line in enumerate(lines) if line.startswith(b"\\")] or [at]
        chosen = random.choice(heads)
        head = random.choice(
            ("\\1-grams:", "\\2-grams:", "\\0-grams:", f"\\{'9' * 5000}-grams:", "\\٣-grams:", "\\data\\", "\\end\\")
        )
        lines[chosen] = head.encode()
    else:
        parts = re.split(rb"([\t ]+)", lines[at])
        parts[random.randrange(len(parts))] = random.choice(NUMBERS).encode()
        lines[at] = b"".join(parts)
    return b"\n".join(lines)


def changed_plain_text(data: bytes, random: Random) -> bytes:
    """Damage, lines that are very long or hold control characters."""
    if random.random() < 0.5:
        return damaged(data, random)
    lines = data.split(b"\n")
    extra = (b"x" * 100_000, b"\x1b[31m", b"\xff\xfe", b"\r", b"\x85", "\u2028\u202e".encode(), b"\0")
    lines.insert(random.randrange(len(lines) + 1), random.choice(extra))
    return b"\n".join(lines)
