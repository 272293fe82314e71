"""The histogram relation loss: oracles 1 to 6 and 13 of the specification, and the recorded closed form."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from ar_vision.glotok.config import GlotokConfig
from ar_vision.glotok.histogram import centres, log_histogram, log_profile
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.relation_loss import relation_loss

BINS = HistogramConfig()


def vectors(count, dim, seed=0, dtype=torch.float64):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive_profile(codes, config=BINS):
    """Equations 4 and 5 as written, over all pairs at once."""
    units = F.normalize(codes, dim=-1)
    first, second = torch.triu_indices(len(codes), len(codes), 0 if config.include_self else 1)
    similarities = (units[first] * units[second]).sum(-1)
    h = (-config.sharpness * (similarities[:, None] - centres(config)) ** 2).exp().sum(0)
    return h / h.sum()


def naive_loss(codes, teacher, config=BINS):
    return F.kl_div(naive_profile(codes, config).log(), teacher, reduction="sum")


@pytest.fixture
def teacher():
    return log_profile(log_histogram(vectors(9, 5, seed=4), BINS))


@pytest.mark.golden
@pytest.mark.parametrize("include_self", [True, False])
def test_recorded_histograms_losses_and_gradient(golden_dir, include_self):
    case = json.loads((golden_dir / "vision_b" / "glotok_histogram_closed_form.json").read_text())
    recorded = case["results"]["pairs i<=j" if include_self else "pairs i<j"]
    config = HistogramConfig(case["N"], case["alpha"], include_self)
    student, other = (torch.tensor(case[f"{who}_codebook"], dtype=torch.float64) for who in ("student", "teacher"))
    for who, codes in (("student", student), ("teacher", other)):
        found = log_profile(log_histogram(codes, config)).exp()
        torch.testing.assert_close(found, torch.tensor(recorded[f"P_{who}"], dtype=torch.float64), atol=1e-10, rtol=0)
    target = log_profile(log_histogram(other, config))
    student.requires_grad_()
    loss = relation_loss(student, target, config)
    assert float(loss.detach()) == pytest.approx(recorded["KL(P_teacher||P_student)"], rel=1e-9)
    loss.backward()
    expected = torch.tensor(recorded["grad_of_KL(T||S)_wrt_student_codebook"], dtype=torch.float64)
    torch.testing.assert_close(student.grad, expected, atol=1e-8, rtol=1e-6)
    reverse = relation_loss(student, target, config, direction="student_teacher")
    assert float(reverse.detach()) == pytest.approx(recorded["KL(P_student||P_teacher)"], rel=1e-9)


def test_oracle_1_and_2_a_codebook_of_the_teachers_own_vectors_loses_nothing():
    codes = vectors(50, 6)
    target = log_profile(log_histogram(codes, BINS))
    turned = torch.linalg.qr(vectors(6, 6, seed=1)).Q
    lengths = vectors(50, 1, seed=2).abs() + 0.1
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    for same in (codes, codes @ turned, codes * lengths, codes[order], ((codes * lengths) @ turned)[order]):
        assert abs(float(relation_loss(same, target, BINS))) < 1e-10
    assert float(relation_loss(vectors(50, 6, seed=9), target, BINS)) > 1e-5


@pytest.mark.parametrize("include_self", [True, False])
def test_oracle_3_orthonormal_codes_have_a_closed_form(include_self):
    config = HistogramConfig(include_self=include_self)
    n = 5
    at = [math.exp(-config.sharpness * (1 - b) ** 2) for b in centres(config).tolist()]
    nought = [math.exp(-config.sharpness * b**2) for b in centres(config).tolist()]
    h = [n * include_self * one + n * (n - 1) / 2 * zero for one, zero in zip(at, nought)]
    found = log_profile(log_histogram(torch.eye(n, 7, dtype=torch.float64), config)).exp()
    expected = torch.tensor(h, dtype=torch.float64) / sum(h)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_oracle_4_profiles_are_shares_and_logarithms_agree_with_the_direct_sum():
    codes = vectors(63, 8)
    log_h = log_histogram(codes, BINS)
    assert bool(log_h.isfinite().all())
    assert float(log_profile(log_h).exp().sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(log_profile(log_h).exp(), naive_profile(codes), atol=1e-10, rtol=0)


def test_bins_that_no_pair_is_near_have_finite_logarithms_where_the_direct_sum_is_zero():
    alike = torch.ones(6, 3, dtype=torch.float64)
    sharp = HistogramConfig(sharpness=1000.0)
    assert float(naive_profile(alike, sharp)[0]) == 0
    assert bool(log_histogram(alike, sharp).isfinite().all())
    target = log_profile(log_histogram(vectors(9, 3), sharp))
    codes = alike.clone().requires_grad_()
    relation_loss(codes, target, sharp).backward()
    assert bool(codes.grad.isfinite().all())


@pytest.mark.parametrize("evaluation", ["exact", "fine"])
@pytest.mark.parametrize(("count", "tile"), [(100, 7), (63, 63), (123, 64), (63, 256)])
@pytest.mark.parametrize("include_self", [True, False])
def test_oracle_5_pieces_and_fine_cells_equal_the_sum_over_all_pairs(evaluation, count, tile, include_self):
    config = HistogramConfig(include_self=include_self)
    target = naive_profile(vectors(200, 12, seed=5), config)
    codes = vectors(count, 8).requires_grad_()
    loss = relation_loss(codes, target.log(), config, evaluation=evaluation, tile=tile)
    reference = codes.detach().clone().requires_grad_()
    expected = naive_loss(reference, target, config)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    (3 * loss).backward()
    (3 * expected).backward()
    tolerance = 1e-4 * float(reference.grad.abs().max())
    torch.testing.assert_close(codes.grad, reference.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("direction", ["teacher_student", "student_teacher"])
def test_oracle_5_the_gradient_is_that_of_finite_differences(teacher, direction):
    codes = vectors(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: relation_loss(x, teacher, BINS, direction=direction, tile=4), (codes,), atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_of_fewer_bits_get_a_gradient_of_their_own_dtype(teacher, dtype):
    codes = vectors(40, 8, dtype=torch.float32).to(dtype).requires_grad_()
    loss = relation_loss(codes, teacher, BINS)
    reference = codes.detach().double().requires_grad_()
    expected = relation_loss(reference, teacher, BINS)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    assert codes.grad.dtype == dtype
    scale = float(reference.grad.abs().max())
    torch.testing.assert_close(
        codes.grad.double(), reference.grad, rtol=0, atol=(1e-5 if dtype == torch.float32 else 1e-2) * scale
    )


def test_memory_is_that_of_a_piece(teacher):
    """No tensor of the backward pass or the forward pass has as many elements as there are pairs."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(
                one.numel() for one in (out if isinstance(out, tuple) else (out,)) if isinstance(one, torch.Tensor)
            )
            return out

    codes = vectors(900, 4, dtype=torch.float32).requires_grad_()
    with Watch():
        relation_loss(codes, teacher, BINS, evaluation="fine", tile=30).backward()
    assert max(sizes) < 900 * 901 / 2 / 2


