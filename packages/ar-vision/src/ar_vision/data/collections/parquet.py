"""Pictures in the rows of parquet files (extra ``parquet``)."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from ar_core.config import did_you_mean
from ar_core.errors import DataError, MissingPackageError

from .fingerprint import files_fingerprint
from .pictures import CAPTIONS, Picture, captions_of, number_labels

__all__ = ["ParquetPictures"]

IMAGES = ("image", "img")
GROUPS_KEPT = 4
"""Row groups in memory at a time."""
BATCH = 64
"""Rows that are decoded at a time."""
FREELY, RATIO = 64 << 20, 16
"""Bytes that a row group may expand to, and how many times its file's size beyond them."""
MOST_ROWS = 1 << 20
"""Rows that a file of any size may have."""


class ParquetPictures:
    """A row a picture, in the order of the files' names; row groups are read when one of their rows is wanted.

    A picture is the bytes of a file, or a struct with an entry ``bytes`` as the ``datasets`` library writes it. In a random order
    a whole row group is read for each picture that is not in one of the last few: write large sets in groups of about a
    hundred rows, or let them be cached.

    Args:
        paths: the files, all with the same columns.
        image: column of the pictures; None takes ``image`` or ``img``.
        label: column of the classes; None takes ``label`` if it is there.
        captions: columns of the captions, see :func:`captions_of`.

    Raises:
        DataError: a file is no parquet file, or a column is absent or of another type.
        MissingPackageError: pyarrow is not installed.
    """

    def __init__(self, paths: Sequence[Path], image: str | None, label: str | None, captions: Sequence[str]) -> None:
        self.paths = list(paths)
        self._opened: dict[int, Any] = {}
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._captions = tuple(captions)
        columns = self._names(self.paths[0])
        self._image = image or next((name for name in IMAGES if name in columns), IMAGES[0])
        label = label or ("label" if "label" in columns else None)
        texts = list(captions) or [name for name in CAPTIONS if name in columns][:1]
        self._columns = [self._image, *texts]
        self.captioned = bool(texts)
        for path in self.paths:
            self._require(path, [*self._columns, *([label] if label else [])])
        counts = [
            (file, group, self._file(file).metadata.row_group(group).num_rows)
            for file in range(len(self.paths))
            for group in range(self._file(file).metadata.num_row_groups)
        ]
        self._places = [(file, group) for file, group, _ in counts]
        self._ends = list(accumulate(rows for _, _, rows in counts))
        rows = [self._file(file).metadata.num_rows for file in range(len(self.paths))]
        self._starts = list(accumulate(rows, initial=0))
        if not self._ends or not self._ends[-1]:
            raise DataError(f"{self.paths[0]} holds not a single row: give pictures")
        values = (
            [] if label is None else [value for file in range(len(self.paths)) for value in self._labels(file, label)]
        )
        self.labels, self.classes = number_labels(values, f"{self.paths[0]}, column {label!r}")

    def _labels(self, file: int, column: str) -> list[Any]:
        if (rows := self._file(file).metadata.num_rows) > max(MOST_ROWS, self.paths[file].stat().st_size):
            raise DataError(f"{self.paths[file]} promises {rows} rows, more than it has bytes: fetch it again")
        out: list[Any] = self._read(lambda: self._file(file).read([column])[column].to_pylist())
        return out

    def _require(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow

        columns = self._names(path)
        for name in names:
            if columns.count(name) != 1:
                raise DataError(
                    f"{path} has {columns.count(name) or 'no'} column{'s' * (columns.count(name) > 1)} {name!r}; "
                    f"{did_you_mean(name, columns)}: set data.image_field, label_field or caption_fields"
                )
        kind = self._file(self.paths.index(path)).schema_arrow.field(self._image).type
        struct = pyarrow.types.is_struct(kind) and any(field.name == "bytes" for field in kind)
        if not (struct or pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
            raise DataError(
                f"{path}: the column {self._image!r} has the type {kind} and must hold the bytes of picture files: choose "
                "another with data.image_field"
            )

    def _names(self, path: Path) -> list[str]:
        file = self._file(self.paths.index(path))
        out: list[str] = self._read(lambda: list(file.schema_arrow.names))
        return out

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> Picture:
        """The picture's bytes and captions."""
        group = bisect_right(self._ends, number)
        row = number - (self._ends[group - 1] if group else 0)
        table = self._group(*self._places[group])
        record = self._read(lambda: {name: table[name][row].as_py() for name in self._columns})
        file = self._places[group][0]
        place = f"{self.paths[file]}, row {number - self._starts[file]}"
        image = record.pop(self._image)
        data = image["bytes"] if isinstance(image, dict) else image
        if data is None:
            raise DataError(f"{place}: there is no picture (null): remove the row")
        return Picture(place, data, captions_of(record, self._columns[1:], place) if record else ())

    def _group(self, file: int, group: int) -> Any:
        key = (file, group)
        if key not in self._groups:
            if len(self._groups) == GROUPS_KEPT:
                self._groups.popitem(last=False)
            self._groups[key] = self._read(self._table, file, group)
        self._groups.move_to_end(key)
        return self._groups[key]

    def _table(self, file: int, group: int) -> Any:
        """A row group, read in pieces, of which each is small: runs of one value expand to far more than they take in the file."""
        import pyarrow

        most = max(FREELY, RATIO * self.paths[file].stat().st_size)
        batches, total = [], 0
        for batch in self._file(file).iter_batches(BATCH, row_groups=[group], columns=self._columns):
            total += batch.nbytes
            if total > most:
                raise DataError(
                    f"{self.paths[file]} expands to more than {RATIO} times its size, as no pictures do: write it with fewer rows a group"
                )
            batches.append(batch)
        return pyarrow.Table.from_batches(batches)

    def _read(self, reader: Any, *arguments: Any) -> Any:
        import pyarrow

        try:
            return reader(*arguments)
        except DataError:
            raise
        except (
            OSError,
            pyarrow.ArrowException,
            ArithmeticError,
            LookupError,
            NotImplementedError,
            TypeError,
            ValueError,
        ) as error:
            # Beside Arrow's own: text that is no UTF-8, dates that no calendar has.
            raise DataError(f"{self.paths[0].parent}: a parquet file is damaged ({error}): fetch it again") from error

    def _file(self, number: int) -> Any:
        if number not in self._opened:
            try:
                import pyarrow
                from pyarrow.parquet import ParquetFile
            except ImportError as error:
                raise MissingPackageError(
                    "parquet files are read by the package pyarrow; install it with `pip install 'ar-vision[parquet]'`"
                ) from error
            try:
                self._opened[number] = ParquetFile(self.paths[number])
            except (OSError, pyarrow.ArrowException, ValueError) as error:
                raise DataError(
                    f"{self.paths[number]} is no readable parquet file ({error}): fetch it again"
                ) from error
        return self._opened[number]

    @cached_property
    def fingerprint(self) -> str:
        """Of the files."""
        return files_fingerprint((path.name, path) for path in self.paths)

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay in their process: workers open their own.
        return {**self.__dict__, "_opened": {}, "_groups": OrderedDict()}
