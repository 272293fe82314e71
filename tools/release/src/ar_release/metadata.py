"""What an index is told about a package: whether it is valid, complete, and shown as it is meant."""

import re

from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet
from readme_renderer import markdown

from .build import Built, wheel_files
from .errors import ReleaseError
from .package import Package

__all__ = ["PYTHONS", "check_metadata"]

PYTHONS = ("3.11", "3.12", "3.13")
"""Versions of Python that every package says it runs on, and that CI runs."""
LICENCE = "Apache-2.0"
RELATIVE_LINK = re.compile(r"\]\((?!https?://|#|mailto:)[^)]+\)")


def check_metadata(package: Package, built: Built) -> str:
    """Hold the wheel's metadata against the standard and against what every package here tells; returns what is noteworthy."""
    shipped = wheel_files(built.wheel)
    raw = next(content for name, content in shipped.items() if name.endswith(".dist-info/METADATA"))
    try:
        metadata = Metadata.from_email(raw, validate=True)
    except ExceptionGroup as error:
        raise ReleaseError(f"the metadata of {package.name} are not valid: {error.exceptions[0]}") from error
    if metadata.license_expression != LICENCE:
        raise ReleaseError(
            f"{package.name} has the licence {metadata.license_expression}; give it license = {LICENCE!r}"
        )
    if metadata.requires_python != SpecifierSet(f">={PYTHONS[0]}"):
        raise ReleaseError(f"{package.name} has requires-python {metadata.requires_python}; give it '>={PYTHONS[0]}'")
    wanted = {f"Programming Language :: Python :: {version}" for version in PYTHONS}
    wanted |= {"Programming Language :: Python :: 3 :: Only", "Typing :: Typed"}
    if missing := sorted(wanted - set(metadata.classifiers or ())):
        raise ReleaseError(f"{package.name} lacks the classifier {missing[0]!r}; add it to its pyproject.toml")
    urls = metadata.project_urls or {}
    if wrong := [url for url in urls.values() if not url.startswith("https://")]:
        raise ReleaseError(f"{package.name} gives the URL {wrong[0]!r}; project URLs begin with https://")
    markdown_type = (metadata.description_content_type or "").partition(";")[0] == "text/markdown"
    if not markdown_type or not markdown.render(metadata.description or ""):
        raise ReleaseError(
            f"an index would not show the README of {package.name}; give it readme = 'README.md' with a text"
        )
    noteworthy = [] if urls else ["no project URLs"]
    if dead := len(RELATIVE_LINK.findall(metadata.description or "")):
        noteworthy.append(f"{dead} links of the README lead into the repository")
    return "; ".join(noteworthy)
