"""Chunks that data-making recipes leave, and what reads each kind of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ar_core.training import finished_chunks
from ar_core.training.chunks import close_chunks, open_chunks, write_chunk
from ar_core.training.stage import Chunk
from ar_vision.cca.stored import RECORD, StoredLogProbs
from ar_vision.data.codes.layout import pack_captions
from ar_vision.data.codes.store import open_codes
from ar_vision.distilled_decoding.noise import RNG
from ar_vision.distilled_decoding.pairs.store import PairStore
from ar_vision.distilled_decoding.pairs.texts import texts_entry
from ar_vision.evaluation.drawn_images import open_drawn
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.teacher.profile import open_profile, save_profile
from dlm_text.jacobi_forcing.trajectories.store import TrajectoryStore, encode
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory
from torch import Tensor

from ..loader import Loader

__all__ = ["LOADERS", "stage"]


def stage(folder: Path, identity: Mapping[str, Any], chunks: Sequence[Mapping[str, Tensor]]) -> None:
    """Write the folder of a finished stage."""
    open_chunks(folder, identity, "auto")
    for number, tensors in enumerate(chunks):
        write_chunk(folder, number, Chunk(tensors, {"items": 2}))
    close_chunks(folder, len(chunks))


def _any() -> Iterator[Any]:
    yield lambda folder: stage(
        folder, {"recipe": "x", "method": {"a": 1}}, [{"a": torch.zeros(2)}, {"a": torch.ones(2)}]
    )


def _read_any(folder: Path) -> None:
    finished_chunks(folder)
    open_chunks(folder, {"recipe": "x", "method": {"a": 1}}, "auto")
    close_chunks(folder, 2)


def _codes() -> Iterator[Any]:
    identity = {
        "recipe": "image_codes",
        "tokenizer": "0" * 16,
        "schedule": [[1, 1], [2, 2]],
        "bits": None,
        "vocab_size": 24,
    }
    captions = [("a", "b"), ("ü",)]

    def numbers(folder: Path) -> None:
        chunk = {
            "codes": torch.arange(20, dtype=torch.int16).view(2, 2, 5),
            "key": torch.tensor([1, 2]),
            "label": torch.tensor([0, 1]),
        }
        stage(folder, identity, [{**chunk, **pack_captions(captions)}] * 2)

    def bits(folder: Path) -> None:
        chunk = {"codes": torch.arange(8, dtype=torch.uint8).view(2, 1, 4), "key": torch.tensor([1, 2])}
        stage(folder, {**identity, "bits": 6, "vocab_size": None}, [chunk])

    yield numbers
    yield bits


def _read_codes(folder: Path) -> None:
    store = open_codes(folder)
    _ = store.labels, store.keys, dict(store.identity)
    for number in range(len(store)):
        if store.captioned:
            store.captions(number)
        for view in range(store.views(number)):
            store.codes(number, view)


def _published_codes() -> Iterator[Any]:
    def write(folder: Path) -> None:
        for name, array in (("codes", np.arange(10).reshape(1, 2, 5)), ("labels", np.array([3]))):
            (folder / f"imagenet_{name}").mkdir()
            for number in range(3):
                np.save(folder / f"imagenet_{name}" / f"{number}.npy", array)

    yield write


def _pairs() -> Iterator[Any]:
    header = {
        "recipe": "noise_code_pairs",
        "rng": RNG,
        "teacher": "a",
        "tokenizer": "b",
        "schedule": [[1, 1]],
        "conditions": 2,
    }
    chunk = {
        "codes": torch.arange(8, dtype=torch.int16).view(2, 4),
        "label": torch.tensor([0, 1]),
        "seed": torch.tensor([5, 6]),
    }
    yield lambda folder: stage(folder, header, [chunk, chunk])
    yield lambda folder: stage(folder, {**header, **texts_entry(["one", "two"], None)}, [chunk])


def _read_pairs(folder: Path) -> None:
    store = PairStore(folder)
    for number in range(len(store)):
        store.codes(number)
        int(store.labels[number]), int(store.seeds[number])


def _log_probs() -> Iterator[Any]:
    chunk = {"labels": torch.tensor([[0, 1], [1, 0]]), "log_probs": torch.zeros(2, 2)}
    yield lambda folder: stage(folder, {"recipe": "cca_log_probs", RECORD: {"a": {"b": 1}}, "count": 2}, [chunk])


def _read_log_probs(folder: Path) -> None:
    stored = StoredLogProbs(folder)
    stored.require({"a": {"b": 1}}, 2)
    for number in range(len(stored)):
        stored[number]


def _drawn() -> Iterator[Any]:
    identity = {"labels": [0, 1], "count": 4, "generator": {"kind": "var"}, "seed": 0}
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    yield lambda folder: stage(folder, identity, [{"images": images}, {"images": images + 1}])


def _read_drawn(folder: Path) -> None:
    drawn = open_drawn(folder)
    for image in drawn.stream(1):
        image.sum()


BINS = HistogramConfig(bins=4)


def _profile() -> Iterator[Any]:
    identity = {"recipe": "glotok_teacher", "features": {"kind": "x"}, "method": {}, "data": {}}
    centres = torch.eye(4)[:3]

    def file(folder: Path) -> None:
        made(folder)
        profile = open_profile(str(folder / "teacher"), BINS)
        save_profile(profile, folder / "profile.json")

    def made(folder: Path) -> None:
        (folder / "teacher").mkdir()
        stage(folder / "teacher", identity, [{"centres": centres, "sizes": torch.ones(3)}] * 2)

    yield file
    yield made


def _read_profile(folder: Path) -> None:
    path = folder / "profile.json"
    open_profile(str(path if path.exists() else folder / "teacher"), BINS).logarithms.sum()


def _trajectories() -> Iterator[Any]:
    prompt, clean = torch.tensor([1, 2, 3]), torch.tensor([[4, 5], [6, 7]])
    states = (torch.tensor([[0, 0], [4, 5]]), torch.tensor([[6, 0], [6, 7]]))
    chunk = encode([Trajectory(prompt, clean, states)] * 2, 2)
    yield lambda folder: stage(folder, {"recipe": "jacobi_trajectories", "data": {}}, [chunk, chunk])


def _read_trajectories(folder: Path) -> None:
    store = TrajectoryStore(str(folder))
    _ = store.block_size
    for number in range(len(store)):
        store[number].text(frozenset({5}))


LOADERS = (
    Loader("ar_core/stage", _any, _read_any),
    Loader("ar_vision/codes", _codes, _read_codes),
    Loader("ar_vision/published_codes", _published_codes, _read_codes),
    Loader("ar_vision/pairs", _pairs, _read_pairs),
    Loader("ar_vision/log_probs", _log_probs, _read_log_probs),
    Loader("ar_vision/drawn_images", _drawn, _read_drawn),
    Loader("ar_vision/profile", _profile, _read_profile),
    Loader("dlm_text/trajectories", _trajectories, _read_trajectories),
)
