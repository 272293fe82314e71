"""The site builds without a warning, its links lead somewhere, it holds every page and every module, and it loads nothing from elsewhere."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted(ROOT.glob("*/src")), *sorted(ROOT.glob("*/*/src"))]
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
KNOWN = {
    "a", "article", "aside", "b", "blockquote", "body", "br", "button", "code", "col", "colgroup", "dd", "del", "details", "dialog", "div",
    "dl", "dt", "em", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "i",
    "img", "input", "label", "li", "link", "main", "meta", "nav", "noscript", "ol", "p", "path", "pre", "script", "section", "small",
    "source", "span", "strong", "style", "sub", "summary", "sup", "svg", "table", "tbody", "td", "th", "thead", "time", "title", "tr",
    "ul",
}  # fmt: skip
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Html:
    """What the tests look at in one file.

    Attributes:
        ids: of all elements.
        links: addresses of links and of what is loaded, with the tag.
        listed: paragraphs that hold a line like that of a list.
        unknown: tags that no page has, such as an inner product in a text.
    """

    ids: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Fills an `Html`."""

    def __init__(self) -> None:
        super().__init__()
        self.read = Html()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in KNOWN:
            self.read.unknown.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.read.ids.add(given["id"])
        for name in ("href", "src"):
            loads = (tag, name) in LOADED and given.get("rel", "") not in ("next", "prev", "canonical")
            if name in given and (loads or tag == "a"):
                self.read.links.append((tag, given[name]))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["p"] and (found := re.search(r"^(?:[-*] |\d+\. ).*", data, re.MULTILINE)):
            self.read.listed.append(found[0])


def read(text: str) -> Html:
    reader = Reader()
    reader.feed(text)
    return reader.read


def faults(folder: Path) -> list[str]:
    """Links of a built site that lead nowhere, what it loads from other hosts, and lists that Markdown took for text."""
    pages = {path: read(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        found += [f"{name}: a list is text: {line}" for line in page.listed]
        found += [f"{name}: <{tag}> is no tag" for tag in page.unknown]
        for tag, address in page.links:
            link = urlsplit(address)
            if link.scheme == "data":
                continue
            if link.scheme or link.netloc:
                found += [] if tag == "a" else [f"{name} loads {address}"]
                continue
            target = path
            if link.path:
                start = folder if link.path.startswith("/") else path.parent
                target = (start / unquote(link.path).lstrip("/")).resolve()
                target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name}: {address} leads nowhere")
            elif link.fragment and target in pages and unquote(link.fragment) not in pages[target].ids:
                found.append(f"{name}: {address} has no such anchor")
    for path in sorted(folder.rglob("*.css")):
        found += [
            f"{path.name} loads {url}" for url in re.findall(r"url\(['\"]?((?:https?:)?//[^)]*)", path.read_text())
        ]
    return found


def test_faults_are_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "style.css").write_text("@import url('https://fonts.example/a.css'); p { background: url(a.png) }")
    (tmp_path / "index.html").write_text(
        '<a href="b/#here">1</a><a href="b/#gone">2</a><a href="c/">3</a><a href="https://example.org">4</a>'
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="style.css">'
        "<p>Fruits:\n- apples</p><ul><li><p>a - b <noise, c></p></li></ul>"
    )
    assert faults(tmp_path) == [
        "index.html: a list is text: - apples",
        "index.html: <noise,> is no tag",
        "index.html: b/#gone has no such anchor",
        "index.html: c/ leads nowhere",
        "index.html loads https://cdn.example/x.js",
        "style.css loads https://fonts.example/a.css'",
    ]


@pytest.mark.timeout(300)
def test_site(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert not faults(tmp_path)

    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    homes = [page.parent if page.name == "index" else page for page in pages]
    assert not [page for page in homes if not (tmp_path / page / "index.html").is_file()]
    # The site's map is of what can be reached, whatever a navigation folds away.
    reference = set().union(*(read(path.read_text()).ids for path in (tmp_path / "reference").rglob("*.html")))
    names = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for source in SOURCES
        for path in source.rglob("*.py")
    }
    assert not sorted(name for name in names if not re.search(r"(^|\.)_", name) and name not in reference)


def messages() -> set[str]:
    """Texts in the code of the packages, with `…` for what is put into them."""
    found = set()
    for source in SOURCES:
        for path in source.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "Error(" in text or path.name == "tune.py" else ():
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                    found.add("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def test_sentences_on_the_page_of_troubles_are_those_that_are_printed():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^> (.*)$", page, re.MULTILINE)
    printed = messages()
    assert len(quoted) > 20
    assert not [sentence for sentence in quoted if sentence not in printed]
