"""The codebook's meter and the revival of its unused codes."""

import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.training import Ranks
from ar_vision.tokenizers.codebook import Codebook
from ar_vision.tokenizers.tokenizer_output import TokenizerOutput
from ar_vision.tokenizers.training.usage import (
    CodebookUsage,
    UsageConfig,
    perplexity,
    share_used,
    vectors_by_image,
)

V, DIM, BATCH, LENGTHS = 10, 3, 6, (1, 4)


def vectors_of(step):
    """[BATCH, L, DIM] of a step, all different, and codes below 4."""
    generator = torch.Generator().manual_seed(step)
    return (
        torch.randn(BATCH, sum(LENGTHS), DIM, generator=generator),
        torch.randint(4, (BATCH, sum(LENGTHS)), generator=generator),
    )


def output(step, images):
    vectors, codes = (tensor[images] for tensor in vectors_of(step))
    empty = torch.zeros(())
    return TokenizerOutput(
        reconstruction=empty,
        codes=list(codes.split(LENGTHS, dim=1)),
        code_loss=empty,
        commit_loss=empty,
        vectors=torch.cat([scale.flatten(0, 1) for scale in vectors.split(LENGTHS, dim=1)]),
        used=torch.bincount(codes.flatten(), minlength=V),
    )


def usage(**settings):
    return CodebookUsage(V, DIM, UsageConfig(**{"window": 3} | settings), batch_size=BATCH, seed=7)


def codebook(metric="euclidean"):
    book = Codebook(V, DIM, metric=metric)
    with torch.no_grad():
        book.weight.copy_(torch.arange(V * DIM).view(V, DIM) + 100.0)
    return book


def run(meter, book, steps, splits=((0, 1, 2, 3, 4, 5),), start=0, ranks=None):
    for step in range(start, steps):
        for images in splits:
            meter.note(output(step, list(images)), torch.tensor(images), step)
        meter.settle(book, step, ranks or Ranks())


def test_vectors_of_scales_come_back_as_rows_of_images():
    assert torch.equal(vectors_by_image(output(1, [4, 2])), vectors_of(1)[0][[4, 2]])


def test_counts_of_a_window_and_their_numbers():
    meter, book = usage(revive=False), codebook()
    run(meter, book, 2)
    counts = sum(output(step, list(range(BATCH))).used for step in range(2))
    assert torch.equal(meter.uses, counts)
    assert meter.share == 0, "no whole window yet"
    run(meter, book, 3, start=2)
    counts = counts + output(2, list(range(BATCH))).used
    shares = [count / int(counts.sum()) for count in counts.tolist() if count]
    assert meter.share.item() == pytest.approx(0.4)
    assert meter.perplexity.item() == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-5)
    assert meter.uses.sum() == 0
    assert torch.equal(book.weight, codebook().weight), "nothing is moved"


def test_numbers_of_extreme_counts():
    even, one = torch.full((8,), 5), torch.zeros(8, dtype=torch.int64)
    assert perplexity(even).item() == pytest.approx(8)
    assert share_used(even) == 1
    assert perplexity(one) == 0
    one[3] = 9
    assert perplexity(one).item() == pytest.approx(1)
    assert share_used(one).item() == pytest.approx(1 / 8)


def test_unused_codes_move_onto_vectors_of_the_last_step_and_used_ones_stay():
    meter, book = usage(), codebook()
    run(meter, book, 2)
    assert torch.equal(book.weight, codebook().weight)
    run(meter, book, 3, start=2)
    assert torch.equal(book.weight[:4], codebook().weight[:4])
    assert meter.revived == V - 4
    candidates = vectors_of(2)[0].flatten(0, 1)
    found = [(candidates == row).all(1).nonzero().flatten().tolist() for row in book.weight[4:].detach()]
    assert all(len(place) == 1 for place in found)
    assert len({place[0] for place in found}) == V - 4, "no vector twice"


@pytest.mark.parametrize("more", [0, 1])
def test_a_code_is_kept_by_just_enough_uses(more):
    counts = sum(output(step, list(range(BATCH))).used for step in range(3))
    fewest = int(counts[2]) + more
    meter, book = usage(fewest=fewest), codebook()
    run(meter, book, 3)
    kept = (book.weight == codebook().weight).all(1)
    assert torch.equal(kept, counts >= fewest)


@pytest.mark.parametrize("splits", [((0, 1, 2), (3, 4, 5)), ((5,), (3, 1), (0, 2, 4)), tuple((i,) for i in range(6))])
def test_any_split_of_a_step_moves_codes_alike(splits):
    whole, book = usage(first_batch=True), codebook()
    run(whole, book, 7)
    meter, other = usage(first_batch=True), codebook()
    run(meter, other, 7, splits)
    assert torch.equal(book.weight, other.weight)
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), meter.buffers()))


def test_ranks_move_codes_alike():
    """Two ranks, each with half of the images; what they add up is stood in for by a shared list."""
    whole, book = usage(), codebook()
    run(whole, book, 3)
    meters, books = [usage(), usage()], [codebook(), codebook()]
    for step in range(3):
        for rank, meter in enumerate(meters):
            images = [0, 1, 2] if rank == 0 else [3, 4, 5]
            meter.note(output(step, images), torch.tensor(images), step)
        sums = {name: sum(getattr(meter, name) for meter in meters) for name in ("noted", "drawn")}

        class Both:
            def sum(self, tensor, sums=sums):
                return tensor.copy_(sums["noted" if tensor.ndim == 1 else "drawn"])

        for meter, one in zip(meters, books):
            meter.settle(one, step, Both())
    for meter, one in zip(meters, books):
        assert torch.equal(one.weight, book.weight)
        assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), meter.buffers()))


def test_the_first_batch_places_all_codes():
    meter, book = usage(first_batch=True, revive=False), codebook()
    run(meter, book, 1)
    candidates = vectors_of(0)[0].flatten(0, 1)
    assert all((candidates == row).all(1).any() for row in book.weight.detach())
    assert len(book.weight.unique(dim=0)) == V
    settled = book.weight.clone()
    run(meter, book, 6, start=1)
    assert torch.equal(book.weight, settled)


def test_nothing_moves_after_its_time_but_counting_goes_on():
    meter, book = usage(until_step=3), codebook()
    run(meter, book, 3)
    settled = book.weight.clone()
    assert meter.revived == V - 4
    run(meter, book, 6, start=3)
    assert torch.equal(book.weight, settled)
    assert meter.revived == 0
    assert meter.share.item() == pytest.approx(0.4)


def test_cosine_codes_are_revived_at_unit_length():
    meter, book = usage(), codebook("cosine")
    run(meter, book, 3)
    torch.testing.assert_close(book.weight[4:].norm(dim=1), torch.ones(V - 4))
    assert (book.weight[:4].norm(dim=1) > 2).all()


def test_saved_state_is_what_outlives_a_step():
    assert set(usage().state_dict()) == {"uses", "share", "perplexity", "revived"}


def test_values_out_of_range():
    with pytest.raises(ConfigError, match="window is 0, but must be at least 1"):
        UsageConfig(window=0)
    with pytest.raises(ConfigError, match="until_step is -1, but must be at least 0, or null"):
        UsageConfig(until_step=-1)
