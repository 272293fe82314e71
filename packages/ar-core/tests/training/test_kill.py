import random

import pytest


@pytest.fixture(scope="module")
def runs(kills, toy):
    with kills.Runs(toy.__file__, "run", steps=9, checkpoint_every_steps=4) as runs:
        yield runs


@pytest.fixture(scope="module")
def whole(kills, runs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    seconds = runs.uninterrupted(directory)
    return kills.state(directory), seconds


def test_killed_at_ten_random_moments_of_one_run(kills, toy, tmp_path):
    with kills.Runs(toy.__file__, "run", steps=400, checkpoint_every_steps=20) as runs:
        seconds = runs.uninterrupted(tmp_path / "whole")
        moments, killed = random.Random(5), tmp_path / "killed"
        # Short enough that ten shots leave some of the run to do.
        hits = sum(runs.killed_after(killed, moments.uniform(0.02, 0.16) * seconds) for _ in range(10))
        runs.uninterrupted(killed)
    assert kills.state(killed) == kills.state(tmp_path / "whole")
    # A machine that gets quieter than it was while the run was timed finishes it before the last shots.
    assert hits >= 3


def test_killed_at_one_random_moment_of_each_of_ten_runs(kills, runs, whole, tmp_path):
    expected, seconds = whole
    moments = random.Random(6)
    for case in range(10):
        runs.killed_after(tmp_path / str(case), moments.uniform(0.2, 1) * seconds)
        runs.uninterrupted(tmp_path / str(case))
        assert kills.state(tmp_path / str(case)) == expected


def test_killed_at_every_write_boundary_and_again_on_the_way_back(kills, runs, whole, tmp_path):
    expected = whole[0]
    boundary = 0
    while runs.killed_at(tmp_path / str(boundary), boundary):
        runs.killed_at(tmp_path / str(boundary), boundary // 2)
        runs.uninterrupted(tmp_path / str(boundary))
        assert kills.state(tmp_path / str(boundary)) == expected, f"boundary {boundary}"
        boundary += 1
    assert boundary > 100


def test_killed_at_write_boundaries_of_checkpoints_that_a_thread_writes(kills, toy, whole, tmp_path):
    with kills.Runs(toy.__file__, "run", steps=9, checkpoint_every_steps=4, checkpoint_async=True) as runs:
        crossed = runs.boundaries(tmp_path / "counted")
        assert kills.state(tmp_path / "counted") == whole[0]
        for boundary in range(0, crossed, 7):
            assert runs.killed_at(tmp_path / str(boundary), boundary)
            runs.uninterrupted(tmp_path / str(boundary))
            assert kills.state(tmp_path / str(boundary)) == whole[0], f"boundary {boundary}"
