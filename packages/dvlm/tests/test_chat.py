"""Conversations to ids and labels, and what is refused."""

import pytest
from ar_core.errors import ConfigError, DataError
from dvlm.chat.config import QWEN_SYSTEM, ChatConfig
from dvlm.chat.conversation import Turn, check_images, image_paths, turns_of
from dvlm.chat.encode import IMAGE, ChatEncoder

QUESTION = [
    {"from": "human", "value": "What is it?\n<image>"},
    {"from": "gpt", "value": "a ring"},
]


def shown(tokenizer, encoded) -> tuple[str, str]:
    """The text with images, and the supervised parts of it."""
    whole = "".join("<image>" if token == IMAGE else tokenizer.decode([token]) for token in encoded.ids)
    return whole, "".join(tokenizer.decode([label]) for label in encoded.labels if label != -100)


def placed(conversations, **more):
    turns = turns_of(conversations, "here")
    images = sum(turn.text.count("<image>") for turn in turns)
    return check_images(turns, images, "here", limit=4, **more)


def test_one_image_goes_in_front():
    """With a line break or without; once there, it stays."""
    assert placed(QUESTION)[0].text == "<image>\nWhat is it?"
    assert placed(QUESTION, break_after=False)[0].text == "<image>What is it?"
    assert check_images(placed(QUESTION), 1, "here", limit=4, break_after=False)[0].text == "<image>\nWhat is it?"
    two = "<image> or <image>?"
    assert placed([{"from": "human", "value": two}, QUESTION[1]])[0].text == two


def test_a_first_turn_that_is_not_human_is_dropped():
    turns = turns_of([{"from": "gpt", "value": "hello"}, *QUESTION], "here")
    assert [turn.role for turn in turns] == ["user", "assistant"]
    turns = turns_of([*[QUESTION[1]] * 2, *QUESTION], "here")
    assert [turn.role for turn in turns] == ["assistant", "user", "assistant"]


def test_the_answer_and_its_end_are_supervised(tokenizer):
    encoder = ChatEncoder(tokenizer, ChatConfig())
    encoded = encoder.conversation(placed(QUESTION), supervise_template=False)
    whole, supervised = shown(tokenizer, encoded)
    assert whole == (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\na ring<|im_end|>\n"
    )
    assert supervised == "a ring<|im_end|>"


def test_the_template_is_supervised_as_published(tokenizer):
    """The example of the specification: 29 supervised ids = 6 of the answer, 13 of the rest of its turn, 10 before."""
    encoder = ChatEncoder(tokenizer, ChatConfig())
    turns = placed([{"from": "human", "value": "<image>\nLook.\nWhat is it?"}, QUESTION[1]])
    encoded = encoder.conversation(turns, supervise_template=True)
    _, supervised = shown(tokenizer, encoded)
    system, user = "<|im_start|>\n<|im_end|>\n", "<|im_start|>\n\n\n<|im_end|>\n"
    assert supervised == f"{system}{user}<|im_start|>assistant\na ring<|im_end|>\n"
    assert sum(label != -100 for label in encoded.labels) == 29


def test_a_prompt_is_what_stands_before_an_answer(tokenizer):
    encoder = ChatEncoder(tokenizer, ChatConfig(system=None))
    turns = placed(QUESTION)
    whole = encoder.conversation(turns, supervise_template=False)
    prompt = encoder.prompt(turns[:1])
    assert whole.ids[: len(prompt)] == prompt
    assert whole.labels[len(prompt)] == whole.ids[len(prompt)]
    assert all(label == -100 for label in whole.labels[: len(prompt)])


def test_plain_conversations(tokenizer):
    encoder = ChatEncoder(tokenizer, ChatConfig(form="plain"))
    whole, supervised = shown(tokenizer, encoder.conversation(placed(QUESTION), supervise_template=False))
    assert (whole, supervised) == ("<image>\nWhat is it?\na ring<|im_end|>", "a ring<|im_end|>")


def test_tokens_of_the_form_must_be_there(tokenizer):
    with pytest.raises(ConfigError, match=r"no token <\|vision_start\|>"):
        ChatEncoder(tokenizer, ChatConfig(vision_markers=True))


@pytest.mark.parametrize(
    ("conversations", "message"),
    [
        ("text", "conversations is 'text'"),
        ([{"from": "robot", "value": "x"}], "turn 1 is"),
        ([QUESTION[0]], "no turn behind a human's is an assistant's"),
        ([], "no turn behind a human's is an assistant's"),
        ([QUESTION[1]] * 2, "no turn behind a human's is an assistant's"),
        ([*[QUESTION[1]] * 2, QUESTION[0]], "no turn behind a human's is an assistant's"),
    ],
)
def test_what_is_no_conversation_is_refused(conversations, message):
    with pytest.raises(DataError, match=f"^file, line 3: {message}"):
        turns_of(conversations, "file, line 3")


def test_images_and_their_places_must_agree():
    turns = [Turn("user", "<image>\nx"), Turn("assistant", "y")]
    assert check_images(turns, 1, "here", limit=4) == turns
    with pytest.raises(DataError, match=r"here: the text has 1 places for images .* and 2 images were given"):
        check_images(turns, 2, "here", limit=4)
    with pytest.raises(DataError, match=r"the text has 1 places for images .* and 0 images were given"):
        check_images(turns, 0, "here", limit=4)
    with pytest.raises(DataError, match=r"it has 5 images and at most 4 are taken"):
        check_images(turns, 5, "here", limit=4)
    placed = check_images([Turn("user", "x"), Turn("assistant", "y")], 2, "here", limit=4)
    assert placed[0].text == "<image>\n<image>\nx"
    assert check_images([Turn("user", "x")], 2, "here", limit=4, break_after=False)[0].text == "<image><image>x"


def test_paths_of_images():
    assert image_paths({}, "here") == image_paths({"image": None, "images": None}, "here") == []
    for key in ("image", "images"):
        assert image_paths({key: "a.png"}, "here") == ["a.png"]
        assert image_paths({key: ["a.png", "b.png"]}, "here") == ["a.png", "b.png"]
        with pytest.raises(DataError, match=rf"here: {key} is 3; give the path of a picture"):
            image_paths({key: 3}, "here")
    with pytest.raises(DataError, match="here has image and images"):
        image_paths({"image": "a.png", "images": ["a.png"]}, "here")
