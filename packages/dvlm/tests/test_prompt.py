"""Prompts with images, with none, and with the wrong number of them."""

import numpy as np
import pytest
from ar_core.data import Record
from ar_core.errors import DataError
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import Turn, read_turns
from dvlm.chat.encode import ChatEncoder
from dvlm.data.config import VisionTextDataConfig
from dvlm.data.source import ConversationSource
from dvlm.images.config import ImageConfig
from dvlm.images.processor import PatchProcessor
from dvlm.inputs import expand
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


@pytest.mark.parametrize("break_after", [True, False])
def test_a_prompt_reads_as_in_training_and_a_single_image_stands_in_front(tokenizer, break_after):
    """The same from a record to learn from, a question of the command, and a turn that a caller builds."""
    encoder = ChatEncoder(tokenizer, ChatConfig(break_after_image=break_after))
    processor = PatchProcessor(ImageConfig(fit="native", min_pixels=784, max_pixels=7840))
    text = "Look <image> here."
    conversations = [{"from": "human", "value": text}, {"from": "gpt", "value": "yes"}]
    source = ConversationSource(
        [Record("here", {"image": "a.png", "conversations": conversations})], lambda *_: PICTURE, encoder, processor,
        VisionTextDataConfig(path="x.jsonl"), supervise_template=False, seed=0, batch_size=1, facts={},
    )  # fmt: skip
    learnt = next(source.once())["tokens"]
    in_front = encoder.prompt([Turn("user", "<image>\nLook  here." if break_after else "<image>Look  here.")])
    assert learnt[: len(in_front)] == in_front
    for turns in (read_turns(conversations[:1], "here"), [Turn("user", text)]):
        found = encode_prompt(turns, [PICTURE], encoder, processor)
        assert found.expanded.ids.tolist() == expand(in_front, None, [found.images[0].layout]).ids.tolist()


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
