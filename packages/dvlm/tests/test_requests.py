"""Files of questions: what a record may have, and which settings go with them."""

import json

import pytest
from ar_core.errors import ConfigError, DataError
from dvlm.decoding.options import DecodingOptions
from dvlm.decoding.requests import read_requests
from dvlm.decoding.vlm_command import VlmOptions


@pytest.fixture
def read(tmp_path):
    """Reads questions from records, beside two files that pass for pictures."""
    for name in ("0.png", "1.png"):
        (tmp_path / name).touch()

    def requests(*records):
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
        return read_requests(tmp_path / "q.jsonl", None, limit=4)

    return requests


@pytest.mark.parametrize("key", ["image", "images"])
def test_images_of_either_name(read, key):
    """Also where the text has no place for them."""
    found = read(
        {"prompt": "What?", key: ["0.png", "1.png"]}, {"prompt": "<image> what?", key: "1.png"}, {"prompt": "?"}
    )
    assert [[path.name for path in one.images] for one in found] == [["0.png", "1.png"], ["1.png"], []]
    with pytest.raises(DataError, match=rf"line 1: {key} is 3; give the path"):
        read({"prompt": "What?", key: 3})


def test_images_of_both_names_are_refused(read):
    with pytest.raises(DataError, match="line 1 has image and images, which mean the same; give"):
        read({"prompt": "What?", "image": "0.png", "images": ["1.png"]})


def test_settings_without_effect_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"json prints the object of one answer, .*: drop json"):
        VlmOptions(model="m", input=tmp_path / "q.jsonl", output=tmp_path / "a.jsonl", json=True)
    for name, value in (("top_k", 5), ("top_p", 0.9)):
        with pytest.raises(ConfigError, match=f"{name} is given at temperature 0, .*: drop it, or give"):
            DecodingOptions(model="m", **{name: value})
        DecodingOptions(model="m", temperature=0.5, **{name: value})
