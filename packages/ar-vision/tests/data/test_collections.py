"""Containers give the same pictures, classes and captions, and say what is wrong with them."""

import gzip
import json
import pickle
import sys

import numpy as np
import pytest
from ar_core.errors import ArError, ConfigError, DataError
from ar_core.pictures import WHITE
from ar_vision.data.collections import detect_kind, open_pictures
from ar_vision.data.config import ImageDataConfig

KINDS = ("folder", "npz", "jsonl", "webdataset", "parquet")
CAPTIONED = ("jsonl", "webdataset", "parquet")


def opened(path, **settings):
    return open_pictures(ImageDataConfig(path=str(path), size=10, **settings))


def refused(path, match: str, **settings):
    with pytest.raises(ArError, match=match) as caught:
        opened(path, **settings)
    assert "\n" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_all_containers_give_the_same_pictures(kind, containers, pixels, labels, captions):
    assert detect_kind(containers[kind]) == kind
    for settings in ({}, {"kind": kind}):
        found = opened(containers[kind], **settings)
        assert len(found) == 7
        for number in (6, 0, 3, 5, 1, 2, 4):
            assert np.array_equal(found[number].pixels(WHITE), pixels[number])
        assert found.labels.dtype == np.int64
        assert found.labels.tolist() == labels
        assert found.captioned == (kind in CAPTIONED)
        if found.captioned:
            assert [list(found[number].captions) for number in range(7)] == captions


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_process_reads_on(kind, containers, pixels):
    found = opened(containers[kind])
    assert np.array_equal(found[2].pixels(WHITE), pixels[2])
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again[4].pixels(WHITE), pixels[4])
    assert np.array_equal(found[4].pixels(WHITE), pixels[4])


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_follows_the_content_not_the_place(kind, containers, tmp_path):
    before = opened(containers[kind]).fingerprint
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    tops = {path.relative_to(tmp_path).parts[0] for path in containers.values()}
    for name in tops:
        (tmp_path / name).rename(moved / name)
    path = moved / containers[kind].relative_to(tmp_path)
    assert opened(path).fingerprint == before
    file = next(entry for entry in sorted(path.rglob("*")) if entry.is_file()) if path.is_dir() else path
    if kind in ("folder", "jsonl"):
        file = moved / "folder" / "bee" / "3.png"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    if kind in ("folder", "jsonl"):
        assert opened(path).fingerprint != before
    else:
        from ar_vision.data.collections.fingerprint import files_fingerprint

        assert files_fingerprint([(file.name, file)]) != before


def test_folder_classes_are_numbered_in_sorted_order_and_files_may_lie_deep(tmp_path, pixels, png):
    for name in ("zebra/x/2.png", "zebra/1.PNG", "ape/3.png", "ape/.hidden.png", ".cache/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(pixels[0]))
    found = opened(tmp_path)
    assert found.classes == ("ape", "zebra")
    assert found.labels.tolist() == [0, 1, 1]
    assert [found[number].place.rpartition("/")[2] for number in range(3)] == ["3.png", "1.PNG", "2.png"]


def test_a_flat_folder_has_no_classes(tmp_path, pixels, png):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(pixels[number]))
    found = opened(tmp_path)
    assert (found.labels, found.classes, len(found)) == (None, None, 3)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.png").write_bytes(png(pixels[0]))
    refused(tmp_path, "holds both pictures .* and folders of pictures")


def test_greyscale_arrays_become_rgb(tmp_path, pixels):
    np.savez(tmp_path / "a.npz", train_images=pixels[..., 0], train_labels=np.arange(7))
    found = opened(tmp_path / "a.npz", image_field="train_images", label_field="train_labels")
    assert np.array_equal(found[3].pixels(WHITE), np.stack([pixels[3, ..., 0]] * 3, -1))
    assert found.labels.tolist() == list(range(7))
    refused(tmp_path / "a.npz", "has no array 'images'; did you mean 'train_images'")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, r"float32 \[2, 4, 4, 3\] and must be uint8"),
        ({"images": np.zeros((2, 3, 4, 4), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)}, "must be 2 integers"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(2)}, "must be 2 integers"),
        ({"images": np.array([{}, {}])}, "no readable archive of plain NumPy arrays"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", match)


def test_files_that_are_something_else_are_refused(tmp_path):
    for name, match in (
        ("a.npz", "no readable archive"),
        ("a.tar", "no uncompressed tar file"),
        ("a.parquet", "no readable parquet file"),
        ("a.jsonl", "line 1: this is not valid JSON"),
        ("a.bin", "is of no known kind"),
    ):
        (tmp_path / name).write_bytes(b"something else, but long enough to be anything" * 20)
        refused(tmp_path / name, match)
    refused(tmp_path / "none", "does not exist")
    refused(tmp_path / "none.tar", "is no file of the kind webdataset")
    refused(tmp_path / "*.tgz", "is compressed, .* unpack it")
    refused(tmp_path / "a.tar.gz", "is compressed, .* unpack it")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "hold no file whose name ends like a picture's")
    refused(tmp_path / "a.tar", "is no folder", kind="folder")


