"""Files of questions: what a record may have, and which settings go with them."""

import json
from pathlib import Path

import pytest
from ar_core.config import from_dict
from ar_core.errors import ConfigError, DataError
from ar_core.pictures import read_picture
from dvlm.chat.byte_tokenizer import byte_tokenizer
from dvlm.chat.conversation import Turn
from dvlm.data.files import read_conversations
from dvlm.decoding.options import DecodingOptions
from dvlm.decoding.requests import read_requests
from dvlm.decoding.session import session_of
from dvlm.decoding.vlm_command import VlmOptions
from dvlm.images.config import ImageConfig
from dvlm.layouts.load import LoadedVL
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from tiny_vision_language import MASK, assembled, qwen2_5_vl


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


def test_a_prompt_and_a_picture_are_something(tmp_path):
    """As in a file of questions."""
    for settings, message in (
        ({"prompt": ""}, "prompt is '', which asks nothing: give a text"),
        ({"prompt": " \n"}, r"prompt is ' \\n', which asks nothing: give a text"),
        ({"prompt": "a", "image": ""}, "image is empty, or the folder '.', but must be the file of a picture"),
        ({"prompt": "a", "images": ["0.png", ""]}, "image is empty, or the folder '.', but must be the file"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_dict(VlmOptions, {"model": "m", **settings})
    with pytest.raises(DataError, match=rf"^{tmp_path} is a folder: give a file$"):
        read_picture(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".json", ".yaml"])
def test_what_is_no_file_is_called_so(tmp_path, monkeypatch, suffix):
    """No reader of conversations takes a hub id."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"folder{suffix}").mkdir()
    for path, reason in ((f"owner/name{suffix}", "not exist|No such file"), (f"folder{suffix}", "folder|directory")):
        Path("mix.yaml").write_text(json.dumps({"datasets": [{"json_path": path}]}))
        for read in (
            lambda path=path: read_requests(Path(path), None, limit=1),
            lambda: read_conversations(Path("mix.yaml")),
        ):
            with pytest.raises((ConfigError, DataError), match=reason) as caught:
                read()
            assert "hub" not in str(caught.value)


def test_the_most_images_are_the_users_to_say(tokenizer):
    """Of a checkpoint, and of a base of the hub, which says nothing of it."""
    with pytest.raises(ConfigError, match="max_images is 0, but must be at least 1: give a positive integer, or null"):
        DecodingOptions(model="tiny", max_images=0)
    words = byte_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|vision_start|>", "<|vision_end|>"]})
    trained = Settings(images=ImageConfig(fit="stretch", max_images=3), diffusion=Diffusion(MASK, 4))
    for loaded, own in (
        (LoadedVL(assembled(), tokenizer, trained, "tiny"), 3),
        (LoadedVL(QwenVL(qwen2_5_vl()), words, None, "tiny"), 16),
    ):
        for given, most in ((None, own), (2, 2), (20, 20)):
            session = session_of(loaded, DecodingOptions(model="tiny", max_images=given))
            turns = [Turn("user", "What?")]
            assert session.placed(turns, most)[0].text.count("<image>") == most
            with pytest.raises(DataError, match=f"{most + 1} images and at most {most} are taken; .* raise max_images"):
                session.placed(turns, most + 1)


def test_settings_without_effect_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"json prints the object of one answer, .*: drop json"):
        VlmOptions(model="m", input=tmp_path / "q.jsonl", output=tmp_path / "a.jsonl", json=True)
    for name, value in (("top_k", 5), ("top_p", 0.9)):
        with pytest.raises(ConfigError, match=f"{name} is given at temperature 0, .*: drop it, or give"):
            DecodingOptions(model="m", **{name: value})
        DecodingOptions(model="m", temperature=0.5, **{name: value})
