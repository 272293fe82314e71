"""Pseudo-trajectories made from text."""

import pytest
import torch
from dlm_text.jacobi_forcing.trajectories.corrupt import answers, corrupt
from dlm_text.jacobi_forcing.trajectories.trajectory import first_errors

STOP = 3


def test_the_last_tokens_of_a_block_are_drawn_from_what_precedes_it() -> None:
    prompt, text = torch.arange(100, 106), torch.arange(200, 212)
    known = torch.cat([prompt, text])
    found = corrupt(prompt, text, block_size=4, context=5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.clean.flatten(), text)
    for block, states in enumerate(found.states):
        # Ids are distinct here, so a drawn one is never right.
        assert first_errors(states, found.clean[block]).tolist() == [0, 1, 2, 3, 4]
        start = 6 + 4 * block
        drawn = states[states != found.clean[block]]
        assert set(drawn.tolist()) <= set(known[start - 5 : start].tolist())
        assert len(set(drawn.tolist())) > 1


def sample(ids: list[int], supervised: list[int], documents: list[int]) -> dict:
    labels = torch.tensor([i if s else -100 for i, s in zip(ids, supervised)])
    return {"index": 0, "ids": torch.tensor(ids), "labels": labels, "document": torch.tensor(documents)}


def split(row: dict, prompt_length: int = 2) -> list[tuple[list[int], list[int]]]:
    found = answers(row, block_size=4, stop_ids={STOP}, prompt_length=prompt_length)
    return [(prompt.tolist(), text.tolist()) for prompt, text in found]


def test_rows_become_prompts_and_whole_blocks() -> None:
    ids = [10, 11, 12, 13, 14, 15, STOP, 20, 21, 22, 23, 24, 25, 0, 0]
    flags = [0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0]
    row = sample(ids, flags, [0] * 7 + [1] * 6 + [2] * 2)
    # The first text ends, so its last block is completed; the second was cut, so its incomplete block is dropped.
    assert split(row) == [([10, 11], [12, 13, 14, 15, STOP, STOP, STOP, STOP]), ([20], [21, 22, 23, 24])]


def test_the_last_answer_of_a_chat_is_the_continuation() -> None:
    row = sample([10, 11, STOP, 12, 13, 14, 15, STOP], [0, 1, 1, 0, 1, 1, 1, 1], [0] * 8)
    assert split(row) == [([10, 11, STOP, 12], [13, 14, 15, STOP])]


@pytest.mark.parametrize(("length", "expected"), [(1, [([10], [11, 12, 13, 14])]), (2, [([10, 11], [12, 13, 14, 15])])])
def test_plain_text_gives_up_its_first_tokens(length: int, expected) -> None:
    assert split(sample([10, 11, 12, 13, 14, 15], [1] * 6, [0] * 6), length) == expected
