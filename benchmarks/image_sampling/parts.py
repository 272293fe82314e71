"""What is measured together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from ar_core.training import read_run_config
from ar_vision.backbones.llamagen import RECIPE as LLAMAGEN
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.var import RECIPE as VAR
from ar_vision.backbones.var.config import PUBLISHED_SCALES, VarConfig

from .case import Case
from .llamagen_arms import llamagen_case
from .var_arms import var_case

__all__ = ["PARTS", "dry"]


def _cpu_small() -> Iterator[Case]:
    small = read_run_config(LLAMAGEN, "cifar10").model
    words = f"{small.layers} layers of width {small.dim}"
    for batch in (1, 16, 64):
        yield llamagen_case(small, f"{words}, 64 codes", batch, recompute=batch < 64)
    for batch in (16, 64):
        yield llamagen_case(replace(small, grid=16), f"{words}, 256 codes", batch, recompute=False)
    small_var = read_run_config(VAR, "cifar10").model.shape(vocab_size=512, code_dim=16)
    for scales, batches in ((small_var.scales, (1, 16, 64)), (PUBLISHED_SCALES[256], (1, 16))):
        config = replace(small_var, scales=scales)
        codes = sum(side * side for side in scales)
        for batch in batches:
            yield var_case(config, f"{config.depth} blocks of width {config.width}, {codes} codes", batch)


def _cpu_published() -> Iterator[Case]:
    for batch in (1, 8):
        yield llamagen_case(LlamaGenConfig.of_size("B"), "B, 256 codes", batch, recompute=False)
    # d16 in width and scales, with a quarter of its blocks: what a CPU does in minutes.
    config = VarConfig(vocab_size=4096, code_dim=32, depth=4)
    for batch in (1, 4):
        yield var_case(config, "4 blocks of d16, 680 codes", batch, recompute=batch == 1)


PARTS: Mapping[str, tuple[str, Callable[[], Iterator[Case]]]] = MappingProxyType(
    {"cpu_small": ("cpu", _cpu_small), "cpu_published": ("cpu", _cpu_published)}
)
"""Device and cases of each part."""


def dry() -> Iterator[Case]:
    """All kinds of cases at sizes of seconds in all, on a CPU."""
    tiny = LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=5)
    yield llamagen_case(tiny, "2 layers of width 32, 9 codes", 2)
    shape = VarConfig(vocab_size=24, code_dim=4, num_classes=5, depth=2, width=32, heads=2, scales=(1, 2, 4))
    yield var_case(shape, "2 blocks of width 32, 21 codes", 2)
