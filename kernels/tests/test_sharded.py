"""A head that is split by ids over processes: the loss and gradients of the whole one in float64."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from ar_kernels import sharded_selected_cross_entropy
from ar_kernels.selected_cross_entropy import reference
from comparing import close
from cross_entropy_cases import TOLERANCES, case
from sharded_rank import CASES, WORLD, part, run_rank, settings_of


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each rank found; each has also seen that two runs are equal."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(run_rank, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=lambda number: f"{CASES[number][0]}-{'x'.join(map(str, CASES[number][1]))}"[6:]
)
def test_a_split_head_is_the_whole_head(results, number):
    dtype, size = CASES[number]
    given = case(*size, dtype)
    wide = [one.detach().double().requires_grad_() for one in (given.hidden, given.weight)]
    wanted = reference.hard(*wide, given.rows, given.labels, given.weights, **settings_of(size))
    of_hidden, of_weight = torch.autograd.grad(wanted * 0.3, wide)
    most = TOLERANCES[dtype]
    for rank in range(WORLD):
        loss, hidden, weight = results[rank][number]
        first, last = part(size[1], rank)
        assert hidden.dtype == weight.dtype == dtype
        close(loss, wanted, most, "loss")
        for name, found, expected in (("hidden", hidden, of_hidden), ("weight", weight, of_weight[first:last])):
            if expected.abs().max() > 1e-12:
                close(found, expected, 3 * most, f"gradient of {name} on rank {rank}")
            else:
                assert not found.any()


@pytest.fixture
def alone(tmp_path):
    """A group of one process, this one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_torch_library_checks_and_compilation(alone):
    given = case(9, 31, 6, torch.float32)
    arguments = (given.hidden, given.weight, given.rows, given.labels, given.weights)
    torch.library.opcheck(
        torch.ops.ar_kernels.sharded_selected_cross_entropy.default,
        (*arguments, 0, alone.group_name, 1.0, None, 90, True, True),
    )
    for group in (None, alone):
        compiled = torch.compile(sharded_selected_cross_entropy, backend="aot_eager", fullgraph=True)
        losses = [op(*arguments, first=0, group=group) for op in (compiled, sharded_selected_cross_entropy)]
        assert torch.equal(*losses)
        found, expected = (torch.autograd.grad(loss * 0.3, arguments[:2]) for loss in losses)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_ids_outside_of_the_whole_head_are_refused(alone):
    given = case(4, 9, 5, torch.float32)
    good = {"hidden": given.hidden, "weight": given.weight, "rows": given.rows, "labels": given.labels, "first": 0}
    for changed, message in (
        ({"labels": given.labels + 9}, "labels lie between .* and must lie between 0 and 8"),
        ({"labels": torch.full((4,), -100)}, "labels lie between -100 and -100 and must lie between 0 and 8"),
        ({"rows": given.rows + 7}, "rows lie between .* and must lie between 0 and 6"),
    ):
        with pytest.raises(ValueError, match=message):
            sharded_selected_cross_entropy(**{**good, **changed})
    # Ids that a rank has not are another's.
    with pytest.raises(ValueError, match="must lie between 0 and 99"):
        sharded_selected_cross_entropy(**{**good, "first": 91, "labels": given.labels + 100})


def test_what_cannot_be_computed_is_named():
    given = case(4, 9, 5, torch.float32)
    good = {"hidden": given.hidden, "weight": given.weight, "rows": given.rows, "labels": given.labels, "first": 0}
    for changed, message in (
        ({}, "there are no processes to share a head: call init_process_group, or selected_cross_entropy"),
        ({"labels": given.labels[:3]}, r"must be int64 \(4,\), one for each row"),
    ):
        with pytest.raises(ValueError, match=message):
            sharded_selected_cross_entropy(**{**good, **changed})
