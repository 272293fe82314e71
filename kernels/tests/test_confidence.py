"""`confidence`: reference against first principles, Triton kernel against the reference."""

import os
import subprocess
import sys

import pytest
import torch
from ar_kernels import confidence
from ar_kernels.confidence import reference


def test_reference_equals_the_definition_in_float64():
    logits = torch.randn(7, 63, generator=torch.Generator().manual_seed(0))
    banned = (3, 11)
    got = reference(logits, temperature=0.7, banned_ids=banned)
    z = logits.double() / 0.7
    z[:, list(banned)] = -torch.inf
    p = z.softmax(-1)
    first, second = p.sort(descending=True).values[:, :2].unbind(1)
    assert torch.equal(got.token, p.argmax(-1))
    torch.testing.assert_close(got.probability.double(), first, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got.margin.double(), first - second, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got.entropy.double(), torch.special.entr(p).sum(-1), atol=1e-5, rtol=1e-5)


def test_a_single_id_left_is_certain():
    got = confidence(torch.zeros(1, 3), banned_ids=(0, 2))
    assert got.token.item() == 1
    assert got.probability.item() == 1
    assert got.entropy.item() == 0
    assert got.margin.item() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.zeros(3)}, r"shape \[R, V\], got \(3,\)"),
        ({"logits": torch.zeros(1, 3), "temperature": 0.0}, "positive temperature, got 0.0"),
        ({"logits": torch.zeros(1, 3), "banned_ids": (3,)}, "banned id 3 is outside of the vocabulary 0..2"),
        ({"logits": torch.zeros(1, 2), "banned_ids": (0, 1)}, "all 2 ids are banned"),
    ],
    ids=["shape", "temperature", "outside", "all-banned"],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence(arguments.pop("logits"), **arguments)


COMPARE = """
import torch
import ar_kernels.confidence_triton as kernel
from ar_kernels.confidence import reference

empty = torch.empty
def poisoned(*shape, **options):
    tensor = empty(*shape, **options)
    return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor.fill_(-7)
torch.empty = poisoned
generator = torch.Generator().manual_seed(0)
for rows, vocabulary, banned, temperature, dtype in [
    (1, 1, (), 1.0, torch.float32), (3, 63, (0, 62), 0.5, torch.float32), (5, 1024, (), 1.0, torch.bfloat16),
    (2, 1025, (1024,), 1.3, torch.float32), (2, 2500, tuple(range(1024)), 1.0, torch.float32),
    (0, 9, (), 1.0, torch.float32),
]:
    logits = (4 * torch.randn(rows, vocabulary, generator=generator)).to(dtype)
    got = kernel.launch(logits, temperature, banned)
    want = reference(logits, temperature=temperature, banned_ids=banned)
    assert torch.equal(got[0], want.token), (rows, vocabulary, got[0], want.token)
    for name, a, b in zip(("probability", "entropy", "margin"), got[1:], want[1:]):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=2e-5, msg=lambda m: f"{name} {rows}x{vocabulary}: {m}")
ties = torch.zeros(2, 2048); ties[0, 5] = ties[0, 1500] = 3.0
assert kernel.launch(ties, 1.0, ())[0].tolist() == [5, 0]
wide = torch.randn(4, 200, generator=generator)[:, ::2]
assert torch.equal(kernel.launch(wide, 1.0, ())[0], wide.argmax(-1))
print("equal")
"""


def test_triton_kernel_equals_the_reference_under_the_interpreter():
    pytest.importorskip("triton", reason="triton is not installed")
    # The interpreter is chosen when triton is imported, hence a process of its own.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "equal"
