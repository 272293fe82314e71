"""The packed sequence: its layout, its mask, what is learnt, and where a text ends."""

import json
import random
from itertools import chain

import pytest
import torch
from ar_core.errors import DataError
from ar_core.masks import Mask, Tokens, noise_aware_causal
from dlm_text.jacobi_forcing.config import JacobiForcingConfig, NoiseSchedule
from dlm_text.jacobi_forcing.noise import noised
from dlm_text.jacobi_forcing.packing import Packed, join, pack
from dlm_text.jacobi_forcing.trajectories.published import PublishedTrajectories, read_packed, read_states
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory
from safetensors.torch import load_file

STOP, PAD = 3, 0
RECORDED = {
    **{f"packed_win{w}": {"window": w} for w in (3, 4, 8)},
    **{f"packed_cyc{h}": {"kind": "cyclic", "horizon": h} for h in (4, 8)},
    **{f"packed_prog{h}": {"kind": "progressive", "horizon": h} for h in (4, 8)},
}


def packed_of(trajectory: Trajectory, noisy: torch.Tensor, *, stop_ids=frozenset({STOP}), **options) -> Packed:
    config = JacobiForcingConfig(block_size=trajectory.block_size, **options)
    end = trajectory.end(stop_ids) if config.eos_policy == "strict" else None
    if end is not None:
        noisy = Trajectory(trajectory.prompt, trajectory.clean, tuple(noisy[:, None])).ended(end, PAD).states
        noisy = torch.cat(noisy)
        trajectory = trajectory.ended(end, PAD)
    return pack(trajectory, noisy, config, stop_ids=stop_ids, pad_id=PAD)


def noisiest(trajectory: Trajectory) -> torch.Tensor:
    return torch.stack([states[0] for states in trajectory.states])


def published_order(prompt: int, blocks: int, size: int) -> torch.Tensor:
    """[prompt | noisy 0 | clean 0 | noisy 1 | ...] as places in our order."""
    body = torch.arange(2 * blocks * size).view(2, blocks, size).transpose(0, 1).flatten()
    return torch.cat([torch.arange(prompt), prompt + body])


def pairs(packed: Packed) -> list[tuple[int, int]]:
    return list(zip(packed.rows.tolist(), packed.labels.tolist()))


@pytest.mark.golden
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_sequences_whatever_the_order_of_the_records(packing_cases, name: str) -> None:
    """Golden packing, and oracle 17: blocks arrive in any order."""
    records = list(packing_cases["cli_input"])
    expected = packing_cases["cli_output"][name]
    for seed in (0, 1):
        found = read_states(records)
        assert len(found) == len(expected)
        for trajectory, wanted in zip(found, expected, strict=True):
            noise = noised(trajectory, NoiseSchedule(**RECORDED[name]), torch.Generator())
            ours = packed_of(trajectory, noise.states, stop_ids=frozenset())
            order = published_order(len(trajectory.prompt), ours.blocks, trajectory.block_size)
            assert ours.ids[order].tolist() == wanted["complete_training_sequence_ids"]
            assert noise.chosen == wanted["traj_position_indices"]
            assert trajectory.prompt.tolist() == wanted["prompt_ids"]
            again = read_packed(wanted)
            assert torch.equal(again.clean, trajectory.clean)
            assert torch.equal(torch.cat(again.states), noise.states)
        random.Random(seed).shuffle(records)


@pytest.mark.golden
def test_blocks_that_do_not_follow_each_other_are_refused(packing_cases) -> None:
    records = [record for record in packing_cases["cli_input"] if record["data_id"] == "bucket_0007_data_0"]
    with pytest.raises(DataError, match="lacks block 2"):
        read_states(records[:2] + records[3:])
    with pytest.raises(DataError, match="has block 1 twice"):
        read_states([*records, records[1]])
    broken = {**records[1], "prompt_ids": [[*records[1]["prompt_ids"][0][:-1], 5]]}
    with pytest.raises(DataError, match=r"block 1 of the sample .* does not follow"):
        read_states([records[0], broken, *records[2:]])


