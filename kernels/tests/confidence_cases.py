"""Inputs and float64 results of both forms of `confidence`."""

import torch
from ar_kernels import Confidence, confidence, confidence_from_hidden
from ar_kernels.confidence.reference import reference
from comparing import close, poisoned, repeatable
from torch import Tensor

PROBABILITY, ENTROPY = {torch.float64: 1e-12, torch.float32: 3e-6}, {torch.float64: 1e-11, torch.float32: 1e-5}
GRADIENT = {torch.float64: 1e-12, torch.float32: 1e-5}


def compare_logits(rows: int, vocabulary: int, dtype: torch.dtype, implementation: str, device: str) -> None:
    """The op on logits against the float64 reference, with some ids banned and a temperature, memory poisoned."""
    generator = torch.Generator().manual_seed(rows * 7919 + vocabulary)
    logits = (4 * torch.randn(rows, vocabulary, generator=generator)).to(device, dtype)
    banned = tuple(torch.randperm(vocabulary, generator=generator)[: min(3, vocabulary - 1)].tolist())
    for options in ({}, {"temperature": 0.6, "banned_ids": banned}):
        with poisoned():
            found = confidence(logits, **options, implementation=implementation)
        _same(found, reference(logits.double(), **options), dtype)


def compare_gradients(rows: int, vocabulary: int, dtype: torch.dtype, implementation: str, device: str) -> None:
    """Gradients through all three numbers against those of the float64 reference, memory poisoned."""
    generator = torch.Generator().manual_seed(rows * 7919 + vocabulary)
    logits = (4 * torch.randn(rows, vocabulary, generator=generator)).to(device, dtype).requires_grad_()
    wide = logits.detach().double().requires_grad_()
    slopes = torch.randn(3, rows, generator=generator, dtype=torch.float64).to(device)
    options = {"temperature": 0.6, "banned_ids": (vocabulary // 2,) if vocabulary > 1 else ()}

    def of(result, leaf: Tensor) -> Tensor:
        return torch.autograd.grad(sum((slope.to(one) * one).sum() for slope, one in zip(slopes, result[1:])), leaf)[0]

    with poisoned():
        found = of(confidence(logits, **options, implementation=implementation), logits)
    expected = of(reference(wide, **options), wide)
    assert found.dtype == dtype
    # Two ids left: the margin is constant but for rounding. One: everything is, and so is every gradient 0.
    if expected.abs().max() > 1e-12:
        close(found, expected, GRADIENT[dtype], "gradient of logits")
    else:
        assert found.abs().max() < GRADIENT[dtype]


def compare_runs(implementation: str, device: str) -> None:
    """Two runs of both forms, and of the gradients of the first, in several parts and tiles."""
    for rows, vocabulary, width in ((1, 4099, 30), (5, 300, 17), (33, 129, 31)):
        generator = torch.Generator().manual_seed(rows)
        logits, hidden, weight = (
            torch.randn(shape, generator=generator).to(device)
            for shape in ((rows, vocabulary), (rows, width), (vocabulary, width))
        )
        logits.requires_grad_()

        def run(logits=logits, hidden=hidden, weight=weight) -> tuple[Tensor, ...]:
            found = confidence(logits, banned_ids=(3,), implementation=implementation)
            of_logits = torch.autograd.grad(found.probability.sum() + found.entropy.square().sum(), logits)
            return (*found, *of_logits, *confidence_from_hidden(hidden, weight, cap=3.0, implementation=implementation))

        repeatable(run)


def compile_whole(implementation: str, device: str) -> None:
    """Both forms inside `torch.compile` in one graph, with gradients; and what `torch.library` asks of an op."""
    generator = torch.Generator().manual_seed(0)
    logits, hidden, weight = (
        torch.randn(shape, generator=generator).to(device) for shape in ((3, 20), (3, 4), (20, 4))
    )
    logits.requires_grad_()
    triton = implementation == "triton"
    # Its check of a compiled backward pass adds up all outputs in place, ids among them; compiled gradients are checked here.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.ar_kernels.confidence.default, (logits, 0.7, [2], triton), test_utils=checks)
    torch.library.opcheck(
        torch.ops.ar_kernels.confidence_from_hidden.default, (hidden, weight, 1.0, 5.0, 0.7, [2], triton)
    )

    def both(z: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        return (
            *confidence(z, implementation=implementation),
            *confidence_from_hidden(h, w, temperature=2.0, implementation=implementation),
        )

    found = torch.compile(both, fullgraph=True, backend="aot_eager")(logits, hidden, weight)
    expected = both(logits, hidden, weight)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    gradients = [torch.autograd.grad(x[1].sum() + 2 * x[2].sum(), logits)[0] for x in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


def compare_hidden(
    size: tuple[int, int, int], dtype: torch.dtype, implementation: str, device: str, **settings: float
) -> None:
    """The op on hidden states against the float64 reference of their logits."""
    rows, vocabulary, width = size
    generator = torch.Generator().manual_seed(rows * 6271 + vocabulary)
    hidden = torch.randn(rows, width, generator=generator).to(device, dtype)
    weight = (3 * torch.randn(vocabulary, width, generator=generator) / width**0.5).to(device, dtype)
    banned = (vocabulary // 2,) if vocabulary > 1 else ()
    with poisoned():
        found = confidence_from_hidden(
            hidden, weight, temperature=0.8, banned_ids=banned, implementation=implementation, **settings
        )
    z = hidden.double() @ weight.double().T * settings.get("scale", 1.0)
    cap = settings.get("cap")
    _same(found, reference(z if cap is None else torch.tanh(z / cap) * cap, temperature=0.8, banned_ids=banned), dtype)


def _same(found, expected, dtype: torch.dtype) -> None:
    # Two logits may be nearer to each other than the dtype can tell; then either may be called the best.
    clear = expected.margin > 1e-5
    assert torch.equal(found.token[clear], expected.token[clear])
    close(found.probability, expected.probability, PROBABILITY[dtype], "probability")
    close(found.entropy + 1, expected.entropy + 1, ENTROPY[dtype], "entropy")
    close(found.margin + 1, expected.margin + 1, PROBABILITY[dtype], "margin")


def compare_rows_that_are_no_numbers(implementation: str, device: str) -> None:
    """What a softmax gives of them, and never a probability in (0, 1]; other rows are as ever."""
    for vocabulary in (1, 3, 130):
        logits = torch.randn(7, vocabulary, generator=torch.Generator().manual_seed(0)).to(device)
        logits[1], logits[2], logits[3, 0], logits[4, -1], logits[5, 0] = (
            -torch.inf, torch.nan, torch.nan, torch.nan, torch.inf,
        )  # fmt: skip
        expected = reference(logits)
        # A head of one column, whose logits of a hidden state of 1 are that row's.
        from_hidden = [
            confidence_from_hidden(
                torch.ones(1, 1, device=device), row[:, None].contiguous(), implementation=implementation
            )
            for row in logits
        ]
        found = confidence(logits, implementation=implementation)
        for other in (found, Confidence(*map(torch.cat, zip(*from_hidden)))):
            assert other.token.min() >= 0
            assert other.token.max() < vocabulary
            for name in ("probability", "entropy", "margin"):
                one = getattr(other, name)
                assert one[1:6].isnan().all(), name
                torch.testing.assert_close(one, getattr(expected, name), equal_nan=True, atol=1e-5, rtol=1e-5)
            sound = (other.probability > 0) & (other.probability <= 1)
            assert sound.tolist() == [True, False, False, False, False, False, True]
