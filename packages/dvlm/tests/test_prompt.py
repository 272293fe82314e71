"""Prompts with images, with none, and with the wrong number of them."""

import numpy as np
import pytest
from ar_core.errors import DataError
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import Turn
from dvlm.chat.encode import ChatEncoder
from dvlm.images.config import ImageConfig
from dvlm.images.processor import PatchProcessor
from dvlm.prompt import encode_prompt

PICTURE = np.zeros((56, 84, 3), np.uint8)


@pytest.fixture
def parts(tokenizer):
    """The encoder and the processor of prompts of at most two images."""
    config = ImageConfig(fit="native", min_pixels=784, max_pixels=7840, max_images=2)
    return ChatEncoder(tokenizer, ChatConfig(system=None)), PatchProcessor(config)


def test_images_stand_where_the_text_says_or_in_front(parts):
    marked = encode_prompt([Turn("user", "<image>\nWhat?")], [PICTURE], *parts)
    bare = encode_prompt([Turn("user", "What?")], [PICTURE], *parts)
    assert marked.expanded.ids.tolist() == bare.expanded.ids.tolist()
    assert int((marked.expanded.image_rows >= 0).sum()) == marked.images[0].layout.tokens == 6
    assert (marked.expanded.labels == -100).all()


def test_text_alone(parts):
    found = encode_prompt([Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Again")], [], *parts)
    assert (found.expanded.image_rows == -1).all()
    assert len(found) == len(found.expanded.ids)


def test_numbers_that_do_not_agree_are_refused(parts):
    with pytest.raises(DataError, match=r"row 3: the text has 1 places for images .* and 2 images were given"):
        encode_prompt([Turn("user", "<image>")], [PICTURE, PICTURE], *parts, place="row 3")
    with pytest.raises(DataError, match=r"row 3: the text has 1 places for images .* and 0 images were given"):
        encode_prompt([Turn("user", "<image>")], [], *parts, place="row 3")
    with pytest.raises(DataError, match="row 3: it has 3 images and at most 2 are taken"):
        encode_prompt([Turn("user", "What?")], [PICTURE] * 3, *parts, place="row 3")
    with pytest.raises(DataError, match="image 1 of row 3 is 1 x 300 pixels"):
        encode_prompt([Turn("user", "What?")], [PICTURE[:1].repeat(4, 1)[:, :300]], *parts, place="row 3")
    with pytest.raises(DataError, match="row 3: it has images and no user turn"):
        encode_prompt([Turn("assistant", "What?")], [PICTURE], *parts, place="row 3")