def test_oracle_6_the_gradient_is_orthogonal_to_each_code(teacher):
    codes = vectors(30, 8).requires_grad_()
    relation_loss(codes, teacher, BINS).backward()
    assert float((codes.grad * codes.detach()).sum(-1).abs().max()) < 1e-8
    assert float(codes.grad.abs().max()) > 1e-6


def test_a_code_of_zeros_gets_no_gradient_and_spoils_nobody(teacher):
    codes = vectors(8, 4)
    codes[3] = 0
    codes.requires_grad_()
    relation_loss(codes, teacher, BINS).backward()
    assert bool(codes.grad.isfinite().all())
    assert not bool(codes.grad[3].any())


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.0, 3.0])
def test_oracle_13_two_codes_peak_at_the_bin_of_their_angle(angle):
    codes = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    found = log_histogram(codes, HistogramConfig(include_self=False))
    nearest = (centres(BINS) - math.cos(angle)).abs().argmin()
    assert int(found.argmax()) == int(nearest)


def test_descent_takes_the_histogram_of_the_teacher(teacher):
    """Oracle 2: the loss stays at least 0 on its way down."""
    codes = vectors(48, 8).requires_grad_()
    optimizer = torch.optim.Adam([codes], lr=0.05)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = relation_loss(codes, teacher, BINS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses) >= 0
    assert losses[-1] < 0.05 * losses[0]


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match="40 bins"):
        relation_loss(vectors(4, 3), torch.zeros(20), BINS)
    with pytest.raises(DataError, match="at least 2 vectors"):
        log_histogram(vectors(1, 3), HistogramConfig(include_self=False))
    with pytest.raises(DataError, match="not finite"):
        log_histogram(torch.full((3, 3), math.nan), BINS)
    with pytest.raises(ConfigError, match="bins is 1"):
        HistogramConfig(bins=1)
    with pytest.raises(ConfigError, match="sharpness is 0"):
        HistogramConfig(sharpness=0.0)
    with pytest.raises(ConfigError, match="give a teacher"):
        GlotokConfig(scales=(4,), perceptual_weight=0)
    with pytest.raises(ConfigError, match="nobody looks at it"):
        GlotokConfig(scales=(4,), perceptual_weight=0, teacher="x", histogram_weight=0)
    with pytest.raises(ConfigError, match="residual_weight is -1"):
        GlotokConfig(scales=(4,), perceptual_weight=0, teacher="x", residual_weight=-1)