@pytest.mark.golden
def test_recorded_masks_and_positions(golden_dir, make_trajectory) -> None:
    tensors = load_file(golden_dir / "jacobi" / "masks_positions.safetensors")
    names = [name.split(".") for name in sorted(tensors) if name.startswith("mask.")]
    assert len(names) >= 30
    for _, variant, *sizes in names:
        prompt, blocks, size, *window = (int(part[1:]) for part in sizes)
        trajectory = make_trajectory(0, prompt, blocks, size)
        schedule = NoiseSchedule(window=window[0] if window else 16)
        packed = packed_of(trajectory, noisiest(trajectory), mask=variant, schedule=schedule)
        order = published_order(prompt, blocks, size)
        assert torch.equal(packed.position[order], tensors[f"position_ids.P{prompt}.T{blocks}.N{size}"])
        expected = tensors[".".join(["mask", variant, *sizes])].bool()
        found = dense(packed, JacobiForcingConfig(mask=variant, schedule=schedule).mask_window)
        assert torch.equal(found[order][:, order], expected), (variant, sizes)


def dense(packed: Packed, window: int | None) -> torch.Tensor:
    tokens = Tokens(stream=packed.stream, block=packed.block, position=packed.position)
    return Mask.self_attention(noise_aware_causal(window), tokens).dense()[0, 0]


@pytest.mark.parametrize("mask", ["noisy_context", "clean_context", "noisy_in_window"])
@pytest.mark.parametrize(
    ("prompt", "blocks", "size", "window"), [(1, 1, 1, 1), (3, 4, 2, 2), (5, 5, 3, 3), (2, 3, 4, 1)]
)
def test_mask_is_the_list_of_what_each_token_sees(
    make_trajectory, mask: str, prompt: int, blocks: int, size: int, window: int
) -> None:
    """Oracle 9: the literal list of visible tokens of every query."""
    trajectory = make_trajectory(0, prompt, blocks, size)
    packed = packed_of(trajectory, noisiest(trajectory), mask=mask, schedule=NoiseSchedule(window=window))
    total = blocks * size
    text = list(range(prompt))
    noisy = [[prompt + j * size + o for o in range(size)] for j in range(blocks)]
    clean = [[prompt + total + j * size + o for o in range(size)] for j in range(blocks)]
    expected = torch.zeros(len(packed.ids), len(packed.ids), dtype=torch.bool)
    for q in text:
        expected[q, text[: q + 1]] = True
    for j in range(blocks):
        group = j // window * window
        before = {
            "noisy_context": noisy[:j],
            "clean_context": clean[:j],
            "noisy_in_window": clean[:group] + noisy[group:j],
        }[mask]
        for o in range(size):
            expected[noisy[j][o], text + list(chain(*before)) + noisy[j][: o + 1]] = True
            expected[clean[j][o], text + list(chain(*clean[:j])) + clean[j][: o + 1]] = True
    config = JacobiForcingConfig(mask=mask, schedule=NoiseSchedule(window=window))
    assert torch.equal(dense(packed, config.mask_window), expected)


def test_every_token_of_a_text_without_end_is_predicted_by_the_clean_token_before(make_trajectory) -> None:
    trajectory = make_trajectory(0, prompt=3, blocks=2, size=2)
    packed = packed_of(trajectory, noisiest(trajectory))
    text = torch.cat([trajectory.prompt, trajectory.clean.flatten()]).tolist()
    before = [0, 1, 2, 7, 8, 9]
    assert pairs(packed) == list(zip(before, text[1:]))
    assert pairs(packed_of(trajectory, noisiest(trajectory), train_prompt=False)) == pairs(packed)[2:]


