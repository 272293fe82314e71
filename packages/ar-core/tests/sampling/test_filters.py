"""Filters against recorded outputs of published code and against plain Python."""

import math

import pytest
import torch
from ar_core.sampling import Sampler, keep_min_p, keep_top_k, keep_top_p, llamagen_filter, var_filter
from safetensors.torch import load_file


def support(logits: torch.Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero().flatten().tolist() for row in logits]


@pytest.mark.golden
def test_top_p_equals_fast_dllm_v2(golden_dir):
    cases = load_file(golden_dir / "text" / "fdv2_top_p.safetensors")
    logits = cases.pop("logits")[0]
    assert len(cases) == 4
    for name, expected in cases.items():
        p, t = (float(part[2:] if part.startswith("tp") else part[1:]) for part in name.split("_")[1:])
        got = Sampler(temperature=t, top_p=p).filtered(logits).softmax(-1)
        assert torch.equal(got > 0, expected[0] > 0)
        assert (got - expected[0]).abs().max() <= 1e-6


@pytest.mark.golden
@pytest.mark.parametrize(
    ("file", "function"), [("var_sampling_filter", var_filter), ("llamagen_sampling_filter", llamagen_filter)]
)
def test_image_filters_equal_published_code(golden_dir, file, function):
    cases = load_file(golden_dir / "vision_a" / f"{file}.safetensors")
    logits = cases["logits"]
    checked = 0
    for name, expected in cases.items():
        if name.endswith(".probs"):
            k, p = name.removesuffix(".probs").split("_")
            got = function(logits, top_k=int(k[1:]), top_p=float(p[1:])).softmax(-1)
            assert torch.equal(got > 0, expected > 0), name
            assert (got - expected).abs().max() <= 1e-6, name
            checked += 1
    assert checked == {"var_sampling_filter": 6, "llamagen_sampling_filter": 5}[file]


@pytest.mark.golden
def test_filters_equal_diffusionvl(golden_dir):
    cases = load_file(golden_dir / "dvlm" / "sampling_utils.safetensors")
    logits = cases["logits"]
    for name, filtered in {
        "top_k_1": keep_top_k(logits, 1),
        "top_k_3": keep_top_k(logits, 3),
        "top_p_0.3": keep_top_p(logits, 0.3),
        "top_p_0.9": keep_top_p(logits, 0.9),
    }.items():
        expected = cases[name]
        assert torch.equal(filtered, expected.masked_fill(expected == -1e9, -math.inf)), name


def test_the_two_image_conventions_differ_where_the_mass_meets_the_edge():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    # Down from the top: .5 does not exceed .5, so the next is kept. Up from the bottom: .5 of mass is at most 1 - .5.
    assert support(llamagen_filter(logits, 0, 0.5)) == [[0, 1]]
    assert support(var_filter(logits, 0, 0.5)) == [[0]]


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.7, 0.95, 0.999999])
def test_top_p_is_the_smallest_prefix_whose_mass_exceeds_p(p):
    logits = torch.randn(7, 63, generator=torch.Generator().manual_seed(4)) * 3
    kept = support(keep_top_p(logits, p))
    for row, ids in zip(logits.double().softmax(-1), kept):
        order = row.argsort(descending=True).tolist()
        assert set(ids) == set(order[: len(ids)])
        mass = row[order].cumsum(0)
        assert len(ids) == 1 or mass[len(ids) - 2] <= p + 1e-6
        assert mass[len(ids) - 1] > p - 1e-6


def test_edges():
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0, -1.0]])
    assert support(keep_top_k(logits, 1)) == [[1, 2]], "equal logits at the edge all stay"
    assert support(keep_top_k(logits, 9)) == [[0, 1, 2, 3, 4]]
    assert support(keep_top_p(logits, 1.0)) == [[0, 1, 2, 3, 4]]
    assert support(keep_top_p(logits, 1e-9)) == [[1]], "one stays, even of two equal ones"
    assert support(keep_min_p(logits, 1.0)) == [[1, 2]]
    assert support(keep_min_p(logits, math.exp(-1.5))) == [[1, 2, 3]]
    banned = logits.clone()
    banned[0, 1:3] = -math.inf
    assert support(keep_top_p(banned, 0.5)) == [[3]]
    assert keep_top_p(logits[0], 0.5).isfinite().tolist() == [False, True, True, False, False]


def test_statistics_are_float32_for_half_logits():
    """4096 equal logits: summed in bfloat16 the mass stops growing at 256 of them, and everything would stay."""
    logits = torch.zeros(1, 4096, dtype=torch.bfloat16)
    assert len(support(keep_top_p(logits, 0.5))[0]) == pytest.approx(2049, abs=2)
