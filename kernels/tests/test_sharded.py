"""A head that is split by ids over processes: the same loss and gradients as the whole one."""

import pytest
import torch
import torch.multiprocessing as multiprocessing
from ar_kernels import selected_cross_entropy
from cross_entropy_cases import Case, case
from sharded_rank import SIZES, WORLD, part, run_rank


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with multiprocessing.Manager() as manager:
        found = manager.dict()
        store = tmp_path_factory.mktemp("store") / "file"
        multiprocessing.spawn(run_rank, (str(store), found), nprocs=WORLD)
        yield dict(found)


@pytest.mark.parametrize("number", range(len(SIZES)), ids=lambda number: "x".join(map(str, SIZES[number])))
def test_a_split_head_is_the_whole_head(results, number):
    given: Case = case(*SIZES[number], torch.float64)
    whole = selected_cross_entropy(
        given.hidden, given.weight, given.rows, given.labels, given.weights, scale=0.7, cap=4.0
    )
    of_hidden, of_weight = torch.autograd.grad(whole * 0.3, (given.hidden, given.weight))
    for rank in range(WORLD):
        loss, hidden, weight = (torch.tensor(one, dtype=torch.float64) for one in results[rank, number])
        first, last = part(SIZES[number][1], rank)
        assert torch.allclose(loss, whole, rtol=1e-12)
        assert torch.allclose(hidden.reshape(of_hidden.shape), of_hidden, atol=1e-12)
        assert torch.allclose(weight, of_weight[first:last], atol=1e-12)
