"""Mixes of mixes: whose folder the pictures of a record lie in."""

import json
from pathlib import Path

import pytest
from ar_core.config import from_dict
from ar_core.errors import ConfigError, DataError
from dvlm.chat.byte_tokenizer import byte_tokenizer
from dvlm.chat.config import ChatConfig
from dvlm.chat.encode import ChatEncoder
from dvlm.data.config import VisionTextDataConfig
from dvlm.data.files import picture_root, read_conversations
from dvlm.data.shapes import shape_picture
from dvlm.data.source import build_conversation_source
from dvlm.decoding.requests import read_requests
from dvlm.images.config import ImageConfig
from PIL import Image
from tiny_vision_language import assembled


@pytest.fixture
def write(tmp_path):
    """Writes `inner/data.jsonl`, a mix beside it, and `outer.yaml`, a mix of that mix; returns the latter."""
    (tmp_path / "inner").mkdir()

    def written(inner: dict, outer: dict, record: dict | None = None) -> Path:
        said = [{"from": "human", "value": "<image> What?"}, {"from": "gpt", "value": "A shape."}]
        line = {"image": "0.png", "conversations": said, **(record or {})}
        (tmp_path / "inner" / "data.jsonl").write_text(json.dumps(line) + "\n")
        for name, entry in (
            ("inner/mix.yaml", {"json_path": "data.jsonl", **inner}),
            ("outer.yaml", {"json_path": "inner/mix.yaml", **outer}),
        ):
            (tmp_path / name).write_text(json.dumps({"datasets": [entry]}))
        return tmp_path / "outer.yaml"

    return written


@pytest.mark.parametrize(
    ("inner", "outer", "record", "given", "expected"),
    [
        ({}, {}, {}, None, "inner"),
        ({"image_root": "a"}, {}, {}, None, "inner/a"),
        ({}, {"image_root": "b"}, {}, None, "b"),
        ({"image_root": "a"}, {"image_root": "b"}, {}, None, "inner/a"),
        ({}, {}, {}, "c", "c"),
        ({"image_root": "a"}, {}, {}, "c", "inner/a"),
        ({}, {"image_root": "b"}, {}, "c", "b"),
        ({"image_root": None}, {"image_root": None}, {"image_root": None}, None, "inner"),
        ({"image_root": None}, {"image_root": None}, {"image_root": None}, "c", "c"),
        ({}, {}, {"image_root": "d"}, None, "inner/d"),
        ({"image_root": "a"}, {"image_root": "b"}, {"image_root": "d"}, "c", "inner/a/d"),
        ({"image_root": "a"}, {}, {"image_root": "/d"}, None, "/d"),
    ],
)
def test_the_nearest_folder_of_pictures_is_taken(write, tmp_path, inner, outer, record, given, expected):
    root = None if given is None else tmp_path / given
    (found,), _ = read_conversations(write(inner, outer, record), image_root=root)
    assert picture_root(found) == tmp_path / expected


@pytest.mark.parametrize(
    ("inner", "given", "folder"), [({"image_root": "a"}, None, "inner/a"), ({}, "c", "c"), ({}, None, "inner")]
)
def test_training_and_questions_read_pictures_there(write, tmp_path, monkeypatch, inner, given, folder):
    """By a path relative to where one stands, too."""
    (tmp_path / folder).mkdir(exist_ok=True)
    Image.fromarray(shape_picture(0)).save(tmp_path / folder / "0.png")
    for place in (write(inner, {}), Path("outer.yaml")):
        root = None if given is None else str(place.parent / given)
        config = from_dict(VisionTextDataConfig, {"path": str(place), "image_root": root, "max_length": 512})
        source = build_conversation_source(
            config,
            ChatEncoder(byte_tokenizer(), ChatConfig()),
            assembled().processor(ImageConfig(fit="stretch")),
            supervise_template=False,
            seed=0,
        )
        assert [len(sample["images"]) for sample in source.once()] == [1]
        (asked,) = read_requests(place, None if root is None else Path(root), limit=1)
        assert asked.images == (place.parent / folder / "0.png",)
        monkeypatch.chdir(tmp_path)


def test_a_picture_that_is_not_there(write):
    mix = write({"image_root": "a"}, {})
    with pytest.raises(
        DataError, match=r"inner/a/0\.png .* does not exist: correct the path, or image_root, the folder"
    ):
        read_requests(mix, None, limit=1)


def test_entries_of_other_types_are_refused(write):
    for entry, message in (
        ({"image_root": 3}, "image_root of the data set 1 is 3; give a path"),
        ({"json_path": [1]}, r"json_path of the data set 1 is \[1\]; give a path"),
        ({"json_path": None}, "has no list 'datasets' of mappings with json_path"),
        ({"sampling_strategy": 3}, "sampling_strategy is '3'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_conversations(write(entry, {}))
