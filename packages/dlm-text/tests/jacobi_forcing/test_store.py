"""Trajectories as compact chunks, and read back whatever made them."""

import json
import pickle

import pytest
import torch
from ar_core.errors import DataError
from ar_core.training import Chunk, StageConfig, StageJob, run_stage
from dlm_text.jacobi_forcing.source import TrajectoryConfig, TrajectorySource, open_trajectories
from dlm_text.jacobi_forcing.trajectories.store import TrajectoryStore, encode
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory


def same(one: Trajectory, other: Trajectory) -> bool:
    return (
        torch.equal(one.prompt, other.prompt)
        and torch.equal(one.clean, other.clean)
        and len(one.states) == len(other.states)
        and all(map(torch.equal, one.states, other.states))
    )


@pytest.fixture
def trajectories(make_trajectory) -> list[Trajectory]:
    found = [make_trajectory(seed, prompt=1 + seed % 4, blocks=1 + seed % 3) for seed in range(11)]
    # States of unequal numbers, as collections have them.
    return [Trajectory(t.prompt, t.clean, tuple(s[i % 3 :] for i, s in enumerate(t.states))) for t in found]


@pytest.fixture
def collection(trajectories, tmp_path) -> str:
    job = StageJob(trajectories, lambda first, items: Chunk(encode(items, 4)), identity={"model": "toy"})
    directory = str(tmp_path / "collection")
    for shard in ("2/2", "1/2"):
        run_stage(job, StageConfig(directory=directory, shard=shard, chunk_size=3))
    return directory


def test_read_back_as_it_was(trajectories, collection) -> None:
    store = TrajectoryStore(collection)
    assert len(store) == len(trajectories)
    assert store.block_size == 4
    for number in (10, 0, 5, 2, 3):
        assert same(store[number], trajectories[number])
    again = pickle.loads(pickle.dumps(store))
    assert all(same(again[number], one) for number, one in enumerate(trajectories))


def test_states_are_stored_as_their_wrong_ends(trajectories) -> None:
    tensors = encode(trajectories, 4)
    wrong = sum(int((states[:, 0] >= 0).sum() * 4) for one in trajectories for states in one.states)
    kept = int(tensors["accepted"].sum())
    assert kept > 0
    assert len(tensors["tails"]) == wrong - kept
    assert {str(tensor.dtype) for name, tensor in tensors.items() if name != "key"} == {"torch.int32"}


def test_a_chunk_without_trajectories(tmp_path) -> None:
    job = StageJob(range(3), lambda first, items: Chunk(encode([], 4)))
    run_stage(job, StageConfig(directory=str(tmp_path)))
    store = TrajectoryStore(str(tmp_path))
    assert len(store) == 0
    with pytest.raises(DataError, match=r"train split of the 0 trajectories .* is empty"):
        TrajectorySource(store, TrajectoryConfig(str(tmp_path)), seed=0, block_size=4, vocab_size=40)


def source(collection: str, split: str = "train", seed: int = 0, **options) -> TrajectorySource:
    config = TrajectoryConfig(collection, **options)
    return TrajectorySource(open_trajectories(config), config, split=split, seed=seed, block_size=4, vocab_size=40)


def first(found: TrajectorySource, start: int, count: int) -> list[Trajectory]:
    stream = found.open(start)
    samples = [next(stream) for _ in range(count)]
    assert [sample["index"] for sample in samples] == list(range(start, start + count))
    return [sample["trajectory"] for sample in samples]


def test_a_source_is_a_function_of_seed_and_start(trajectories, collection) -> None:
    run = first(source(collection), 0, 25)
    assert all(map(same, first(source(collection), 9, 16), run[9:]))
    assert not all(map(same, first(source(collection, seed=1), 0, 11), run))
    for epoch in (run[:11], run[11:22]):
        assert all(sum(same(one, other) for other in epoch) == 1 for one in trajectories)
    assert not all(map(same, run[:11], run[11:22]))


def test_held_out_prompts_are_never_trained_on(collection) -> None:
    train, held_out = (source(collection, split, held_out=0.4) for split in ("train", "held_out"))
    assert len(train) + len(held_out) == 11
    assert len(held_out) > 0
    seen = {tuple(one.prompt.tolist()) for one in first(train, 0, 2 * len(train))}
    kept = {tuple(sample["trajectory"].prompt.tolist()) for sample in held_out.once()}
    assert not seen & kept
    assert len(source(collection, count=5)) == 5


def test_refusals(collection) -> None:
    config = TrajectoryConfig(collection)
    store = open_trajectories(config)
    with pytest.raises(DataError, match=r"have blocks of 4 and method.block_size is 8"):
        TrajectorySource(store, config, seed=0, block_size=8, vocab_size=40)
    with pytest.raises(DataError, match="the model has only 10"):
        next(TrajectorySource(store, config, seed=0, block_size=4, vocab_size=10).open(0))


@pytest.mark.golden
def test_published_files(packing_cases, tmp_path) -> None:
    packed, states = tmp_path / "packed.jsonl", tmp_path / "states.jsonl"
    packed.write_text("".join(json.dumps(record) + "\n" for record in packing_cases["cli_output"]["packed_win4"]))
    states.write_text("".join(json.dumps(record) + "\n" for record in packing_cases["cli_input"]))
    found = [open_trajectories(TrajectoryConfig(str(path))) for path in (packed, states)]
    assert [len(one) for one in found] == [5, 5]
    assert found[0].block_size == found[1].block_size == 8
    for number in range(5):
        assert torch.equal(found[0][number].clean, found[1][number].clean)
        assert torch.equal(found[0][number].prompt, found[1][number].prompt)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"data_id": "a"}\n')
    with pytest.raises(DataError, match="a record lacks"):
        open_trajectories(TrajectoryConfig(str(broken)))
