"""n-gram models, published trajectories, lists of texts."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ar_vision.distilled_decoding.pairs.texts import PairTexts, list_of
from dlm_text.diffuspec.arpa import read_arpa
from dlm_text.diffuspec.backoff_model import BackoffModel
from dlm_text.diffuspec.proxy import load_proxy
from dlm_text.jacobi_forcing.trajectories.published import PublishedTrajectories

from ..loader import Loader

__all__ = ["LOADERS"]

VOCAB = 8
ARPA = """\\data\\
ngram 1=6
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.3
-1.0\t<unk>
-0.9\t</s>
-0.5\t1\t-0.2
-0.6\t2\t-0.1
-0.7\t3

\\2-grams:
-0.1\t<s> 1\t-0.4
-0.2\t1 2\t-0.3
-0.3\t2 </s>

\\3-grams:
-0.05\t<s> 1 2

\\end\\
"""


def _arpa(name: str) -> Any:
    def seeds() -> Iterator[Any]:
        data = ARPA.encode()
        yield lambda folder: (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)

    return seeds


def _score(model: Any) -> None:
    history = model.begin([[1, 2], []])[:, None]
    model.score(history, torch.tensor([[1, 2, 7], [3, 0, 5]])).sum()


def _tables() -> Iterator[Any]:
    def write(folder: Path) -> None:
        (folder / "x.arpa").write_text(ARPA)
        read_arpa(folder / "x.arpa", VOCAB, end_id=7).save(folder / "ngram.safetensors")
        (folder / "x.arpa").unlink()

    yield write


def _published() -> Iterator[Any]:
    packed = {
        "data_id": "a",
        "complete_training_sequence_ids": [1, 2, 3, 0, 0, 4, 5, 0, 0, 6, 7],
        "prompt_ids_len": 3,
        "traj_position_indices": [1, 2],
    }
    states = [
        {
            "data_id": "a",
            "diffusion_itr_id": "itr_0",
            "prompt_ids": [[1, 2]],
            "answer_trajectory_ids": [[0, 0], [3, 4]],
        },
        {
            "data_id": "a",
            "diffusion_itr_id": "itr_1",
            "prompt_ids": [[1, 2, 3, 4]],
            "answer_trajectory_ids": [[5, 0], [5, 6]],
        },
    ]
    for records in ([packed, packed], states):
        text = "".join(json.dumps(record) + "\n" for record in records)
        yield lambda folder, text=text: (folder / "a.jsonl").write_text(text)


def _read_published(folder: Path) -> None:
    found = PublishedTrajectories(folder / "a.jsonl")
    for number in range(len(found)):
        found[number].text(frozenset({1}))


def _texts() -> Iterator[Any]:
    yield lambda folder: (folder / "texts.txt").write_text("a cat\n\na dog\nein Größenvergleich\n", encoding="utf-8")


LOADERS = (
    Loader(
        "dlm_text/arpa", _arpa("a.arpa"), lambda folder: _score(load_proxy(str(folder / "a.arpa"), VOCAB, end_id=7))
    ),
    Loader("dlm_text/arpa_gz", _arpa("a.arpa.gz"), lambda folder: _score(read_arpa(folder / "a.arpa.gz", VOCAB))),
    Loader("dlm_text/ngram_tables", _tables, lambda folder: _score(BackoffModel.load(folder / "ngram.safetensors"))),
    Loader("dlm_text/published_trajectories", _published, _read_published),
    Loader("ar_vision/texts", _texts, lambda folder: list_of(PairTexts(file=str(folder / "texts.txt"))), share=0.5),
)
