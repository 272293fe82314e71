"""Block padding and packing against plain lists."""

import numpy as np
import pytest
from ar_core.data import Document, pack, pack_reference, pack_whole, pad_to_blocks

LENGTHS = (1, 5, 7, 8, 16, 3, 33, 2)
PAD = 99


def _documents(lengths=LENGTHS) -> list[Document]:
    first = np.cumsum([0, *lengths])
    return [
        Document.of(list(range(a, a + n)), [bool(i % 3) for i in range(n)]) for a, n in zip(first.tolist(), lengths)
    ]


@pytest.mark.parametrize(("length", "plain", "reference"), [(1, 3, 3), (3, 1, 1), (4, 0, 4), (5, 3, 3), (8, 0, 4)])
def test_block_padding(length: int, plain: int, reference: int) -> None:
    (document,) = _documents((length,))
    for added, parity in ((plain, False), (reference, True)):
        padded = pad_to_blocks(document, 4, PAD, reference=parity)
        assert padded.ids.tolist() == [*range(length), *[PAD] * added]
        assert padded.supervised.tolist() == [*document.supervised.tolist(), *[False] * added]


def test_block_size_one_pads_nothing() -> None:
    (document,) = _documents((7,))
    assert len(pad_to_blocks(document, 1, PAD)) == 7


@pytest.mark.parametrize("seq_len", [1, 2, 7, 8, 16, 75, 100])
def test_packing_loses_no_token(seq_len: int) -> None:
    documents = _documents()
    total = sum(LENGTHS)
    rows = list(pack(documents, seq_len, PAD))
    assert all(len(row.ids) == len(row.supervised) == len(row.document) == seq_len for row in rows)
    assert len(rows) == -(-total // seq_len)
    ids = np.concatenate([row.ids for row in rows])
    assert ids[:total].tolist() == list(range(total))
    assert (ids[total:] == PAD).all()
    flags = np.concatenate([row.supervised for row in rows])
    assert flags[:total].tolist() == [flag for document in documents for flag in document.supervised]
    assert not flags[total:].any()


def test_document_ids_start_at_0_in_every_row_and_padding_is_its_own() -> None:
    rows = list(pack(_documents((3, 2, 6, 1)), 5, PAD))
    assert [row.document.tolist() for row in rows] == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 2, 2, 2]]
    assert rows[2].ids.tolist() == [10, 11, PAD, PAD, PAD]


@pytest.mark.parametrize("seq_len", [8, 16, 33, 40])
def test_whole_packing_cuts_only_what_is_longer_than_a_row(seq_len: int) -> None:
    documents = _documents()
    rows = list(pack_whole(documents, seq_len, PAD))
    kept = [row.ids[row.document == d].tolist() for row in rows for d in range(int(row.document.max()) + 1)]
    kept = [ids for ids in kept if set(ids) != {PAD}]
    expected = []
    for document in documents:
        ids = document.ids.tolist()
        expected += [ids[a : a + seq_len] for a in range(0, len(ids), seq_len)]
    assert kept == expected
    assert all(len(row.ids) == seq_len for row in rows)


def test_whole_packing_fills_a_row_exactly() -> None:
    rows = list(pack_whole(_documents((3, 5, 8, 8, 1)), 8, PAD))
    assert [row.ids.tolist() for row in rows] == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 24)),
        [24, *[PAD] * 7],
    ]


def test_reference_packing_drops_the_tail_of_each_group() -> None:
    rows = list(pack_reference(_documents((3, 4, 2, 5, 6)), 4, group=2))
    # Groups of 7, 7 and 6 tokens: one row of each is kept.
    assert [row.ids.tolist() for row in rows] == [[0, 1, 2, 3], [7, 8, 9, 10], [14, 15, 16, 17]]
    assert [row.document.tolist() for row in rows] == [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_reference_packing_of_less_than_a_row_is_nothing() -> None:
    assert list(pack_reference(_documents((3,)), 4)) == []


def test_blocks_never_straddle_documents() -> None:
    size = 4
    padded = [pad_to_blocks(document, size, PAD) for document in _documents()]
    for rows in (pack(padded, 20, PAD), pack_whole(padded, 20, PAD)):
        for row in rows:
            assert (row.document.reshape(-1, size) == row.document.reshape(-1, size)[:, :1]).all()


def test_no_documents_no_rows() -> None:
    assert list(pack([], 4, PAD)) == []
    assert list(pack_whole([], 4, PAD)) == []
