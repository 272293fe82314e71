"""Files of questions: what a record may have."""

import json

import pytest
from ar_core.errors import DataError
from dvlm.decoding.requests import read_requests


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
