"""The Triton rows of `sequence_logprob`: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import pytest
import torch
from ar_kernels import sequence_logprob
from comparing import repeatable
from sequence_cases import SHAPES, case, compare, gradients

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("shape", SHAPES[2:8:2], ids=lambda shape: "x".join(map(str, shape)))
def test_values_and_gradients_equal_the_reference(shape):
    settings = [{}, {"scale": 0.5}, {"cap": 3.0}][sum(shape) % 3]
    compare(shape, torch.float32, settings, "triton", DEVICE, 2e-6)


def test_bfloat16():
    compare((3, 5, 100, 16), torch.bfloat16, {}, "triton", DEVICE, 1e-2)


def test_runs_are_equal_bit_by_bit():
    hidden, weight, labels, valid = case((3, 20, 130, 16), torch.float32, DEVICE)

    def run():
        found = sequence_logprob(hidden, weight, labels, valid, max_logits=1000, implementation="triton")
        return (found, *gradients(found, (hidden, weight)))

    repeatable(run)


def test_torch_library_checks():
    hidden, weight, labels, valid = case((3, 5, 12, 4), torch.float32, DEVICE)
    arguments = (hidden, weight, labels, valid, 1.0, None, 30, True)
    torch.library.opcheck(torch.ops.ar_kernels.sequence_logprob.default, arguments)


def test_float64_is_left_to_torch():
    hidden, weight, labels, _ = case((2, 3, 12, 4), torch.float64, DEVICE)
    with pytest.raises(ValueError, match="use implementation='torch'"):
        sequence_logprob(hidden, weight, labels, implementation="triton")
    assert sequence_logprob(hidden, weight, labels).dtype == torch.float64
