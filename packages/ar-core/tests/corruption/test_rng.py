import os
import subprocess
import sys

import torch
from ar_core.corruption import SampleRng


def test_known_values():
    # Recorded once; a change would silently alter the noise of every resumed run.
    assert SampleRng(3).key(0, "mask") == 5778558490568318037
    assert SampleRng(3, 1).key(0, "mask") == 986420044630173804
    assert torch.randint(0, 1000, (4,), generator=SampleRng(3).row(0, "mask")).tolist() == [996, 167, 861, 540]


def test_same_in_another_process_whatever_its_hash_seed():
    code = "from ar_core.corruption import SampleRng; print(SampleRng(7, 2).key(11, 'level'))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert int(done.stdout) == SampleRng(7, 2).key(11, "level")


def test_every_argument_matters_and_every_row_is_fresh():
    keys = {
        SampleRng(seed, epoch).key(index, stream)
        for seed in (0, 1, -1, 2**63)
        for epoch in (0, 1)
        for index in (0, 1, 10)
        for stream in ("mask", "level", "")
    }
    assert len(keys) == 4 * 2 * 3 * 3
    assert all(0 <= key < 2**63 for key in keys)
    rng = SampleRng(0)
    assert torch.equal(torch.rand(3, generator=rng.row(4, "a")), torch.rand(3, generator=rng.row(4, "a")))


def test_rows_of_neighbouring_samples_are_uniform_and_uncorrelated():
    rng = SampleRng(0)
    first = torch.stack([torch.rand(2, generator=rng.row(index, "mask")) for index in range(4000)])
    assert abs(first.mean().item() - 0.5) < 4 * (1 / 12 / 8000) ** 0.5
    neighbours = torch.corrcoef(torch.stack([first[:-1, 0], first[1:, 0]]))[0, 1]
    assert abs(neighbours.item()) < 4 / 4000**0.5


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=SampleRng(0).row(0, "mask"))
    assert torch.equal(before, torch.get_rng_state())
