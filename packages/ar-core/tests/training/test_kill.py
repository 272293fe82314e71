import random

import pytest


@pytest.fixture(scope="module")
def run(toy):
    def run(directory):
        settings = {"steps": 9, "checkpoint_every_steps": 4, "keep": 1, "ema": 0.9, "warmup_steps": 3}
        toy.train(toy.job(model=toy.model(dropout=0.2)), toy.config(directory, **settings))

    return run


@pytest.fixture(scope="module")
def whole(kills, run, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    seconds = kills.uninterrupted(run, directory)
    return kills.state(directory), seconds


def test_killed_at_ten_random_moments_of_one_run(kills, toy, tmp_path):
    def long_run(directory):
        settings = {"steps": 400, "checkpoint_every_steps": 20, "keep": 1, "ema": 0.9, "warmup_steps": 3}
        toy.train(toy.job(model=toy.model(dropout=0.2)), toy.config(directory, **settings))

    seconds = kills.uninterrupted(long_run, tmp_path / "whole")
    moments, killed = random.Random(5), tmp_path / "killed"
    # Short enough that ten shots leave some of the run to do.
    hits = sum(kills.killed_after(long_run, killed, moments.uniform(0.02, 0.16) * seconds) for _ in range(10))
    kills.uninterrupted(long_run, killed)
    assert kills.state(killed) == kills.state(tmp_path / "whole")
    # A machine that gets quieter than it was while the run was timed finishes it before the last shots.
    assert hits >= 5


def test_killed_at_one_random_moment_of_each_of_ten_runs(kills, run, whole, tmp_path):
    expected, seconds = whole
    moments = random.Random(6)
    for case in range(10):
        kills.killed_after(run, tmp_path / str(case), moments.uniform(0.2, 1) * seconds)
        kills.uninterrupted(run, tmp_path / str(case))
        assert kills.state(tmp_path / str(case)) == expected


def test_killed_at_every_write_boundary_and_again_on_the_way_back(kills, run, whole, tmp_path):
    expected = whole[0]
    boundary = 0
    while kills.killed_at(run, tmp_path / str(boundary), boundary):
        kills.killed_at(run, tmp_path / str(boundary), boundary // 2)
        kills.uninterrupted(run, tmp_path / str(boundary))
        assert kills.state(tmp_path / str(boundary)) == expected, f"boundary {boundary}"
        boundary += 1
    assert boundary > 100
