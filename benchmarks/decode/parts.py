"""What is measured together: one command each, so that a lent device is enough for one at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from ar_core.hf import EngineName, HFBackbone, build_backbone, can_pack, load_causal_lm, pack_weights

from . import block_passes as block
from . import causal_passes as causal
from .method_measuring import MethodCase, measure_method
from .methods import TOKEN, baseline, methods
from .models import Sizes, always_says, random_model, twin
from .pass_measuring import PassCase, measure_pass
from .passes import Build

__all__ = ["PARTS", "dry", "measured"]

Case: TypeAlias = PassCase | MethodCase
Models: TypeAlias = Callable[[], Any]

SMOLLM2 = "smollm2-135m-instruct"
QWEN_15B = Sizes("Qwen2.5 1.5B", 151936, 1536, 8960, 28, 12, 2, True)
QWEN_7B = Sizes("Qwen2.5 7B", 152064, 3584, 18944, 28, 28, 4, False)
QWEN_05B = Sizes("Qwen2.5 0.5B", 152064, 896, 4864, 24, 14, 2, True)
"""The drafter of both, with the larger vocabulary of the two."""
SMALL = Sizes("small drafter", 49152, 288, 768, 8, 6, 2, True)
TINY = Sizes("tiny", 61, 32, 48, 2, 4, 2, True)
TINY_DRAFTER = Sizes("tiny drafter", 61, 16, 32, 1, 2, 1, True)


def measured(case: Case, *, repeats: int, device: str, ceiling: Mapping[str, float] | None) -> dict[str, Any]:
    """Measure a case of either kind; a pass, being short, three times as often. See :func:`measure_pass` and
    :func:`measure_method`.
    """
    del device
    if isinstance(case, PassCase):
        return measure_pass(case, repeats=3 * repeats)
    return measure_method(case, repeats=repeats, ceiling=ceiling)


def pass_builds(sizes: tuple[int, ...] = (8, 32), sub_block: int = 8) -> dict[str, Build]:
    """Every kind of pass that a method makes.

    Args:
        sizes: D of block methods.
        sub_block: S of Fast-dLLM v2.
    """
    large = sizes[-1]
    all_of = {size: [sub_block] * (size // sub_block) for size in sizes}
    return {
        "AR step": causal.one_token,
        **{f"Fast-dLLM v2 block of {size}": block.fast_dllm_v2(size, sub_block=sub_block) for size in sizes},
        f"Fast-dLLM v2 sub-block of {sub_block}": block.fast_dllm_v2(
            large, [*all_of[large][1:], 1], sub_block=sub_block
        ),
        **{
            f"Fast-dLLM v2 commit of {size}": block.fast_dllm_v2(size, all_of[size], sub_block=sub_block)
            for size in sizes
        },
        **{
            f"Fast-dLLM v2 commit and block of {size}": block.fast_dllm_v2(
                size, all_of[size], sub_block=sub_block, fused=True
            )
            for size in sizes
        },
        **{f"Efficient-DLM block of {size}": block.efficient_dlm(size) for size in sizes},
        **{
            f"Efficient-DLM commit and block of {size}": block.efficient_dlm(size, [size], fused=True) for size in sizes
        },
        f"self-speculation, draft of {large}": causal.self_speculative_draft(large),
        f"self-speculation, verification of {large}": causal.chain(large),
        "lookup or Jacobi, verification of 8": causal.chain(8),
        f"Jacobi, blocks of {large} and {large}": causal.chain(2 * large),
        "Jacobi, recycling tree": causal.tree(4, 7),
        "DiffuSpec, path of 20": causal.chain(21),
        "DiffuSpec, tree": causal.tree(6, 8),
    }


def _passes(
    model: str,
    load: Models,
    dtype: torch.dtype,
    engine: EngineName,
    weights: str = "full",
    *,
    batches: tuple[int, ...] = (1,),
    context: int = 256,
    builds: dict[str, Build],
) -> Iterator[PassCase]:
    @cache
    def models() -> tuple[HFBackbone, Any]:
        loaded = load()
        other = twin(loaded)
        if weights == "packed":
            pack_weights(loaded)
        return build_backbone(loaded, engine), other

    for batch in batches:
        for label, build in builds.items():
            yield PassCase(label, build, models, model, engine, dtype, weights, context, batch)


def _methods(
    model: str,
    load: Models,
    small: Models,
    dtype: torch.dtype,
    engine: EngineName,
    weights: str = "full",
    *,
    batches: tuple[int, ...],
    prompt: int,
    rounds: int,
    **settings: int,
) -> Iterator[MethodCase]:
    @cache
    def loaded() -> Any:
        made = load()
        always_says(made, TOKEN)
        if weights == "packed":
            pack_weights(made)
        return made

    @cache
    def backbone(name: EngineName) -> HFBackbone:
        return build_backbone(loaded(), name)

    @cache
    def drafter() -> HFBackbone:
        made = small()
        if weights == "packed":
            pack_weights(made)
        return build_backbone(made, engine)

    def asked() -> HFBackbone:
        return backbone(engine)

    def plain() -> HFBackbone:
        return backbone("plain")

    every = methods(rounds, drafter=drafter, **settings)
    ar = baseline(every[-1].tokens)
    for batch in batches:
        yield MethodCase(ar, asked, asked, model, engine, dtype, weights, prompt, batch)
        if engine != "plain":
            unfixed = replace(ar, label="ar without fixed shapes")
            yield MethodCase(unfixed, plain, asked, model, "plain", dtype, weights, prompt, batch)
        for method in every:
            yield MethodCase(method, asked, asked, model, engine, dtype, weights, prompt, batch)


def _smollm2(dtype: torch.dtype) -> Any:
    return load_causal_lm(SMOLLM2, dtype=dtype).model


def _cpu_passes() -> Iterator[Case]:
    for dtype, weights in ((torch.bfloat16, "packed"), (torch.bfloat16, "full"), (torch.float32, "full")):
        yield from _passes("SmolLM2-135M", partial(_smollm2, dtype), dtype, "plain", weights, builds=pass_builds())


def _cpu_methods() -> Iterator[Case]:
    yield from _methods(
        "SmolLM2-135M",
        lambda: _smollm2(torch.bfloat16),
        lambda: random_model(SMALL, torch.bfloat16, "cpu"),
        torch.bfloat16,
        "plain",
        "packed",
        batches=(1, 4),
        prompt=64,
        rounds=2,
        size=16,
    )


def _cuda_passes(sizes: Sizes) -> Iterator[Case]:
    yield from _passes(
        sizes.name,
        lambda: random_model(sizes, torch.bfloat16, "cuda"),
        torch.bfloat16,
        "graph",
        batches=(1, 16),
        builds=pass_builds(),
    )


def _cuda_methods(sizes: Sizes) -> Iterator[Case]:
    yield from _methods(
        sizes.name,
        lambda: random_model(sizes, torch.bfloat16, "cuda"),
        lambda: random_model(QWEN_05B, torch.bfloat16, "cuda"),
        torch.bfloat16,
        "graph",
        batches=(1, 4, 16, 64),
        prompt=128,
        rounds=2,
    )


PARTS: Mapping[str, tuple[str, Callable[[], Iterator[Case]]]] = MappingProxyType(
    {
        "cpu_passes": ("cpu", _cpu_passes),
        "cpu_methods": ("cpu", _cpu_methods),
        "cuda_1.5b_passes": ("cuda", lambda: _cuda_passes(QWEN_15B)),
        "cuda_1.5b_methods": ("cuda", lambda: _cuda_methods(QWEN_15B)),
        "cuda_7b_passes": ("cuda", lambda: _cuda_passes(QWEN_7B)),
        "cuda_7b_methods": ("cuda", lambda: _cuda_methods(QWEN_7B)),
    }
)
"""Device and cases of each part."""


def dry() -> Iterator[Case]:
    """All kinds of rows at sizes of seconds in all, on a CPU."""
    engines: tuple[EngineName, ...] = ("plain", "eager")
    for engine in engines:
        weights = "packed" if engine == "plain" and can_pack(torch.float32, torch.device("cpu")) else "full"
        yield from _passes(
            TINY.name,
            lambda: random_model(TINY, torch.float32, "cpu"),
            torch.float32,
            engine,
            weights,
            batches=(1, 2) if engine == "eager" else (1,),
            context=32,
            builds=pass_builds((8,), 4),
        )
        yield from _methods(
            TINY.name,
            lambda: random_model(TINY, torch.float32, "cpu"),
            lambda: random_model(TINY_DRAFTER, torch.float32, "cpu"),
            torch.float32,
            engine,
            weights,
            batches=(2,),
            prompt=16,
            rounds=2,
            size=8,
            sub_block=4,
            step=2,
            ahead=5,
        )
