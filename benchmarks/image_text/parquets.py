"""NLVR and emoji (both CC BY 4.0), from the staged Parquet files."""

from pathlib import Path
from typing import Any

from ar_core.errors import DataError, MissingPackageError

from .records import Item, Question, Sides, apart, split

__all__ = ["KIND", "NAME", "emoji", "nlvr"]

NAME = "What is the name of this emoji?"
KIND = "Which kind of emoji is this?"
HELD_OUT = 0.1


def nlvr(train: Path, test: Path) -> Sides:
    """Statements about a drawing of three boxes, true or false: its own split, but for drawings on both sides."""
    return apart(*([_statement(row) for row in _rows(file, "image", "sentence", "label")] for file in (train, test)))


def emoji(file: Path) -> Sides:
    """Names and kinds; equal pictures stay on one side."""
    return split([_emoji(row) for row in _rows(file, "image", "caption", "category")], HELD_OUT)


def _statement(row: dict[str, Any]) -> Item:
    sentence = row["sentence"].strip().rstrip(".")
    text, answer = f"{sentence}. Is this true?", "yes" if row["label"] else "no"
    return Item(row["image"], conversations=(((text, answer),),), questions=(Question("statement", text, (answer,)),))


def _emoji(row: dict[str, Any]) -> Item:
    pairs = ((KIND, row["category"]), (NAME, row["caption"]))
    questions = (Question("emoji kind", KIND, (row["category"],)), Question("emoji name", NAME, (row["caption"],)))
    return Item(row["image"], conversations=(pairs, pairs[::-1]), questions=questions)


def _rows(file: Path, *columns: str) -> list[dict[str, Any]]:
    """Rows of a file.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPackageError("Parquet files need pyarrow, which is not installed: pip install pyarrow") from error
    try:
        rows: list[dict[str, Any]] = parquet.read_table(file, columns=list(columns)).to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"{file} cannot be read as Parquet ({error}): copy it again") from error
    if not rows or rows[0].keys() != set(columns):
        raise DataError(f"{file} must have the columns {', '.join(columns)}: copy it again")
    return rows
