"""The records of an evaluation: a local file or a data set of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import expand_path
from ..errors import DataError
from ..registry import HubSet

if TYPE_CHECKING:
    from ..data.records import Record

__all__ = ["evaluation_records"]


def evaluation_records(data: str | None, hub: HubSet | None, name: str) -> list[Record]:
    """Read all records of an evaluation, in their order.

    Args:
        data: path of a JSON Lines file (``.gz`` or not), or a hub id whose layout is that of ``hub``.
        hub: where the evaluation's own data are on the hub; None if it has none there.
        name: of the evaluation, for messages.

    Returns:
        ``ar_core.data.records.Record`` each.

    Raises:
        DataError: nothing of that name, a malformed line (with its number), no records, or no data were named.
        MissingPackageError: a hub set without the package ``datasets``.
    """
    from ..data.records import open_records

    if data is None and hub is None:
        raise DataError(f"the evaluation {name!r} has no data set of its own; give a JSON Lines file with --data FILE.")
    if data is None or (hub is not None and data == hub.path):
        assert hub is not None
        records = open_records(hub.path, hub.config, hub.split)
    else:
        records = open_records(str(expand_path(data)), None, hub.split if hub is not None else "test")
    found = list(records)
    if not found:
        raise DataError(f"the data set {data!r} holds no records; give one with a problem a line.")
    return found
