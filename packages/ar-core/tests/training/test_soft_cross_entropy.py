"""Cross-entropy against another position's prediction: value, gradient, chunks."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.linear_head import LinearHead
from ar_core.training import summed_soft_cross_entropy
from ar_kernels import selected_soft_cross_entropy

VOCAB = 11


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 9, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(6, VOCAB, bias=False).double()
    with torch.no_grad():
        head.weight.copy_(torch.randn(VOCAB, 6, generator=generator))
    student, teacher = torch.tensor([0, 3, 3, 17, 8]), torch.tensor([1, 0, 16, 4, 4])
    weights = torch.rand(5, generator=generator)
    return hidden, head, student, teacher, weights


def plain(hidden, head, student, teacher, weights, temperature):
    """The formula over full probability vectors, and the entropies."""
    logits = head(hidden.flatten(0, 1)) / temperature
    wanted = logits[teacher].softmax(-1).detach()
    cross = F.cross_entropy(logits[student], wanted, reduction="none")
    entropy = -(wanted * wanted.log()).sum(-1)
    return (weights * cross).sum(), (weights * (cross - entropy)).sum()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("max_logits", [None, 1, 2 * 2 * VOCAB])
def test_value_and_gradient_of_the_formula_in_any_chunks(case, temperature, max_logits) -> None:
    hidden, head, *rest = case
    found = summed_soft_cross_entropy(
        hidden, *rest, head, vocab_size=VOCAB, temperature=temperature, max_logits=max_logits
    )
    wanted = plain(hidden, head, *rest, temperature)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    got = torch.autograd.grad(found[0], [hidden, head.weight])
    expected = torch.autograd.grad(wanted[0], [hidden, head.weight])
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert not got[0].flatten(0, 1)[1].any(), "a place that only teaches gets no gradient"
    assert not found[1].requires_grad


@pytest.mark.parametrize("settings", [{}, {"scale": 0.3}, {"scale": 2.0, "cap": 3.0}], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_head_that_is_a_matrix_gives_the_loss_of_one_that_is_called(case, settings, temperature) -> None:
    hidden, head, *rest = case
    matrix = LinearHead(head.weight, **settings)
    found, wanted = (
        summed_soft_cross_entropy(hidden, *rest, one, vocab_size=VOCAB, temperature=temperature, max_logits=50)
        for one in (matrix, matrix.__call__)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    of = [hidden, head.weight]
    for got, expected in zip(torch.autograd.grad(found[0], of), torch.autograd.grad(wanted[0], of), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    assert not found[1].requires_grad


@pytest.mark.parametrize(("given", "of_a_side"), [(None, None), (50, 25), (1, 1)])
def test_a_matrix_leaves_the_size_of_chunks_to_the_op_unless_one_is_given(case, monkeypatch, given, of_a_side) -> None:
    hidden, head, *rest = case
    seen = []

    def op(*operands, max_logits, **settings):
        seen.append(max_logits)
        return selected_soft_cross_entropy(*operands, max_logits=max_logits, **settings)

    monkeypatch.setattr("ar_core.training.soft_cross_entropy.selected_soft_cross_entropy", op)
    summed_soft_cross_entropy(hidden, *rest, LinearHead(head.weight), vocab_size=VOCAB, max_logits=given)
    assert seen == [of_a_side]


@pytest.mark.parametrize("max_logits", [2 * VOCAB, 4 * VOCAB, 7 * VOCAB, 2**26])
def test_students_and_teachers_together_stay_within_the_limit(case, max_logits) -> None:
    hidden, head, *rest = case
    sizes = []

    def counted(rows):
        logits = head(rows)
        sizes.append(logits.numel())
        return logits

    cross, _ = summed_soft_cross_entropy(hidden, *rest, counted, vocab_size=VOCAB, max_logits=max_logits)
    cross.backward()
    assert 2 * max(sizes) <= max_logits


def test_equal_predictions_leave_the_entropy(case) -> None:
    """Jacobi Forcing, oracle 12: H is the teacher's entropy and KL is 0."""
    hidden, head, student, _, weights = case
    cross, divergence = summed_soft_cross_entropy(hidden, student, student, weights, head, vocab_size=VOCAB)
    probabilities = head(hidden.flatten(0, 1)[student]).softmax(-1)
    entropy = -(probabilities * probabilities.log()).sum(-1)
    assert cross.item() == pytest.approx((weights * entropy).sum().item(), abs=1e-6)
    assert divergence.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(cross, hidden)[0].abs().max() < 1e-12


def test_no_pairs_are_zero_and_part_of_the_graph(case) -> None:
    hidden, head, student, teacher, weights = case
    cross, divergence = summed_soft_cross_entropy(hidden, student[:0], teacher[:0], weights[:0], head, vocab_size=VOCAB)
    assert cross.item() == divergence.item() == 0
    cross.backward()
    assert not hidden.grad.any()


def test_half_precision_is_summed_in_float32(case) -> None:
    hidden, head, *rest = case
    cross, _ = summed_soft_cross_entropy(hidden.bfloat16(), *rest, head.bfloat16(), vocab_size=VOCAB)
    assert cross.dtype == torch.float32
