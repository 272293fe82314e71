"""No run of ten or more equal lines of code stands in two places: what is the same has one home."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = 10


def code_lines(source: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that count: no imports, docstrings, comments, lists of public names, nor punctuation alone."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if listing or text or isinstance(node, ast.Import | ast.ImportFrom):
            skipped.update(range(node.lineno, node.end_lineno + 1))
    for number, line in enumerate(source.splitlines(), 1):
        folded = " ".join(line.split())
        if number not in skipped and not folded.startswith("#") and re.search(r"\w", folded):
            yield number, folded


def repeated(sources: dict[str, str]) -> list[str]:
    """Pairs of places at which a run begins that stands at both."""
    places: dict[tuple[str, ...], list[tuple[str, int, int]]] = defaultdict(list)
    for name, source in sources.items():
        lines = list(code_lines(source))
        for start in range(len(lines) - RUN + 1):
            places[tuple(text for _, text in lines[start : start + RUN])].append((name, lines[start][0], start))
    found = []
    for first, *others in places.values():
        # A list of equal entries overlaps with itself.
        apart = [other for other in others if other[0] != first[0] or other[2] - first[2] >= RUN]
        found += [f"{first[0]}:{first[1]} and {other[0]}:{other[1]}" for other in apart]
    return found


def test_no_ten_lines_stand_twice():
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True).split()
    assert len(listed) > 1000
    assert not repeated({name: (ROOT / name).read_text() for name in listed})


BODY = [f"x{number} = f({number})" for number in range(RUN)]


@pytest.mark.parametrize(
    ("other", "is_repeated"),
    [
        (BODY, True),
        (["if y:", *[f"    {line}  # why" if n == 0 else f"    {line}" for n, line in enumerate(BODY)]], False),
        (["def f():", '    """F."""', *[f"    {line}" for line in BODY]], True),
        ([*BODY[:5], "", "# why", *BODY[5:]], True),
        (BODY[1:], False),
        ([*BODY[:5], "y = 0", *BODY[5:]], False),
    ],
)
def test_runs_are_found_whatever_is_between_lines_of_code(other, is_repeated):
    assert bool(repeated({"a.py": "\n".join(BODY), "b.py": "\n".join(other)})) is is_repeated


def test_imports_docstrings_and_lists_of_names_do_not_count():
    names = [f"name{number}" for number in range(RUN)]
    source = "\n".join(
        [
            '"""',
            *names,
            '"""',
            *(f"import {name}" for name in names),
            "__all__ = [",
            *(f"    '{name}'," for name in names),
            "]",
        ]
    )
    assert not repeated({"a.py": source, "b.py": source})


def test_a_run_may_stand_twice_in_one_file():
    assert repeated({"a.py": "\n".join([*BODY, "y = 0", *BODY])})
    assert not repeated({"a.py": "\n".join(["x = 0"] * (RUN + 3))})
