"""Links of pages to files outside of `docs/`, which work in the repository's file view, made to work on the site. For mkdocs.

A link to Python code leads to its place in the reference. A picture or a file of `benchmarks/results/` is put on the site. Any other file
is there in a checkout alone: of the link, the text stays, with the path beside it.
"""

import posixpath
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from modules import ROOT, anchor_of

__all__ = ["on_config", "on_files", "on_page_markdown"]

RESULTS = "benchmarks/results"
BEFORE_MKDOCS = 5
"""Priority: mkdocs checks links with priority 0."""


class OutsideLinks(Treeprocessor):
    """Rewrites links and pictures of the present page."""

    page = ""

    def run(self, root: ElementTree.Element) -> None:
        """Go through all links of a page."""
        for parent in list(root.iter()):
            for element in list(parent):
                name = {"a": "href", "img": "src"}.get(element.tag)
                if name is not None and element.get(name):
                    self._mend(element, name)

    def _mend(self, element: ElementTree.Element, name: str) -> None:
        link = urlsplit(element.get(name, ""))
        if link.scheme or link.netloc or not link.path.startswith("../"):
            return
        target = (ROOT / "docs" / OutsideLinks.page).parent.joinpath(link.path).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return
        place = target.relative_to(ROOT).as_posix()
        if place.startswith(f"{RESULTS}/"):
            element.set(name, _from(OutsideLinks.page, place))
        elif (anchor := anchor_of(target)) is not None:
            element.set(name, _from(OutsideLinks.page, anchor))
        else:
            self._as_text(element, place)

    @staticmethod
    def _as_text(element: ElementTree.Element, place: str) -> None:
        del element.attrib["href"]
        element.tag = "span"
        path = ElementTree.Element("code")
        path.text, path.tail = place, ")"
        last = element[-1] if len(element) else None
        if last is None:
            element.text = f"{element.text or ''} ("
        else:
            last.tail = f"{last.tail or ''} ("
        element.append(path)


class _OutsideLinks(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        """Register the processor."""
        md.treeprocessors.register(OutsideLinks(md), "outside_links", BEFORE_MKDOCS)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let each page be processed."""
    extensions: list[Any] = config.markdown_extensions
    extensions.append(_OutsideLinks())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pictures of results on the site."""
    for path in sorted((ROOT / RESULTS).glob("*.svg")):
        files.append(File.generated(config, f"{RESULTS}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Remember which page is rendered."""
    OutsideLinks.page = page.file.src_uri
    return markdown


def _from(page: str, target: str) -> str:
    path, hash_, anchor = target.partition("#")
    return posixpath.relpath(path, posixpath.dirname(page)) + hash_ + anchor
