"""Trajectories against plain greedy decoding, and against those recorded from the published code."""

from itertools import pairwise

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import DataError
from ar_core.hf import HFBackbone
from ar_core.sampling import Sampler
from dlm_text.jacobi_forcing.trajectories import collect as module
from dlm_text.jacobi_forcing.trajectories.collect import collect
from dlm_text.jacobi_forcing.trajectories.trajectory import first_errors

RNG = SampleRng(seed=1)


def prompts(count: int, vocab: int = 40) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(4, vocab, (3 + 2 * i,), generator=generator).tolist() for i in range(count)]


def collected(model, rows, *, size: int, blocks: int, stop_ids=frozenset(), numbers=None):
    numbers = range(len(rows)) if numbers is None else numbers
    return collect(
        HFBackbone(model),
        rows,
        block_size=size,
        blocks=[blocks] * len(rows),
        stop_ids=stop_ids,
        generators=[RNG.row(number, "draft") for number in numbers],
    )


def greedy(model, row, count: int) -> list[int]:
    stop = StopRule(frozenset(), count)
    return autoregressive(HFBackbone(model), [row], stop=stop, sampler=Sampler()).tokens[0]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize(("size", "blocks"), [(1, 12), (4, 5), (16, 2)])
def test_trajectories_lead_from_the_draft_to_the_greedy_continuation(build_tiny, family: str, size, blocks) -> None:
    """Oracle 8, in a ragged batch."""
    model = build_tiny(family)
    rows = prompts(4)
    for number, (row, found) in enumerate(zip(rows, collected(model, rows, size=size, blocks=blocks), strict=True)):
        text = greedy(model, row, size * blocks)
        assert found.prompt.tolist() == row
        assert found.clean.flatten().tolist() == text
        generator = RNG.row(number, "draft")
        for block, states in enumerate(found.states):
            seen = row + text[: block * size]
            places = torch.randint(len(seen), (size - 1,), generator=generator).tolist()
            assert states[0].tolist() == [text[block * size], *(seen[place] for place in places)]
            assert torch.equal(states[-1], found.clean[block])
            right = first_errors(states, found.clean[block]).tolist()
            assert len(states) <= size + 1
            assert all(a < b or a == b == size for a, b in pairwise(right))
            assert right.count(size) <= 2, "only the last two may be equal"


def test_a_row_depends_neither_on_its_batch_mates_nor_on_its_place(model) -> None:
    rows = prompts(5)
    together = collected(model, rows, size=4, blocks=4)
    for number in (3, 0):
        (alone,) = collected(model, [rows[number]], size=4, blocks=4, numbers=[number])
        assert torch.equal(alone.clean, together[number].clean)
        assert all(map(torch.equal, alone.states, together[number].states))


def test_a_row_ends_with_the_block_of_its_first_stop_token(model) -> None:
    rows = prompts(4)
    text = greedy(model, rows[1], 24)
    stop = text[9]
    first = text.index(stop)
    found = collected(model, rows, size=4, blocks=6, stop_ids={stop})[1]
    assert len(found.clean) == first // 4 + 1
    assert found.clean.flatten().tolist() == text[: len(found.clean) * 4], "the block is finished behind the stop token"


def test_prompts_that_do_not_fit_are_refused(model) -> None:
    with pytest.raises(DataError, match="context"):
        collected(model, [[5] * 250], size=16, blocks=1)


@pytest.mark.golden
def test_recorded_trajectories_from_the_recorded_drafts(packing_cases, recorded_model, monkeypatch) -> None:
    cases = [c for c in packing_cases["unit_cases"] if c["variant"] == "true_init_restored" and c["n"] == 8]
    assert len(cases) >= 20
    for record, case in zip(packing_cases["cli_input"], cases, strict=False):
        draft, *later = case["trajectory"]
        assert record["answer_trajectory_ids"][1:] == later

        def drafted(row, certain, draft=draft):
            assert certain == draft[0]
            row.draft, row._accepted = draft, []
            row.states.append([draft])

        monkeypatch.setattr(module._Row, "begin_block", drafted)
        (found,) = collected(recorded_model, [record["prompt_ids"][0]], size=8, blocks=1)
        assert found.states[0].tolist() == [draft, *later]
