"""What is measured together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from ar_core.training import read_run_config
from ar_vision.backbones.llamagen import RECIPE
from ar_vision.backbones.llamagen.config import LlamaGenConfig

from .case import Case
from .llamagen_arms import llamagen_case

__all__ = ["PARTS", "dry"]

SMALL = read_run_config(RECIPE, "cifar10").model
"""Sizes of the CIFAR-10 recipe."""


def _cpu_small() -> Iterator[Case]:
    for batch in (1, 16, 64):
        yield llamagen_case(SMALL, "6 layers of width 180, 64 codes", batch, recompute=batch < 64)
    for batch in (16, 64):
        longer = replace(SMALL, grid=16)
        yield llamagen_case(longer, "6 layers of width 180, 256 codes", batch, recompute=False)


def _cpu_b() -> Iterator[Case]:
    for batch in (1, 8):
        yield llamagen_case(LlamaGenConfig.of_size("B"), "B, 256 codes", batch, recompute=False)


PARTS: Mapping[str, tuple[str, Callable[[], Iterator[Case]]]] = MappingProxyType(
    {"cpu_small": ("cpu", _cpu_small), "cpu_b": ("cpu", _cpu_b)}
)
"""Device and cases of each part."""


def dry() -> Iterator[Case]:
    """All kinds of cases at sizes of seconds in all, on a CPU."""
    tiny = LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=5)
    yield llamagen_case(tiny, "2 layers of width 32, 9 codes", 2)
