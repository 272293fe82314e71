"""What docstrings have of reStructuredText and of mathematics, as Markdown. For mkdocs.

Roles become code, the two colons before a drawing become one, and an inner product gets brackets that Markdown does not take for a tag.
"""

import re
from typing import Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig

__all__ = ["on_config"]

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):`~?([^`]+)`")
DRAWING = re.compile(r"(?<!:)::$")
INNER_PRODUCT = re.compile(r"<(\w[\w ]*, [^<>]*)>")
BEFORE_FENCES = 40


class DocstringText(Preprocessor):
    """Rewrites lines of docstrings, and of pages, which have none of the first two."""

    def run(self, lines: list[str]) -> list[str]:
        """Rewrite each line by itself."""
        return [INNER_PRODUCT.sub(r"⟨\1⟩", DRAWING.sub(":", ROLE.sub(r"`\1`", line))) for line in lines]


class _DocstringText(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        """Register the preprocessor."""
        md.preprocessors.register(DocstringText(md), "docstring_text", BEFORE_FENCES)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let all Markdown be processed."""
    extensions: list[Any] = config.markdown_extensions
    extensions.append(_DocstringText())
    return config
