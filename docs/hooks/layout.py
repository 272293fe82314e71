"""A page that is a tab by itself has the width of the column that would list its neighbours. For mkdocs."""

from typing import Any

from mkdocs.structure.pages import Page

__all__ = ["on_page_markdown"]


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Hide the empty column."""
    if page.parent is None:
        page.meta.setdefault("hide", ["navigation"])
    return markdown
