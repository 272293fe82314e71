"""Records as the files give them, and evaluations as the registry builds them."""

import json
from collections.abc import Callable

import pytest
from ar_core.data.records import FileRecords, Record
from ar_core.registry import evaluation, resolve


@pytest.fixture
def build() -> Callable:
    """Build an evaluation from plain mappings."""

    def built(name, rows=(), protocol=None, examples=()):
        record = evaluation(name)
        make = [[Record(f"file, line {n}", row) for n, row in enumerate(some, start=1)] for some in (rows, examples)]
        return resolve(record.build)(make[0], protocol=protocol or record.protocols[0], examples=make[1])

    return built


@pytest.fixture
def staged(data_dir) -> Callable:
    """Rows of a staged file."""

    def rows(name):
        path = data_dir / "text" / name
        return [record.data for record in FileRecords(path)]

    return rows


@pytest.fixture
def solved() -> dict:
    """A solved problem of GSM8K's layout."""
    return json.loads('{"question": "2 and 3?", "answer": "2+3=<<2+3=5>>5\\n#### 5"}')
