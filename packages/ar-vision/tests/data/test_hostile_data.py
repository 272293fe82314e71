"""Collections, stored codes and archives that are damaged or malicious."""

import io
import json
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ar_core.errors import DataError
from ar_core.training.chunks import close_chunks, open_chunks, write_chunk
from ar_core.training.stage import Chunk
from ar_vision.cca.stored import StoredLogProbs
from ar_vision.data.codes.layout import pack_captions
from ar_vision.data.codes.store import CodeStore, open_codes
from ar_vision.data.collections import open_pictures
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.decoded import DecodedPictures
from ar_vision.distilled_decoding.noise import RNG
from ar_vision.distilled_decoding.pairs.store import PairStore
from ar_vision.evaluation.drawn_images import open_drawn
from ar_vision.evaluation.npz_images import open_npz
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.teacher.profile import open_profile
from PIL import Image


def stage(directory, identity, *chunks):
    open_chunks(directory, identity, "auto")
    for number, tensors in enumerate(chunks):
        write_chunk(directory, number, Chunk(tensors))
    close_chunks(directory, len(chunks))
    return directory


CODES = {"recipe": "image_codes", "schedule": [[1, 1], [2, 2]], "bits": None}
CHUNK = {"codes": torch.zeros(2, 1, 5, dtype=torch.int16), "key": torch.arange(2)}


@pytest.mark.parametrize(
    ("identity", "chunk"),
    [
        (CODES | {"schedule": None}, CHUNK),
        (CODES | {"schedule": []}, CHUNK),
        (CODES | {"schedule": [[1, -1]]}, CHUNK),
        (CODES | {"schedule": [[2**62, 2**62]]}, CHUNK),
        (CODES | {"bits": "6"}, CHUNK),
        (CODES, {"key": torch.arange(2)}),
        (CODES, CHUNK | {"codes": torch.zeros(2, 1, 4, dtype=torch.int16)}),
        (CODES, CHUNK | {"codes": torch.zeros(2, 1, 5)}),
        (CODES, CHUNK | {"label": torch.arange(3)}),
        (CODES, CHUNK | {"caption_counts": torch.ones(2, dtype=torch.int64)}),
        (CODES, CHUNK | pack_captions([("a",), ("b",)]) | {"caption_lengths": torch.tensor([9, 9])}),
        (CODES, CHUNK | pack_captions([("a",), ("b",)]) | {"caption_counts": torch.tensor([-1, 3])}),
        (
            CODES,
            CHUNK | pack_captions([("a",), ("b",)]) | {"caption_bytes": torch.tensor([255, 255], dtype=torch.uint8)},
        ),
    ],
)
def test_codes_that_do_not_agree_with_their_record(tmp_path, identity, chunk):
    assert CodeStore(stage(tmp_path / "good", CODES, CHUNK | pack_captions([("ü",), ()]))).captions(0) == ("ü",)
    with pytest.raises(DataError, match=r"make (it again|them anew)"):
        CodeStore(stage(tmp_path / "bad", identity, chunk))


def test_published_codes_that_promise_what_is_not_there(tmp_path):
    (tmp_path / "a_codes").mkdir()
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1, 1099511627776)}\n"
    (tmp_path / "a_codes" / "0.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match=r"0\.npy cannot be read as a plain array .*promises 8796093022208 bytes"):
        open_codes(tmp_path).codes(0, 0)


def test_pairs_and_log_probabilities_of_another_form(tmp_path):
    header = {"recipe": "noise_code_pairs", "rng": RNG}
    chunk = {
        "codes": torch.zeros(2, 3, dtype=torch.int16),
        "label": torch.zeros(2, dtype=torch.int64),
        "seed": torch.arange(2),
    }
    assert len(PairStore(stage(tmp_path / "good", header, chunk))) == 2
    for number, (told, held) in enumerate(
        (
            ({"recipe": "noise_code_pairs"}, chunk),
            (header | {"texts": 3}, chunk),
            (header | {"texts": ["a"]}, chunk),
            (header, chunk | {"seed": torch.arange(3)}),
            (header, {"codes": chunk["codes"]}),
        )
    ):
        with pytest.raises(DataError):
            PairStore(stage(tmp_path / str(number), told, held))
    for number, labels in enumerate(
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 2), torch.zeros(1, 2, dtype=torch.int64))
    ):
        with pytest.raises(DataError, match="chunk-000000"):
            StoredLogProbs(
                stage(tmp_path / f"l{number}", {"pairs": {}}, {"labels": labels, "log_probs": torch.zeros(2, 2)})
            )


