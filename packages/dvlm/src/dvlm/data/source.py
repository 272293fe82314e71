"""Conversations in an order drawn anew for each epoch."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from ar_core.config import expand_path, to_dict
from ar_core.corruption import SampleRng
from ar_core.data import Record, epoch_order, held_out
from ar_core.errors import DataError
from ar_core.pictures import read_picture

from ..chat.conversation import check_images, image_paths, turns_of
from ..chat.encode import ChatEncoder
from ..images.processor import ImageProcessor
from .config import VisionTextDataConfig
from .files import FOLDER, picture_root, read_conversations
from .sample import VisionTextSample
from .shapes import shape_picture, shape_record

__all__ = ["ConversationSource", "DrawnPictures", "PictureFiles", "build_conversation_source"]

POOL = 50
"""Optimiser steps among which samples of one kind are sorted by length."""


@dataclass(frozen=True)
class PictureFiles:
    """Reads the pictures that records of :func:`dvlm.data.files.read_conversations` name.

    Raises:
        DataError: when called, as :func:`ar_core.pictures.read_picture`; names file and record.
    """

    def __call__(self, name: str, record: Record) -> np.ndarray:
        """The picture, uint8 [H, W, 3]."""
        path = picture_root(record) / name
        return read_picture(path, f"{path} ({record.place})")


@dataclass(frozen=True)
class DrawnPictures:
    """Draws the pictures of kind ``shapes``."""

    def __call__(self, name: str, record: Record) -> np.ndarray:
        """The picture, uint8 [H, W, 3]."""
        return shape_picture(int(name))


class ConversationSource:
    """Samples of a run; sample n is found without reading those before it. Pictures are read when their sample is.

    Args:
        records: in the published format.
        picture: reads a picture that a record names, uint8 [H, W, 3]; gets the name and the record.
        encoder: of conversations.
        processor: of pictures.
        config: the data section.
        supervise_template: see :meth:`dvlm.chat.encode.ChatEncoder.conversation`.
        seed: of the orders.
        batch_size: samples of an optimiser step, for batches of one kind.
        facts: what :meth:`describe` tells of the data.

    Raises:
        DataError: there are no records, or too few for a batch.
    """

    def __init__(
        self,
        records: Sequence[Record],
        picture: Callable[[str, Record], np.ndarray],
        encoder: ChatEncoder,
        processor: ImageProcessor,
        config: VisionTextDataConfig,
        *,
        supervise_template: bool,
        seed: int,
        batch_size: int,
        facts: dict[str, Any],
    ) -> None:
        if not records or (config.batches == "by_modality" and len(records) < batch_size):
            raise DataError(
                f"the data hold {len(records)} records, too few to train on: add some, or lower held_out or batch_size"
            )
        self.records, self.picture = records, picture
        self.encoder, self.processor, self.config = encoder, processor, config
        self.supervise_template, self.seed, self.batch_size, self.facts = supervise_template, seed, batch_size, facts
        self._order: tuple[int, Sequence[int]] = (-1, ())

    def __len__(self) -> int:
        """Samples of an epoch."""
        whole = len(self.records)
        return whole - whole % self.batch_size if self.config.batches == "by_modality" else whole

    def open(self, start: int) -> Iterator[VisionTextSample]:
        """Yield samples ``start``, ``start + 1``, ... without end.

        Raises:
            DataError: while reading, names the record: no conversation, a picture that cannot be read, or more or fewer pictures
                than places for them.
        """
        for index in itertools.count(start):
            epoch, place = divmod(index, len(self))
            if self._order[0] != epoch:
                self._order = (epoch, self._epoch(epoch))
            yield self.sample(self.records[self._order[1][place]], index)

    def once(self) -> Iterator[VisionTextSample]:
        """Yield every record once, in the order of the data, for evaluation."""
        for index, record in enumerate(self.records):
            yield self.sample(record, index)

    def sample(self, record: Record, index: int) -> VisionTextSample:
        """Encode a record and read its pictures; raises as :meth:`open` does."""
        paths = image_paths(record.data, record.place)
        turns = turns_of(record.data.get("conversations"), record.place)
        limit, break_after = self.config.images.max_images, self.encoder.config.break_after_image
        turns = check_images(turns, len(paths), record.place, limit=limit, break_after=break_after)
        images = [self.processor(self.picture(path, record), f"{path} ({record.place})") for path in paths]
        encoded = self.encoder.conversation(turns, supervise_template=self.supervise_template)
        return {"index": index, "tokens": encoded.ids, "labels": encoded.labels, "images": images}

    def _epoch(self, epoch: int) -> Sequence[int]:
        order = epoch_order(self.seed, epoch, len(self.records)).tolist()
        if self.config.batches == "mixed":
            return order
        size, batches, rest = self.batch_size, [], []
        for wanted in (True, False):
            kind = [number for number in order if self._pictured(number) == wanted]
            whole = len(kind) - len(kind) % size
            rest += kind[whole:]
            for begin in range(0, whole, POOL * size):
                pool = sorted(kind[begin : min(begin + POOL * size, whole)], key=self._length)
                batches += [pool[a : a + size] for a in range(0, len(pool), size)]
        # Of each kind less than a batch is left: of both together at most one.
        batches += [rest[a : a + size] for a in range(0, len(rest) - len(rest) % size, size)]
        places = torch.randperm(len(batches), generator=SampleRng(self.seed, epoch).row(0, "order of batches"))
        return [number for place in places.tolist() for number in batches[place]]

    def _pictured(self, number: int) -> bool:
        record = self.records[number]
        return bool(image_paths(record.data, record.place))

    def _length(self, number: int) -> int:
        return sum(len(str(turn)) for turn in self.records[number].data.get("conversations") or ())

    def describe(self) -> dict[str, Any]:
        """Settings and fingerprint."""
        return {**self.facts, "records": len(self.records), "seed": self.seed}


def _held_out(record: Record, share: float) -> bool:
    # Where pictures lie is no content: a mix that is moved, or named by another path, keeps its split.
    return held_out({key: value for key, value in record.data.items() if key != FOLDER}, share)


def build_conversation_source(
    config: VisionTextDataConfig,
    encoder: ChatEncoder,
    processor: ImageProcessor,
    *,
    supervise_template: bool,
    seed: int,
    batch_size: int = 1,
    split: Literal["train", "held_out"] = "train",
) -> ConversationSource:
    """Open the data that a config names.

    Raises:
        DataError: a file is missing, is no JSON Lines or JSON list of objects, or holds no record of the split.
        ConfigError: a mix has other keys or strategies.
    """
    picture: DrawnPictures | PictureFiles
    if config.kind == "shapes":
        assert config.count is not None
        found = [Record(f"shape {number}", shape_record(number)) for number in range(config.count)]
        fingerprint, picture = f"shapes/{config.count}", DrawnPictures()
    else:
        assert config.path is not None
        root = None if config.image_root is None else expand_path(config.image_root)
        found, fingerprint = read_conversations(expand_path(config.path), image_root=root, seed=seed)
        picture = PictureFiles()
    records = [
        record
        for record in found[: config.count]
        if not config.held_out or _held_out(record, config.held_out) == (split == "held_out")
    ]
    words = json.dumps(encoder.tokenizer.get_vocab(), sort_keys=True).encode()
    facts = {
        **{name: value for name, value in to_dict(config).items() if name not in ("path", "image_root")},
        "fingerprint": fingerprint,
        "tokenizer": hashlib.sha256(words).hexdigest(),
        "supervise_template": supervise_template,
        "split": split,
    }
    return ConversationSource(
        records,
        picture,
        encoder,
        processor,
        config,
        supervise_template=supervise_template,
        seed=seed,
        batch_size=batch_size,
        facts=facts,
    )
