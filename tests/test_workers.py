"""The workers of one test run share the cores."""

import os

import pytest
import torch


def test_workers_share_the_cores():
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    if not workers:
        pytest.skip("this run has no workers: start it with -n 2")
    cores = os.cpu_count() or 1
    assert torch.get_num_threads() == max(1, cores // workers), (
        "threads that wait for each other: each pass takes 5 times as long"
    )