def test_jsonl_names_the_line_that_is_wrong(tmp_path, pixels, png):
    (tmp_path / "a.png").write_bytes(png(pixels[0]))
    path = tmp_path / "a.jsonl"
    good = {"image_path": "a.png", "label": "cat", "text": "x"}
    for bad, match in (
        ({"label": "dog"}, "line 2: 'image_path' is None and must name a picture file"),
        ({"image_path": "a.png"}, "line 2: there is no 'label', which other records have"),
        ({"image_path": "a.png", "label": 3}, "labels are of the types int, str"),
        ({"image_path": "a.png", "label": "dog", "text": 7}, "line 2: the caption 'text' is 7"),
    ):
        path.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
        refused(path, match)
    path.write_text("\n")
    refused(path, "not a single record")
    path.write_text(json.dumps({"file": "none.png"}))
    with pytest.raises(DataError, match=r"none.png cannot be read \(No such file.*put it there"):
        _ = opened(path).fingerprint
    with pytest.raises(DataError, match=r"none.png \(.*a.jsonl, line 1\) cannot be read"):
        opened(path)[0].pixels(WHITE)


def test_jsonl_joins_the_captions_of_several_fields_and_numbers_texts(tmp_path, pixels, png):
    (tmp_path / "a.png").write_bytes(png(pixels[0]))
    record = {"image_path": "a.png", "long_caption": "long", "text": "short"}
    lines = [json.dumps({**record, "kind": kind}) for kind in ("dog", "ant", "dog")]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    found = opened(tmp_path / "a.jsonl.gz", label_field="kind", caption_fields=("long_caption", "text"))
    assert found[1].captions == ("long", "short")
    assert (found.labels.tolist(), found.classes) == ([1, 0, 1], ("ant", "dog"))


def test_parquet_takes_the_struct_of_the_datasets_library(tmp_path, pixels, png):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"bytes": png(picture), "path": None} for picture in pixels]
    parquet.write_table(
        pyarrow.table({"img": rows, "fine_label": ["b", "a", "b", "c", "a", "a", "b"]}), tmp_path / "a.parquet"
    )
    found = opened(tmp_path / "a.parquet", label_field="fine_label")
    assert np.array_equal(found[5].pixels(WHITE), pixels[5])
    assert found.labels.tolist() == [1, 0, 1, 2, 0, 0, 1]
    refused(tmp_path / "a.parquet", "has no column 'fine_labels'; did you mean 'fine_label'", label_field="fine_labels")
    refused(tmp_path / "a.parquet", "the column 'fine_label' has the type string", image_field="fine_label")


def test_parquet_names_the_row_of_a_bad_picture(containers, tmp_path, pixels, png):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    files = [png(pixels[0]), png(pixels[1])[:-20], None]
    parquet.write_table(
        pyarrow.table({"image": pyarrow.array(files, pyarrow.binary())}), containers["parquet"] / "2.parquet"
    )
    # The other files have labels.
    refused(containers["parquet"], "2.parquet has no column 'captions'")
    (tmp_path / "bad").mkdir()
    (containers["parquet"] / "2.parquet").rename(tmp_path / "bad" / "2.parquet")
    found = opened(tmp_path / "bad")
    assert found.labels is None
    with pytest.raises(DataError, match=r"2.parquet, row 1 is truncated or damaged"):
        found[1].pixels(WHITE)
    with pytest.raises(DataError, match=r"2.parquet, row 2: there is no picture \(null\)"):
        found[2]


