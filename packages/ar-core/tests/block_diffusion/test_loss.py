"""Targets and their cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from ar_core.block_diffusion import (
    Targets,
    block_diffusion_layout,
    block_grid,
    next_token_targets,
    select_targets,
    summed_cross_entropy,
)
from ar_core.linear_head import LinearHead
from ar_kernels import selected_cross_entropy

VOCAB, WIDTH = 13, 6


def batch_of(seed: int, *, rows: int = 2, length: int = 11) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(VOCAB, (rows, length), generator=generator)
    labels[torch.rand(rows, length, generator=generator) < 0.3] = -100
    first = (torch.rand(rows, length, generator=generator) < 0.5) & (labels >= 0)
    return labels, first, ~first & (labels >= 0)


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
@pytest.mark.parametrize("seed", range(3))
def test_shifted_targets_are_those_of_the_plain_loss(arrangement, seed: int) -> None:
    """Oracle 7 on the selection: a one-step shift over each view with -100 elsewhere."""
    labels, *views = batch_of(seed)
    layout = block_diffusion_layout(block_grid(11, 4), arrangement=arrangement)
    targets = select_targets(layout, views, labels)
    logits = torch.randn(*layout.sequence(views, labels).shape, VOCAB, generator=torch.Generator().manual_seed(seed))
    streams = (
        [logits[:, :11], logits[:, 11:22]] if arrangement == "shared" else [part[:, :11] for part in logits.chunk(2)]
    )
    plain = sum(
        F.cross_entropy(
            stream[:, :-1].flatten(0, 1), labels.where(view, -100)[:, 1:].flatten(), reduction="sum", ignore_index=-100
        )
        for stream, view in zip(streams, views)
    )
    ours = F.cross_entropy(logits.flatten(0, 1)[targets.rows], targets.labels, reduction="sum")
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4)
    assert len(targets) == (labels[:, 1:] >= 0).sum()


def test_without_shift_a_row_predicts_itself() -> None:
    labels, first, _ = batch_of(0)
    layout = block_diffusion_layout(block_grid(11, 4), num_views=1)
    targets = select_targets(layout, [first], labels, shift=False)
    batch, index = first.nonzero(as_tuple=True)
    assert torch.equal(targets.rows, batch * 22 + index)
    assert torch.equal(targets.labels, labels[first])


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
def test_clean_block_firsts_come_once_and_from_the_clean_stream(arrangement) -> None:
    labels = torch.arange(9)[None]
    grid = block_grid(9, 3)
    layout = block_diffusion_layout(grid, arrangement=arrangement)
    inside = ~grid.firsts[None]
    targets = select_targets(layout, [inside, torch.zeros_like(inside)], labels, block_first="clean")
    clean_start = 18 if arrangement == "shared" else 9
    assert targets.labels.tolist() == [1, 2, 4, 5, 7, 8, 3, 6]
    assert targets.rows.tolist() == [0, 1, 3, 4, 6, 7, clean_start + 2, clean_start + 5]


@pytest.mark.parametrize("restart", [True, False])
def test_first_tokens_of_documents_are_no_targets(restart: bool) -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 1]])
    labels = torch.arange(6)[None]
    everything = torch.ones(1, 6, dtype=torch.bool)
    grid = block_grid(6, 3, documents, restart_positions=restart)
    apart = block_diffusion_layout(grid, num_views=1, documents=documents)
    assert select_targets(apart, [everything], labels).labels.tolist() == [1, 2, 4, 5]
    together = block_diffusion_layout(block_grid(6, 3), num_views=1)
    assert select_targets(together, [everything], labels).labels.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "max_logits", [1, 2 * VOCAB, 5 * VOCAB + 1, None], ids=["1-row", "2-rows", "5-rows", "default"]
)
def test_chunked_loss_and_gradients_equal_the_plain_ones(max_logits: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 10, WIDTH, generator=generator, requires_grad=True)
    weight = torch.randn(VOCAB, WIDTH, generator=generator, requires_grad=True)
    targets = Targets(
        rows=torch.randint(20, (17,), generator=generator), labels=torch.randint(VOCAB, (17,), generator=generator)
    )
    plain = F.cross_entropy(F.linear(hidden.flatten(0, 1)[targets.rows], weight), targets.labels, reduction="sum")
    expected = torch.autograd.grad(plain, (hidden, weight))
    held = []

    def head(rows: torch.Tensor) -> torch.Tensor:
        held.append(len(rows) * VOCAB)
        return F.linear(rows, weight)

    ours = summed_cross_entropy(hidden, targets, head, vocab_size=VOCAB, max_logits=max_logits)
    gradients = torch.autograd.grad(ours, (hidden, weight))
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0)
    for got, wanted in zip(gradients, expected):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert max(held) <= max(max_logits, VOCAB) if max_logits is not None else held == [17 * VOCAB]


@pytest.mark.parametrize("max_logits", [2 * VOCAB, 2**26], ids=["2-rows", "whole"])
def test_weighted_loss_and_gradients_equal_the_plain_ones(max_logits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 10, WIDTH, generator=generator, requires_grad=True)
    weight = torch.randn(VOCAB, WIDTH, generator=generator, requires_grad=True)
    targets = Targets(
        rows=torch.randint(20, (17,), generator=generator),
        labels=torch.randint(VOCAB, (17,), generator=generator),
        weights=torch.rand(17, generator=generator) * 5,
    )
    logits = F.linear(hidden.flatten(0, 1)[targets.rows], weight)
    plain = sum(w * F.cross_entropy(row, label) for w, row, label in zip(targets.weights, logits, targets.labels))
    expected = torch.autograd.grad(plain, (hidden, weight))
    ours = summed_cross_entropy(
        hidden, targets, lambda rows: F.linear(rows, weight), vocab_size=VOCAB, max_logits=max_logits
    )
    gradients = torch.autograd.grad(ours, (hidden, weight))
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0)
    for got, wanted in zip(gradients, expected):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
def test_weights_go_with_their_targets(arrangement) -> None:
    labels, *views = batch_of(0)
    layout = block_diffusion_layout(block_grid(11, 4), arrangement=arrangement)
    # A weight that names view, row and column.
    names = torch.arange(labels.numel()).view_as(labels).float()
    targets = select_targets(layout, views, labels, shift=False, weights=[names, names + 1000])
    expected = torch.cat([names[views[0]], names[views[1]] + 1000])
    assert torch.equal(targets.weights, expected)
    firsts = select_targets(layout, views, labels, block_first="clean", weights=[names, names + 1000])
    from_clean = int(((labels >= 0) & layout.grid.firsts & ~layout.starts).sum())
    assert (firsts.weights[-from_clean:] == 1).all()
    assert len(firsts.weights) == len(firsts)


@pytest.mark.parametrize("num_views", [0, 1])
def test_next_token_targets_are_those_of_the_clean_stream(num_views: int) -> None:
    labels, *_ = batch_of(2)
    documents = torch.tensor([[0] * 5 + [1] * 6, [0] * 11])
    layout = block_diffusion_layout(block_grid(11, 4, documents), num_views=num_views, documents=documents)
    targets = next_token_targets(layout, labels)
    width, offset = 11 * (num_views + 1), 11 * num_views
    expected = [
        (row * width + offset + i - 1, int(labels[row, i]))
        for row in range(2)
        for i in range(1, 11)
        if labels[row, i] >= 0 and not (row == 0 and i == 5)
    ]
    assert list(zip(targets.rows.tolist(), targets.labels.tolist(), strict=True)) == expected


def test_gradients_are_exact_in_double_precision() -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = Targets(rows=torch.tensor([0, 3, 3, 6]), labels=torch.tensor([4, 0, 1, 2]))

    def loss(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return summed_cross_entropy(hidden, targets, lambda rows: F.linear(rows, weight), vocab_size=5, max_logits=5)

    assert loss(hidden, weight).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (hidden, weight))


@pytest.mark.parametrize("settings", [{}, {"scale": 0.3}, {"scale": 2.0, "cap": 4.0}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_head_that_is_a_matrix_gives_the_loss_of_one_that_is_called(settings, weighted) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 10, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCAB, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = Targets(
        rows=torch.randint(20, (17,), generator=generator),
        labels=torch.randint(VOCAB, (17,), generator=generator),
        weights=torch.rand(17, generator=generator) if weighted else None,
    )
    head = LinearHead(weight, **settings)
    of = (hidden, weight)
    losses = [
        summed_cross_entropy(hidden, targets, one, vocab_size=VOCAB, max_logits=40) for one in (head, head.__call__)
    ]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
    for got, wanted in zip(*(torch.autograd.grad(loss * 0.3, of) for loss in losses), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("given", [None, 40])
def test_a_matrix_leaves_the_size_of_chunks_to_the_op_unless_one_is_given(monkeypatch, given) -> None:
    seen = []

    def op(*operands, max_logits, **settings):
        seen.append(max_logits)
        return selected_cross_entropy(*operands, max_logits=max_logits, **settings)

    monkeypatch.setattr("ar_core.block_diffusion.loss.selected_cross_entropy", op)
    targets = Targets(rows=torch.arange(9), labels=torch.arange(9) % VOCAB)
    head = LinearHead(torch.zeros(VOCAB, WIDTH))
    loss = summed_cross_entropy(torch.zeros(1, 10, WIDTH), targets, head, vocab_size=VOCAB, max_logits=given)
    assert loss.item() == pytest.approx(9 * math.log(VOCAB))
    assert seen == [given]


def test_a_matrix_under_autocast_is_multiplied_as_a_module_is() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 10, WIDTH, generator=generator, requires_grad=True)
    projection = torch.nn.Linear(WIDTH, VOCAB, bias=False)
    targets = Targets(rows=torch.arange(9), labels=torch.arange(9) % VOCAB)
    of = (hidden, projection.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [
            summed_cross_entropy(hidden, targets, head, vocab_size=VOCAB)
            for head in (LinearHead(projection.weight), projection)
        ]
    torch.testing.assert_close(*losses)
    assert losses[0].dtype == torch.float32
    for got, wanted in zip(*(torch.autograd.grad(loss, of) for loss in losses), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=2e-2, atol=2e-3)


def test_half_precision_is_summed_in_float32() -> None:
    hidden = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    weight = torch.randn(VOCAB, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    targets = Targets(rows=torch.arange(4), labels=torch.arange(4))
    loss = summed_cross_entropy(hidden, targets, lambda rows: F.linear(rows, weight), vocab_size=VOCAB)
    assert loss.dtype == torch.float32
    expected = F.cross_entropy(F.linear(hidden[0], weight).float(), targets.labels, reduction="sum")
    assert torch.equal(loss, expected)


def test_no_targets_give_zero_loss_and_zero_gradients() -> None:
    hidden = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(VOCAB, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    nothing = Targets(rows=torch.empty(0, dtype=torch.int64), labels=torch.empty(0, dtype=torch.int64))
    loss = summed_cross_entropy(hidden, nothing, lambda rows: F.linear(rows, weight), vocab_size=VOCAB)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None
    assert weight.grad is not None
    assert not hidden.grad.any()
    assert not weight.grad.any()
