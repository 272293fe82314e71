import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from ar_vision.tokenizers.codebook import Codebook


def codebook(rows, **options):
    made = Codebook(len(rows), len(rows[0]), **options)
    made.weight.data.copy_(torch.tensor(rows))
    return made


def test_length_decides_by_distance_and_not_by_cosine():
    rows = [[4.0, 0.0], [0.6, 0.8]]
    vectors = torch.tensor([[1.0, 0.1], [4.0, 4.1]])
    assert codebook(rows).nearest(vectors).tolist() == [1, 0]
    assert codebook(rows, metric="cosine").nearest(vectors).tolist() == [0, 1]


def test_rows_are_stored_raw_and_returned_as_asked():
    ids = torch.tensor([[0, 1]])
    assert codebook([[3.0, 4.0], [0.0, 2.0]]).lookup(ids).tolist() == [[[3.0, 4.0], [0.0, 2.0]]]
    unit = codebook([[3.0, 4.0], [0.0, 2.0]], metric="cosine", unit_rows=True)
    assert torch.allclose(unit.lookup(ids), torch.tensor([[[0.6, 0.8], [0.0, 1.0]]]))
    assert unit.weight[0].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_of_equally_near_codes_the_first_is_taken(metric):
    rows = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert codebook(rows, metric=metric).nearest(torch.eye(2)).tolist() == [1, 0]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("count", [1, 63, 5001])
def test_nearest_is_the_minimum_over_all_codes(metric, count, generator):
    made = Codebook(37, 5, metric=metric).double()
    torch.nn.init.normal_(made.weight, generator=generator)
    vectors = torch.randn(count, 5, dtype=torch.float64, generator=generator)
    if metric == "euclidean":
        expected = torch.cdist(vectors, made.weight).argmin(-1)
    else:
        expected = F.cosine_similarity(vectors[:, None], made.weight[None], dim=-1).argmax(-1)
    assert torch.equal(made.nearest(vectors), expected)
    assert torch.equal(made.nearest(vectors.reshape(1, count, 5)), expected[None])


def test_codes_are_compared_in_float32(generator):
    made = Codebook(512, 16)
    torch.nn.init.normal_(made.weight, generator=generator)
    made = made.to(torch.bfloat16)
    vectors = torch.randn(200, 16, generator=generator).to(torch.bfloat16)
    assert torch.equal(made.nearest(vectors), torch.cdist(vectors.double(), made.weight.double()).argmin(-1))


def test_unit_codes_are_their_own_nearest(generator):
    made = Codebook(300, 8, metric="cosine", unit_rows=True)
    torch.nn.init.normal_(made.weight, generator=generator)
    ids = torch.randperm(300, generator=generator)
    assert torch.equal(made.nearest(made.lookup(ids)), ids)


def test_maps_are_row_major():
    made = codebook([[float(i), -float(i)] for i in range(6)])
    assert made.lookup_map(torch.arange(6)[None], (2, 3))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(DataError, match="scale of 2x2, which has 4"):
        made.lookup_map(torch.arange(6)[None], (2, 2))


def test_counts_cover_all_codes():
    assert codebook([[0.0]] * 4).count(torch.tensor([[1, 1], [3, 1]])).tolist() == [0, 3, 0, 1]
