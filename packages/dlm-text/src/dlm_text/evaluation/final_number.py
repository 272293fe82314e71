"""The number that an answer ends in."""

import re
from decimal import Decimal, InvalidOperation

__all__ = ["boxed_number", "last_number", "marked_number"]

_THIN_SPACE = re.compile(r"\\[!,]|\{,\}|(?<=\d)\\[ ;:](?=\d{3})")
"""What LaTeX puts between thousands: 70\\,000, 70{,}000 and their like."""
_NUMBER = r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+"


def marked_number(text: str) -> Decimal | None:
    """The number behind the first ``####``, GSM8K's own mark; what a model goes on to write is not looked at."""
    _, mark, rest = text.partition("####")
    found = re.match(rf"\s*({_NUMBER})", rest) if mark else None
    return _value(found[1]) if found else None


def boxed_number(text: str) -> Decimal | None:
    r"""The last number inside the last ``\boxed{...}``, braces matched."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len(r"\boxed{")
    for end in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return last_number(_THIN_SPACE.sub("", text[begin:end]).replace(r"\$", "$"))
    return None


def last_number(text: str) -> Decimal | None:
    """The last number of a text; ``$`` and separators of thousands are dropped."""
    found = re.findall(_NUMBER, text)
    return _value(found[-1]) if found else None


def _value(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", "").replace("$", ""))
    except InvalidOperation:
        return None
