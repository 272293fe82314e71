"""Trajectories whose lengths or ids are not what they should be."""

import json

import pytest
import torch
from ar_core.errors import DataError
from ar_core.training.chunks import close_chunks, open_chunks, write_chunk
from ar_core.training.stage import Chunk
from dlm_text.jacobi_forcing.source import TrajectoryConfig, TrajectorySource, open_trajectories
from dlm_text.jacobi_forcing.trajectories.published import PublishedTrajectories
from dlm_text.jacobi_forcing.trajectories.store import TrajectoryStore, encode
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory

CHUNK = encode([Trajectory(torch.tensor([1, 2]), torch.tensor([[4, 5]]), (torch.tensor([[0, 0], [4, 5]]),))] * 2, 2)


def stored(directory, chunk):
    open_chunks(directory, {"recipe": "x"}, "auto")
    write_chunk(directory, 0, Chunk(chunk))
    close_chunks(directory, 1)
    return TrajectoryStore(str(directory))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt_lengths": torch.tensor([2, 9], dtype=torch.int32)},
        {"prompt_lengths": torch.tensor([-1, 5], dtype=torch.int32)},
        {"blocks": torch.tensor([1, 2], dtype=torch.int32)},
        {"states": torch.tensor([1, 1], dtype=torch.int32)},
        {"accepted": torch.tensor([0, 3, 0, 2], dtype=torch.int32)},
        {"tails": torch.zeros(1, dtype=torch.int32)},
        {"clean": torch.zeros(2, dtype=torch.int32)},
        {"key": torch.zeros(3, dtype=torch.int64)},
    ],
)
def test_lengths_add_up(tmp_path, change):
    assert stored(tmp_path / "good", CHUNK)[1].clean.tolist() == [[4, 5]]
    with pytest.raises(DataError, match="chunk-000000"):
        stored(tmp_path / "bad", {**CHUNK, **change})


PACKED = {
    "data_id": "a",
    "complete_training_sequence_ids": [1, 2, 0, 0, 4, 5],
    "prompt_ids_len": 2,
    "traj_position_indices": [1],
}
STATES = {
    "data_id": "a",
    "diffusion_itr_id": "itr_0",
    "prompt_ids": [[1, 2]],
    "answer_trajectory_ids": [[0, 0], [3, 4]],
}


def test_a_packed_sequence_begins_with_its_prompt(tmp_path):
    path = tmp_path / "a.jsonl"
    for good in ([1, 2], [[1, 2]], None):
        path.write_text(json.dumps({**PACKED, "prompt_ids": good}) + "\n")
        assert PublishedTrajectories(path)[0].prompt.tolist() == [1, 2]
    for bad in ([2, 1], [[1]], []):
        path.write_text(json.dumps({**PACKED, "prompt_ids": bad}) + "\n")
        with pytest.raises(DataError, match="the sequence 'a' does not begin with its prompt_ids: correct the file"):
            PublishedTrajectories(path)


def test_noise_outside_of_the_vocabulary(tmp_path):
    config = TrajectoryConfig(str(tmp_path / "a.jsonl"))
    ids = [1, 2, 0, 5000, 4, 5]
    (tmp_path / "a.jsonl").write_text(json.dumps({**PACKED, "complete_training_sequence_ids": ids}) + "\n")
    source = TrajectorySource(open_trajectories(config), config, seed=0, block_size=2, vocab_size=260)
    with pytest.raises(DataError, match="have the token 5000 and the model has only 260"):
        next(source.once())


@pytest.mark.parametrize(
    "record",
    [
        {**PACKED, "complete_training_sequence_ids": "abc"},
        {**PACKED, "complete_training_sequence_ids": [1.5] * 6},
        {**PACKED, "complete_training_sequence_ids": [2**70] * 6},
        {**PACKED, "complete_training_sequence_ids": [[1], [2, 3]]},
        {**PACKED, "prompt_ids_len": None},
        {**PACKED, "traj_position_indices": 3},
        {**STATES, "answer_trajectory_ids": [[0], [3, 4]]},
        {**STATES, "answer_trajectory_ids": []},
        {**STATES, "diffusion_itr_id": f"itr_{10**15}"},
        {**STATES, "diffusion_itr_id": "itr_x"},
        {**STATES, "prompt_ids": 3},
        {**STATES, "prompt_ids": [["a"]]},
    ],
)
def test_records_without_ids(tmp_path, record):
    path = tmp_path / "a.jsonl"
    for good in (PACKED, STATES):
        path.write_text(json.dumps(good) + "\n")
        assert len(PublishedTrajectories(path)) == 1
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError):
        PublishedTrajectories(path)