def test_students_start_at_the_first_wrong_token(make_trajectory) -> None:
    trajectory = make_trajectory(0, prompt=3, blocks=3, size=4)
    noisy = torch.stack([trajectory.states[0][0], trajectory.states[1][4], trajectory.states[2][2]])
    packed = packed_of(trajectory, noisy)
    assert packed.student.tolist() == [3, 4, 5, 6, 3 + 8 + 2, 3 + 8 + 3]
    assert packed.teacher.tolist() == [place + 12 for place in packed.student.tolist()]
    clean = packed_of(trajectory, noisy, mask="clean_context")
    assert clean.student.tolist() == [3, 4, 5, 3 + 8 + 2], "the published trainer leaves the last position out"


def test_strict_ends_at_the_first_end_token(make_trajectory) -> None:
    trajectory = make_trajectory(0, prompt=3, blocks=4, size=4)
    trajectory.clean[1, 1] = trajectory.clean[2, 0] = STOP
    noisy = noisiest(trajectory)
    packed = packed_of(trajectory, noisy)
    assert packed.blocks == 2
    assert packed.ids[3 + 4 :][:4].tolist() == [*noisy[1, :2].tolist(), PAD, PAD]
    assert packed.ids[-4:].tolist() == [trajectory.clean[1, 0], STOP, PAD, PAD]
    assert packed.labels.tolist()[-1] == STOP
    assert len(packed.labels) == 2 + 6
    # Place 5 of the text is the end token: students are those that predict places 1 to 5.
    assert packed.student.tolist() == [3, 4, 5, 6, 7]


def test_strict_end_at_the_last_place_of_a_block_leaves_no_student_behind_it(make_trajectory) -> None:
    trajectory = make_trajectory(0, prompt=2, blocks=2, size=3)
    trajectory.clean[0, 2] = STOP
    packed = packed_of(trajectory, noisiest(trajectory))
    assert packed.blocks == 1
    assert packed.student.tolist() == [2, 3]


def test_reference_pads_the_last_block_and_trains_later_ones(make_trajectory) -> None:
    trajectory = make_trajectory(0, prompt=2, blocks=3, size=4)
    trajectory.clean[0, 1] = trajectory.clean[2, 1] = STOP
    noisy = noisiest(trajectory)
    packed = packed_of(trajectory, noisy, eos_policy="reference")
    text = trajectory.clean.flatten().tolist()
    assert packed.blocks == 3
    assert torch.equal(packed.ids[2:14], noisy.flatten()), "the noisy copy stays"
    assert packed.ids[14:].tolist() == [*text[:10], PAD, PAD]
    places = [0, 1, *range(4, 8), 8, 9]
    assert packed.labels.tolist() == [int(trajectory.prompt[1]), *(text[place] for place in places)]
    assert packed.student.tolist() == list(range(2, 14)), "the consistency loss runs on behind the end"


def test_joined_samples_are_documents_of_one_row(make_trajectory) -> None:
    singles = [packed_of(t, noisiest(t)) for t in (make_trajectory(0), make_trajectory(1, prompt=2, blocks=2))]
    row = join(singles, PAD)
    assert row["document"].bincount().tolist() == [len(one.ids) for one in singles]
    at = len(singles[0].ids)
    for name in ("rows", "student", "teacher"):
        assert row[name].tolist() == [
            *getattr(singles[0], name).tolist(),
            *(getattr(singles[1], name) + at).tolist(),
        ]
    empty = join([], PAD)
    assert len(empty["ids"]) == 1
    assert len(empty["rows"]) == len(empty["student"]) == 0


def test_a_published_file_of_packed_sequences_has_blocks_of_one_size(tmp_path):
    def record(size):
        return {
            "complete_training_sequence_ids": [1, 2, *range(4 * size)],
            "prompt_ids_len": 2,
            "traj_position_indices": [0, 1],
        }

    path = tmp_path / "packed.jsonl"
    path.write_text("\n".join(json.dumps(record(3)) for _ in range(2)))
    read = PublishedTrajectories(path)
    assert (len(read), read.block_size) == (2, 3)
    assert read[1].prompt.tolist() == [1, 2]
    path.write_text("\n".join(json.dumps(record(size)) for size in (3, 3, 4)))
    with pytest.raises(DataError, match="number 3 has blocks of 4 and those before it have blocks of 3"):
        PublishedTrajectories(path)
