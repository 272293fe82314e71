"""From settings and a tokenizer to a sample source."""

import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import expand_path, to_dict
from ..errors import ConfigError, DataError
from .config import TextDataConfig
from .document import Document
from .encode import encoder
from .packing import Row, pack, pack_reference, pack_whole, pad_to_blocks
from .progress import track
from .records import Records, Split, held_out, read_records
from .rows import stored_rows
from .source import StoredSource, StreamedSource

__all__ = ["build_source"]


def build_source(
    config: TextDataConfig,
    tokenizer: Any,
    *,
    seed: int,
    pad_id: int,
    block_size: int = 1,
    reference_padding: bool = False,
    never_supervised: int | None = None,
    split: Split = "train",
) -> StoredSource | StreamedSource:
    """Build the sample source of a run.

    Args:
        config: what to read and how to pack it.
        tokenizer: a Hugging Face tokenizer.
        seed: of the order of samples; the noise has its own.
        pad_id: id that fills blocks and rows, never supervised.
        block_size: D; documents are padded to multiples of it (1: not at all).
        reference_padding: pad a document that is already aligned with a whole block, see :func:`pad_to_blocks`.
        never_supervised: an id that a model must not learn to say, such as the mask token's.
        split: the records to train on, or those held out from training.

    Raises:
        ConfigError: D does not divide ``seq_len``, or nothing is held out.
        DataError: the data cannot be read, or supervise the id that may not be; raised while streaming where the data are
            streamed.
    """
    if block_size < 1 or config.seq_len % block_size:
        raise ConfigError(
            f"seq_len is {config.seq_len}, which is no multiple of the block size {block_size}; choose one that is"
        )
    if split == "held_out" and config.kind != "task" and not config.held_out:
        raise ConfigError(
            "nothing is held out; set held_out to the share of records to keep from training, such as 0.02"
        )
    records = read_records(config, split)
    making: dict[str, Any] = {
        "settings": {key: value for key, value in to_dict(config).items() if key not in ("cache_dir", "path")},
        "split": split,
        "pad_id": pad_id,
        "block_size": block_size,
        "reference_padding": reference_padding,
    }
    make = partial(_rows, config, tokenizer, records, split, pad_id, block_size, reference_padding, never_supervised)
    if config.streaming:
        # Hashing a whole file would read it through once before the first step.
        identity = config.path if config.path else records.fingerprint
        facts = {**making, "data": identity, "tokenizer": _tokenizer_hash(tokenizer)}
        return StreamedSource(partial(make, {}), config.shuffle_buffer, seed, facts)
    making |= {"data": records.fingerprint, "tokenizer": _tokenizer_hash(tokenizer)}
    key = json.dumps({**making, "version": __version__}, sort_keys=True)
    fingerprint = hashlib.sha256(key.encode()).hexdigest()[:32]
    store = stored_rows(_cache_dir(config), fingerprint, config.seq_len, make)
    return StoredSource(store, seed, {**making, "fingerprint": fingerprint})


def _rows(
    config: TextDataConfig,
    tokenizer: Any,
    records: Records,
    split: Split,
    pad_id: int,
    block_size: int,
    reference_padding: bool,
    never_supervised: int | None,
    counts: dict[str, int],
) -> Iterator[Row]:
    encode = encoder(config, tokenizer)

    def documents() -> Iterator[Document]:
        counts.update(documents=0, tokens=0, longer_than_a_row=0)
        chosen = records if config.streaming else track(records, f"tokenising {split}", records.total)
        for record in islice(chosen, config.count):
            if config.held_out and held_out(record.data, config.held_out) != (split == "held_out"):
                continue
            document = encode(record)
            if never_supervised is not None and (document.ids[document.supervised] == never_supervised).any():
                raise DataError(
                    f"{record.place}: the text to learn has the token {tokenizer.decode([never_supervised])!r}, which must "
                    "never be generated; take it out"
                )
            counts["documents"] += 1
            counts["tokens"] += len(document)
            counts["longer_than_a_row"] += len(document) > config.seq_len
            yield pad_to_blocks(document, block_size, pad_id, reference=reference_padding)

    if config.packing == "reference":
        return pack_reference(documents(), config.seq_len)
    return (pack_whole if config.packing == "whole" else pack)(documents(), config.seq_len, pad_id)


def _tokenizer_hash(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    parts = [vocabulary, repr(getattr(tokenizer, "chat_template", None)), repr(tokenizer.special_tokens_map)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _cache_dir(config: TextDataConfig) -> Path:
    if config.cache_dir is not None:
        return expand_path(config.cache_dir)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ar-core" / "rows"
