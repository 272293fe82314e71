"""What each launch needs of shared memory, compiled ahead of time for devices that are not there."""

import pytest
import torch
from ar_kernels import (
    block_attention,
    block_diffusion_attention,
    confidence,
    confidence_from_hidden,
    flow_mean,
    launching,
    nearest_code,
    selected_cross_entropy,
    selected_soft_cross_entropy,
    sequence_logprob,
)
from attention_cases import training_ids

pytest.importorskip("triton", reason="triton is not installed")
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from triton.runtime.jit import JITFunction

LIMITS = {86: 101_376, 90: 232_448}
"""Bytes that a block may have, by compute capability. 8.9 has those of 8.6, for which 8.0, which has more, is compiled alike."""
TYPES = {
    torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.int32: "*i32",
    torch.uint8: "*u8",
}  # fmt: skip


def _confidence(dtype: torch.dtype) -> None:
    confidence(torch.zeros(32, 4096, dtype=dtype), banned_ids=(1,), implementation="triton")
    for rows in (16, 32, 256):
        hidden, weight = torch.zeros(rows, 1536, dtype=dtype), torch.zeros(4096, 1536, dtype=dtype)
        confidence_from_hidden(hidden, weight, banned_ids=(1,), cap=30.0, implementation="triton")


def _cross_entropy(dtype: torch.dtype) -> None:
    hidden, weight = (torch.zeros(n, 64, dtype=dtype).requires_grad_() for n in (16, 4096))
    rows = torch.arange(16)
    for op in (selected_cross_entropy, selected_soft_cross_entropy):
        op(hidden, weight, rows, rows, implementation="triton")
    sequence_logprob(hidden[None], weight, rows[None], implementation="triton")


def _nearest_code(dtype: torch.dtype) -> None:
    for rows in (16, 256):
        for metric in ("euclidean", "cosine"):
            x, codebook = torch.zeros(rows, 32, dtype=dtype), torch.zeros(4096, 32, dtype=dtype)
            nearest_code(x, codebook, metric=metric, implementation="triton")


def _flow_mean(dtype: torch.dtype) -> None:
    for vocabulary, width in ((4096, 32), (16384, 8), (512, 16), (8, 1)):
        z, codebook = torch.zeros(16, width, dtype=dtype), torch.zeros(vocabulary, width, dtype=dtype)
        for ids in (None, torch.zeros(16, 900, dtype=torch.int64)):
            log_probs = torch.zeros(16, vocabulary if ids is None else 900, dtype=dtype)
            flow_mean(z, 1.0, log_probs, codebook, ids=ids, implementation="triton")


def _cached(dtype: torch.dtype, width: int) -> None:
    start, visible = torch.zeros(2, dtype=torch.int64), torch.full((2,), 1024)
    k = torch.zeros(2, 2, 1024, width, dtype=dtype)
    for queries in (1, 32):
        q, tile = torch.zeros(2, 4, queries, width, dtype=dtype), torch.ones(1, queries, 32, dtype=torch.bool)
        block_attention(q, k, k, start, visible, tile, start, implementation="triton")
    # Arguments that are 1 are constants to the compiler.
    block_attention(q[:1, :1, :1], k[:1, :1], k[:1, :1], start[:1], visible[:1], implementation="triton")


def _training(dtype: torch.dtype, width: int) -> None:
    ids = training_ids(128, 32, 1, 2, "cpu")
    given = [torch.zeros(2, n, 256, width, dtype=dtype).requires_grad_() for n in (4, 2, 2)]
    places = (ids["stream"], ids["block"], ids["position"], ids["document"])
    output = block_diffusion_attention(*given, *places, implementation="triton")
    torch.autograd.grad(output.sum(), given)


def _needed(kernel: JITFunction, arguments: tuple, options: dict, capability: int) -> int:
    """Bytes of shared memory of a launch, whose arguments are specialised as a launch specialises them."""
    backend = make_backend(GPUTarget("cuda", capability, 32))
    signature, constants, attributes = {}, {}, {}
    for place, (name, given) in enumerate(zip(kernel.arg_names, arguments)):
        if isinstance(given, torch.Tensor):
            signature[name], aligned = TYPES[given.dtype], True
        elif isinstance(given, float):
            signature[name], aligned = "fp32", False
        elif given == 1:
            signature[name], constants[(place,)], aligned = "constexpr", 1, False
        else:
            signature[name], aligned = "i32", given % 16 == 0
        if aligned:
            attributes[(place,)] = backend.parse_attr("D")
    settings = dict(options)
    for place, name in enumerate(kernel.arg_names):
        if name in settings:
            signature[name], constants[(place,)] = "constexpr", settings.pop(name)
    source = ASTSource(kernel, signature, constants, attributes)
    parsed = backend.parse_options({"arch": f"sm{capability}", **settings})
    stages: dict = {}
    backend.add_stages(stages, parsed, source.language)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    metadata = dict(parsed.__dict__)
    found = source.make_ir(
        backend.target, parsed, backend.get_codegen_implementation(parsed), backend.get_module_map(), context
    )
    for stage in ("ttir", "ttgir", "llir"):
        found = stages[stage](found, metadata)
    return metadata["shared"]


CASES = [
    pytest.param(run, dtype, width, id="-".join(map(str, (run.__name__[1:], str(dtype)[6:], width))), marks=marks)
    for run, dtype, width, marks in (
        (_confidence, torch.bfloat16, None, ()),
        (_confidence, torch.float32, None, ()),
        (_cross_entropy, torch.bfloat16, None, ()),
        (_cross_entropy, torch.float32, None, ()),
        # Columns are float32 whatever was given.
        (_nearest_code, torch.float32, None, ()),
        (_flow_mean, torch.float32, None, ()),
        # Heads of 64 take a part of what those of 128 take where the tiles have the same size.
        (_cached, torch.bfloat16, 128, ()),
        (_cached, torch.float32, 64, ()),
        (_cached, torch.float32, 128, ()),
        (_training, torch.bfloat16, 128, ()),
        (_training, torch.float32, 64, pytest.mark.slow),
        (_training, torch.float32, 128, pytest.mark.slow),
    )
]


@pytest.mark.parametrize(("run", "dtype", "width"), CASES)
def test_every_launch_fits_into_the_shared_memory_of_a_block(run, dtype, width, monkeypatch):
    launches = {}
    monkeypatch.setattr(
        launching,
        "_launch",
        lambda kernel, grid, arguments, options: launches.setdefault(
            (kernel, *(one == 1 for one in arguments if isinstance(one, int)), *sorted(options.items())),
            (kernel, arguments, options),
        ),
    )
    run(*([dtype] if width is None else [dtype, width]))
    assert launches
    if not all(isinstance(kernel, JITFunction) for kernel, *_ in launches.values()):
        pytest.skip("the interpreter compiles nothing")
    for kernel, arguments, options in launches.values():
        for capability, limit in LIMITS.items():
            needed = _needed(kernel, arguments, options, capability)
            assert needed <= limit, f"{kernel.__name__} needs {needed} of {limit} bytes on sm_{capability}: {options}"