def test_drawn_images_are_as_many_as_their_record_says(tmp_path):
    identity = {"labels": [0, 1], "count": 2, "generator": {}}
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert open_drawn(stage(tmp_path / "good", identity, {"images": images})).count == 2
    for number, (told, held) in enumerate(
        (
            (identity | {"count": 10**15}, images),
            (identity | {"labels": []}, images),
            (identity | {"labels": ["a"]}, images),
            (identity | {"generator": None}, images),
            (identity, images.float()),
            (identity, images[0]),
        )
    ):
        with pytest.raises(DataError, match="draw them anew"):
            open_drawn(stage(tmp_path / str(number), told, {"images": held}))


def test_a_profile_of_numbers_that_are_none(tmp_path):
    bins = {"bins": 2, "sharpness": 1.0, "include_self": True}
    for numbers in ([10**400, 0], [float("nan"), 0.0], "ab", None, [[], []]):
        (tmp_path / "a.json").write_text(json.dumps({"log_profile": numbers, "histogram": bins, "source": {}}))
        with pytest.raises(DataError, match=r"a\.json"):
            open_profile(str(tmp_path / "a.json"), HistogramConfig(bins=2, sharpness=1.0))


@pytest.mark.parametrize(
    ("sizes", "keys", "captions"),
    [
        (np.array([[2, 2]]), np.array([1]), [["a"], ["b"]]),
        (np.array([[2, 2]]), np.array([1]), [3]),
        (np.array([[2, 2]]), np.array([1, 2]), []),
        (np.array([2, 2]), np.array([1]), []),
        (np.zeros((0, 2), np.int64), np.zeros(0, np.int64), []),
        (np.array([[2**62, 4]]), np.array([1]), []),
        (np.array([[-2, -2]]), np.array([1]), []),
        (np.array([[2.0, 2.0]]), np.array([1]), []),
    ],
)
def test_decoded_pictures_whose_files_do_not_agree(tmp_path, sizes, keys, captions):
    np.save(tmp_path / "sizes.npy", sizes)
    np.save(tmp_path / "keys.npy", keys)
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "pixels.bin").write_bytes(bytes(12))
    pictures = SimpleNamespace(fingerprint="f", classes=None, captioned=False, labels=None)
    with pytest.raises(DataError, match="are damaged"):
        DecodedPictures(tmp_path, pictures, "x")


def bomb(path, name, count):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 1, 1, 3)}}\n".encode()
        archive.writestr(name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(3 * count))
    return path


def test_archives_do_not_expand_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("ar_vision.data.collections.npz.FREELY", 10_000)
    with pytest.raises(DataError, match=r"would expand to \d+, as no pictures do"):
        open_pictures(ImageDataConfig(path=str(bomb(tmp_path / "a.npz", "images.npy", 100_000)), size=1))
    monkeypatch.setattr("ar_vision.evaluation.npz_images.LARGEST", 10_000)
    with zipfile.ZipFile(bomb(tmp_path / "b.npz", "arr_0.npy", 2), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", bytes(20_000))
    with pytest.raises(DataError, match=r"'labels\.npy' is no plain NumPy array"):
        open_npz(tmp_path / "b.npz")


def shard(path, **members):
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_shards_with_members_that_lie(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "png")
    good = {"a_png": file.getvalue()}
    config = ImageDataConfig(path=str(tmp_path / "a.tar"), size=2)
    for members, reason in (
        (good | {"a_json": b"[" * 9999}, "no valid JSON"),
        (good | {"a_cls": b"9" * 30}, "does not fit into 64 bits"),
    ):
        shard(tmp_path / "a.tar", **members)
        with pytest.raises(DataError, match=reason):
            open_pictures(config)
    for size in (b"\x80" + b"\0" * 3 + b"\xff" * 8, b"\xff" * 12):
        data = bytearray(shard(tmp_path / "a.tar", **good).read_bytes())
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(DataError, match=r"damaged|truncated"):
            open_pictures(config)[0]


def test_tables_that_expand_or_are_no_text(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"image": [b"x" * 1000] * 5000}), path)
    config = ImageDataConfig(path=str(path), size=2)
    assert open_pictures(config)[4999].data == b"x" * 1000
    monkeypatch.setattr("ar_vision.data.collections.parquet.FREELY", 100_000)
    with pytest.raises(DataError, match="expands to more than 16 times its size"):
        _ = open_pictures(config)[0]
    text = pyarrow.array([b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"image": [b"x"], "text": text}), path)
    with pytest.raises(DataError, match="damaged"):
        _ = open_pictures(config)[0]
    monkeypatch.setattr("ar_vision.data.collections.parquet.MOST_ROWS", 10)
    parquet.write_table(
        pyarrow.table(
            {"image": [None] * 5000, "label": [0] * 5000},
            schema=pyarrow.schema([("image", pyarrow.binary()), ("label", pyarrow.int64())]),
        ),
        path,
    )
    with pytest.raises(DataError, match="promises 5000 rows, more than it has bytes"):
        open_pictures(config)
