"""What is measured together: one command each, so that a lent device is enough for one at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from .attention_cases import cached_case, training_case
from .case import Case
from .code_cases import nearest_code_case
from .flow_cases import flow_mean_case
from .head_cases import confidence_case, confidence_from_hidden_case, cross_entropy_case, sequence_logprob_case

__all__ = ["PARTS", "dry"]

Part = Callable[[], Iterator[Case]]


@dataclass(frozen=True)
class Model:
    """Sizes of a model; its weights are random here.

    Attributes:
        head: (C, V).
        heads: (H, Hkv, D).
    """

    head: tuple[int, int]
    heads: tuple[int, int, int]


SMOLLM2 = Model((576, 49152), (9, 3, 64))
QWENS = (Model((1536, 151936), (12, 2, 128)), Model((3584, 152064), (28, 4, 128)))
"""1.5B and 7B."""
IMAGE_HEADS = (((1024, 4096), 680), ((1024, 16384), 576))
"""(C, V) and positions of an image: VAR-d16 at 256 px, LlamaGen-L at 384 px."""
CODEBOOKS = (((4096, 32), "euclidean"), ((16384, 8), "cosine"), ((8912, 32), "cosine"))
"""(V, C) and metric of VAR's, LlamaGen's and FlexVAR's tokenizers."""


def _cpu_head() -> Iterator[Case]:
    for rows in (512, 2048):
        yield cross_entropy_case(SMOLLM2.head, rows, "cpu", torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        for rows in (8, 32, 128):
            yield confidence_case(SMOLLM2.head, rows, "cpu", dtype)
            yield confidence_from_hidden_case(SMOLLM2.head, rows, "cpu", dtype)


def _cpu_sequences() -> Iterator[Case]:
    for head, length in IMAGE_HEADS:
        yield sequence_logprob_case(head, 4, length, "cpu", torch.float32)


def _cuda_sequences() -> Iterator[Case]:
    for head, length in IMAGE_HEADS:
        for dtype in (torch.float32, torch.bfloat16):
            yield sequence_logprob_case(head, 32, length, "cuda", dtype)


def _cpu_attention() -> Iterator[Case]:
    for shape in ((1, 8, 512), (1, 32, 1024), (8, 8, 512)):
        yield cached_case(SMOLLM2.heads, shape, "cpu", torch.float32)
    for shape in ((1, 512, 8), (1, 1024, 32)):
        yield training_case(SMOLLM2.heads, shape, "cpu", torch.float32, kernel=False)


def _cpu_codes() -> Iterator[Case]:
    for codebook, metric in CODEBOOKS:
        for rows in (256, 4096):
            yield nearest_code_case(codebook, rows, "cpu", metric)


def _cpu_flow() -> Iterator[Case]:
    for codebook, _ in CODEBOOKS[:2]:
        for listed in (None, 900):
            yield flow_mean_case(codebook, 512, "cpu", listed)


def _cuda_head() -> Iterator[Case]:
    for model in QWENS:
        for rows in (1024, 8192):
            yield cross_entropy_case(model.head, rows, "cuda", torch.bfloat16)
        for rows in (8, 32, 256, 2048):
            yield confidence_case(model.head, rows, "cuda", torch.bfloat16)
            yield confidence_from_hidden_case(model.head, rows, "cuda", torch.bfloat16)


def _cuda_cached() -> Iterator[Case]:
    for model in QWENS:
        for shape in ((1, 1, 4096), (1, 32, 4096), (8, 32, 4096), (64, 32, 2048), (1, 256, 16384)):
            yield cached_case(model.heads, shape, "cuda", torch.bfloat16)


def _cuda_training() -> Iterator[Case]:
    for model in QWENS:
        for shape in ((1, 2048, 32), (2, 4096, 32)):
            yield training_case(model.heads, shape, "cuda", torch.bfloat16, kernel=True)


def _cuda_codes() -> Iterator[Case]:
    for codebook, metric in CODEBOOKS:
        for rows in (256, 65536):
            yield nearest_code_case(codebook, rows, "cuda", metric)


def _cuda_flow() -> Iterator[Case]:
    for codebook, _ in CODEBOOKS[:2]:
        for listed in (None, 900):
            yield flow_mean_case(codebook, 16384, "cuda", listed)


PARTS: Mapping[str, tuple[str, Part]] = MappingProxyType(
    {
        "cpu_head": ("cpu", _cpu_head),
        "cpu_sequences": ("cpu", _cpu_sequences),
        "cpu_attention": ("cpu", _cpu_attention),
        "cpu_codes": ("cpu", _cpu_codes),
        "cpu_flow": ("cpu", _cpu_flow),
        "cuda_head": ("cuda", _cuda_head),
        "cuda_sequences": ("cuda", _cuda_sequences),
        "cuda_cached": ("cuda", _cuda_cached),
        "cuda_training": ("cuda", _cuda_training),
        "cuda_codes": ("cuda", _cuda_codes),
        "cuda_flow": ("cuda", _cuda_flow),
    }
)
"""Device and cases of each part."""


def dry() -> Iterator[Case]:
    """All kinds of cases at sizes of a second in all, on a CPU."""
    tiny = Model((16, 300), (4, 2, 8))
    yield cross_entropy_case(tiny.head, 200, "cpu", torch.float32, max_logits=1000)
    yield sequence_logprob_case(tiny.head, 4, 50, "cpu", torch.float32, max_logits=1000)
    yield confidence_case(tiny.head, 5, "cpu", torch.float32)
    yield confidence_from_hidden_case(tiny.head, 5, "cpu", torch.float32)
    yield cached_case(tiny.heads, (3, 4, 40), "cpu", torch.float32)
    yield training_case(tiny.heads, (1, 32, 4), "cpu", torch.float32, kernel=False)
    yield nearest_code_case((300, 8), 200, "cpu")
    yield nearest_code_case((300, 8), 200, "cpu", "cosine")
    yield flow_mean_case((300, 8), 200, "cpu")
    yield flow_mean_case((300, 8), 200, "cpu", 90)
