"""Codebooks with what is hard about them, and float64 results of `nearest_code`."""

import torch
from ar_kernels import nearest_code
from ar_kernels.nearest_code.reference import reference
from comparing import close, poisoned, repeatable
from torch import Tensor

METRICS = ("euclidean", "cosine")
FURTHER = {"torch": 1e-12, "triton": 1e-5}
"""By what ratio the chosen code may be further away than the nearest, by what difference its cosine may be smaller."""
SCORE = {torch.float64: 1e-12, torch.float32: 2e-6}


def codes_and_rows(size: tuple[int, int, int], dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Rows [N, C] and a codebook [V, C] with a code of zeros and codes twice; every other row is a code itself."""
    rows, vocabulary, width = size
    generator = torch.Generator().manual_seed(rows * 6271 + vocabulary)
    codebook = torch.randn(vocabulary, width, generator=generator)
    codebook[vocabulary // 2] = 0
    codebook[-1] = codebook[vocabulary // 3]
    x = torch.randn(rows, width, generator=generator)
    x[::2] = codebook[torch.randint(vocabulary, (len(x[::2]),), generator=generator)]
    return x.to(device, dtype), codebook.to(device, dtype)


def compare(size: tuple[int, int, int], dtype: torch.dtype, implementation: str, device: str) -> None:
    """Both metrics against the float64 reference, memory poisoned."""
    x, codebook = codes_and_rows(size, dtype, device)
    for metric in METRICS:
        with poisoned():
            ids, score = nearest_code(x, codebook, metric=metric, with_score=True, implementation=implementation)
        expected, best = reference(x.double(), codebook.double(), metric=metric)
        assert ids.dtype == torch.int64
        assert score.dtype == torch.promote_types(dtype, torch.float32)
        near_enough(ids, x, codebook, metric, implementation)
        close(score + 1, best + 1, SCORE[score.dtype], f"{metric} score")
        if implementation == "torch":
            assert torch.equal(ids, expected)
        if metric == "euclidean":
            # Rows that are codes: the distance is 0 and, of equal codes, the lowest id is right.
            assert torch.equal(ids[::2], expected[::2])
            assert not score[::2].any()


def near_enough(ids: Tensor, x: Tensor, codebook: Tensor, metric: str, implementation: str) -> None:
    """Fail where a chosen code is further than `FURTHER` allows, in float64."""
    best = reference(x.double(), codebook.double(), metric=metric)[1]
    pairs = zip(x.double().split(1), codebook.double()[ids].split(1), strict=True)
    chosen = torch.cat([reference(*pair, metric=metric)[1] for pair in pairs])
    most = FURTHER[implementation]
    right = chosen >= best - most if metric == "cosine" else chosen <= best * (1 + most)
    assert right.all(), f"{metric}: {int((~right).sum())} of {len(ids)} codes are further than {most:.0e} allows"


def compare_far_from_the_origin(implementation: str, device: str) -> None:
    """Codes that are near to each other: the usual formula takes wrong ones."""
    generator = torch.Generator().manual_seed(0)
    codebook = (100 + 1e-2 * torch.randn(300, 16, generator=generator)).to(device)
    x = (100 + 1e-2 * torch.randn(64, 16, generator=generator)).to(device)
    usual = (x.square().sum(1, keepdim=True) + codebook.square().sum(1) - 2 * x @ codebook.T).argmin(1)
    assert (usual != reference(x.double(), codebook.double())[0]).any()
    near_enough(nearest_code(x, codebook, implementation=implementation), x, codebook, "euclidean", implementation)


def compare_what_is_no_number(implementation: str, device: str) -> None:
    """Ids and scores are those of the reference; sound rows and codes are as ever."""
    for metric in METRICS:
        for vocabulary in (1, 5, 300):
            x, codebook = codes_and_rows((9, vocabulary, 4), torch.float32, device)
            x[1, 0], x[2], x[3, 1], x[4, 3], x[5] = torch.nan, torch.nan, torch.inf, -torch.inf, 1e30
            codes = codebook.clone()
            codes[0, 2], codes[-1, 0] = torch.nan, torch.inf
            for given in (codebook, codes):
                ids, score = nearest_code(x, given, metric=metric, with_score=True, implementation=implementation)
                expected, best = reference(x.double(), given.double(), metric=metric)
                # Distances of 1e30 have no square in float32.
                beyond = best > 1e38
                assert torch.equal(ids, expected.masked_fill(beyond, 0))
                best = best.masked_fill(beyond, torch.nan).float()
                torch.testing.assert_close(score, best, equal_nan=True, rtol=1e-5, atol=1e-5)
                assert score[1:5].isnan().all()
                assert not ids[1:5].any()
            assert score[6:].isnan().all() == (vocabulary == 1)


def compare_ties(implementation: str, device: str) -> None:
    """Exact ties, across codes that are looked at together and in turn: the lowest id wins; zeros have cosine 0 with all."""
    codebook = torch.ones(1000, 3, device=device)
    codebook[:7] = -1
    for metric in METRICS:
        found = nearest_code(torch.ones(5, 3, device=device), codebook, metric=metric, implementation=implementation)
        assert found.tolist() == [7] * 5
    around = torch.cat([torch.eye(40, device=device), -torch.eye(40, device=device)])
    for metric, best in zip(METRICS, (1.0, 0.0)):
        x = torch.zeros(3, 40, device=device)
        ids, score = nearest_code(x, around, metric=metric, with_score=True, implementation=implementation)
        assert ids.tolist() == [0] * 3
        assert score.tolist() == [best] * 3
    # A code of zeros is nearer, by cosine, than any that points the other way.
    codebook = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [-1.0, 0.1]], device=device)
    assert nearest_code(-codebook[:1], codebook, metric="cosine", implementation=implementation).tolist() == [1]


def compare_runs(implementation: str, device: str) -> None:
    """Two runs, in several pieces and parts."""
    for size in ((1, 4099, 30), (5, 300, 17), (130, 1029, 31)):
        x, codebook = codes_and_rows(size, torch.float32, device)
        for metric in METRICS:
            repeatable(
                lambda x=x, codebook=codebook, metric=metric: nearest_code(
                    x, codebook, metric=metric, with_score=True, implementation=implementation
                )
            )


def compile_whole(implementation: str, device: str) -> None:
    """Inside `torch.compile` in one graph; and what `torch.library` asks of an op."""
    x, codebook = codes_and_rows((6, 20, 4), torch.float32, device)
    for cosine in (False, True):
        torch.library.opcheck(
            torch.ops.ar_kernels.nearest_code.default, (x, codebook, cosine, implementation == "triton")
        )

    def both(x: Tensor, codebook: Tensor) -> tuple[Tensor, ...]:
        return (
            nearest_code(x, codebook, implementation=implementation),
            *nearest_code(x, codebook, metric="cosine", with_score=True, implementation=implementation),
        )

    found = torch.compile(both, fullgraph=True, backend="aot_eager")(x, codebook)
    assert all(torch.equal(one, other) for one, other in zip(found, both(x, codebook), strict=True))
    # As in training: what the caller makes of the code has a gradient, the choice has none.
    x.requires_grad_()
    codebook.requires_grad_()
    ids, score = nearest_code(x, codebook, with_score=True, implementation=implementation)
    assert not score.requires_grad
    (x - codebook[ids]).square().sum().backward()
    assert x.grad is not None
    assert codebook.grad is not None
