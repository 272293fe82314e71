"""Docstrings as Markdown: roles of reStructuredText become code, and the two colons before a drawing become one."""

import re
from typing import Any

import griffe

__all__ = ["MarkdownDocstrings"]

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):`~?([^`]+)`")
DRAWING = re.compile(r"::$", re.MULTILINE)


class MarkdownDocstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = DRAWING.sub(":", ROLE.sub(r"`\1`", obj.docstring.value))