def test_parquet_names_the_extra_that_is_missing(containers, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(containers["parquet"], r"install it with `pip install 'ar-vision\[parquet\]'`")


def test_parquet_keeps_few_row_groups(containers):
    found = opened(containers["parquet"])
    for number in (0, 6, 3, 2, 5, 1, 4):
        found[number]
        assert len(found._groups) <= 4


def test_tar_members_belong_together_up_to_the_first_dot(tmp_path, pixels, png, tar):
    members = [
        ("./x/a.seg.png", b"never opened"),
        ("./x/a.jpg", png(pixels[0])),
        ("./x/a.txt", "ein Bär\n".encode()),
        ("./y/a.jpg", png(pixels[1])),
        ("./y/a.txt", b"a bear"),
        ("./y/a.cls", b"4"),
        (".hidden", b""),
    ]
    found = opened(tar(tmp_path / "a.tar", members))
    assert [found[number].captions for number in (0, 1)] == [("ein Bär",), ("a bear",)]
    assert found.labels is None
    assert found[1].place.endswith("a.tar, ./y/a")
    refused(tmp_path / "a.tar", "x/a: there is no 'cls', which other samples have", label_field="cls")
    assert np.array_equal(found[1].pixels(WHITE), pixels[1])


def test_tar_shards_that_are_wrong_are_refused(tmp_path, pixels, png, tar):
    data = png(pixels[0])
    for members, match in (
        ([("a.cls", b"1")], "a: there are 0 pictures"),
        ([("a.png", data), ("a.jpg", data)], "a: there are 2 pictures"),
        ([("a.png", data), ("a.png", data)], "the member 'a.png' is there twice"),
        ([("a.png", data), ("a.json", b"[1]")], "a.json is a JSON list"),
        ([("a.png", data), ("a.json", b"{")], "a.json is no valid JSON"),
        ([("a.png", data), ("a.txt", b"\xff\xfe\xfa")], "a.txt is no UTF-8"),
        ([], "not a single file"),
    ):
        refused(tar(tmp_path / "a.tar", members), match)
    refused(tar(tmp_path / "b.tar", [("a.png", data)], "w:gz"), "no uncompressed tar file")
    whole = tar(tmp_path / "c.tar", [("a.png", data), ("b.png", data), ("c.png", data)]).read_bytes()
    end = 3 * (512 + -(-len(data) // 512) * 512)
    for kept in (*range(100, end + 512, 37), end):
        (tmp_path / "c.tar").write_bytes(whole[:kept])
        refused(tmp_path / "c.tar", "is damaged|is truncated")
    # A damaged header must not pass for the end.
    second = end // 3
    (tmp_path / "c.tar").write_bytes(whole[:second] + b"x" * 200 + whole[second + 200 :])
    refused(tmp_path / "c.tar", "is damaged|is truncated")
    (tmp_path / "c.tar").write_bytes(whole)
    assert len(opened(tmp_path / "c.tar")) == 3


def test_a_pattern_names_several_shards(containers):
    found = opened(containers["webdataset"] / "*.tar")
    assert len(found) == 7
    assert len(opened(containers["webdataset"] / "b.tar")) == 3


def test_fields_that_a_kind_does_not_have_are_refused(containers):
    for settings in ({"label_field": "x"}, {"image_field": "x"}, {"caption_fields": ("x",)}):
        with pytest.raises(ConfigError, match="which data of this kind do not have"):
            opened(containers["folder"], **settings)


def test_drawn_pictures_do_not_depend_on_their_number(shapes):
    from ar_vision.data.collections.shapes import ShapesPictures

    more = ShapesPictures(50, (16, 16))
    for number in range(20):
        assert np.array_equal(shapes[number].data, more[number].data)
        assert shapes[number].captions == more[number].captions
        assert shapes.classes[shapes.labels[number]] in shapes[number].captions[0]
    assert len({shapes[number].data.tobytes() for number in range(20)}) == 20
    assert all(len(np.unique(shapes[number].data.reshape(-1, 3), axis=0)) == 2 for number in range(20))


@pytest.mark.data
def test_the_staged_data_open(data_dir):
    found = opened(data_dir / "image_text" / "coco_cc")
    assert len(found) == 76
    assert len(found[0].captions) == 5
    assert found[75].pixels(WHITE).shape[2] == 3
    assert len(opened(data_dir / "images" / "kodak256")) == 24
    digits = opened(data_dir / "images" / "mnist_7k.npz", image_field="test_images", label_field="test_labels")
    assert len(digits) == 1000
    assert set(digits.labels.tolist()) == set(range(10))
    emoji = opened(data_dir / "image_text" / "emoji64.parquet", label_field="category")
    assert emoji[0].pixels(WHITE).shape == (64, 64, 3)
    assert emoji.captioned
    assert len(emoji.classes) == len(set(emoji.labels.tolist()))
