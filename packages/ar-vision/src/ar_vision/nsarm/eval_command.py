"""The command that measures super-resolution."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ar_core.command_result import CommandResult, ResultTable
from ar_core.config import expand_path, require_positive
from ar_core.errors import ConfigError, DataError
from ar_core.sampling import row_seed
from torch import Tensor

from ..evaluation.image_set import ImageSet, SplitConfig, open_images
from ..evaluation.reconstruction import require_ssim
from ..evaluation.report import check_target, described, write_report
from ..text.encoder import tell_of_cuts
from ..tokenizers.training.lpips import load_lpips
from .degradation.config import SWEEP, degradation_of, require_degradations
from .degradation.degrade import require_reducible
from .measure import bicubic, measure_sweep, summarised
from .no_reference import open_no_reference
from .opening import UpscalingConfig, open_upscaler
from .upscaler import Upscaler

__all__ = ["EvalSrConfig", "evaluate_sr"]

OWN = "nsarm"


@dataclass(frozen=True, kw_only=True)
class EvalSrConfig(UpscalingConfig):
    """On which photographs, under which degradations, by which numbers.

    Raises:
        ConfigError: a value is out of range.
    """

    images: str | SplitConfig
    """HQ photographs that were not trained on, of one size: a folder, an .npz, or images.data.path=... images.split=held_out."""

    output: Path
    """The JSON report."""

    degradations: tuple[str, ...] = tuple(SWEEP)
    """By name, of the sweep or of the published three."""

    count: int | None = None
    """Of the photographs; null: all."""

    lpips: str | None = None
    """File of LPIPS with AlexNet features; null leaves the perceptual distance out."""

    no_reference: tuple[str, ...] = ()
    """Metrics without reference (extra ``iqa``): niqe, musiq, maniqa, clipiqa, topiq."""

    force: bool = False
    """Overwrite the report."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "count")
        if self.output.suffix != ".json":
            raise ConfigError(f"output is {str(self.output)!r} and must end in .json: give another name")
        require_degradations(self.degradations)


def evaluate_sr(config: EvalSrConfig) -> CommandResult:
    """Measure, write the report, and say the numbers.

    Raises:
        ArError: whatever cannot be used; photographs are checked before the first is restored.
    """
    output = expand_path(str(config.output))
    check_target(output, force=config.force)
    opened = open_upscaler(config)
    upscaler = opened.upscaler
    device = next(upscaler.model.parameters()).device
    chosen = {name: degradation_of(name) for name in config.degradations}
    wrong = next((name for name, one in chosen.items() if one.factor != upscaler.factor), None)
    if wrong is not None:
        raise ConfigError(
            f"{wrong!r} reduces {chosen[wrong].factor} times and the model enlarges {upscaler.factor} times"
        )
    others = open_no_reference(config.no_reference, device)
    lpips = None if config.lpips is None else load_lpips(config.lpips)
    found = open_images(config.images)
    images = list(islice(found.stream(0), config.count))
    _require(images, found, upscaler)
    tell_of_cuts(opened.encoder, [opened.prompt])
    text = opened.features(opened.prompt)
    spent: list[float] = []

    def own(low: Tensor, number: int) -> Tensor:
        begun = time.perf_counter()
        result = upscaler(low, text, row_seed(config.seed, number)).image
        spent.append(time.perf_counter() - begun)
        return result

    methods = {"bicubic": bicubic(upscaler.factor), OWN: own}
    values = measure_sweep(images, chosen, methods, lpips=lpips, others=others, seed=config.seed)
    summary = {method: summarised({name: of[method] for name, of in values.items()}) for method in methods}
    content: dict[str, Any] = {
        "summary": summary,
        "values": values,
        "seconds_an_image": sum(spent) / len(spent),
        "upscaling": dict(opened.facts),
        "images": described(found),
        "degradations": list(chosen),
    }
    write_report(output, content, str(device))
    rows = tuple(
        (
            f"{method} {metric}",
            f"{one['mean']:.4g}",
            f"{one['mean_of_variances']:.3g}",
            f"{one['variance_of_means']:.3g}",
        )
        for method, of in summary.items()
        for metric, one in of.items()
    )
    return CommandResult(
        f"{len(images)} images under {len(chosen)} degradations, report in {output}",
        {"output": output, "count": len(images), **content},
        table=ResultTable(("", "mean", "variance over images", "variance over degradations"), rows),
    )


def _require(images: Sequence[Tensor], found: ImageSet, upscaler: Upscaler) -> None:
    """Refuse photographs that the sweep could not use, before its first pass, by their names."""
    for number, image in enumerate(images):
        height, width = image.shape[1:]
        try:
            require_reducible(image, upscaler.factor)
            require_ssim(height, width)
            upscaler.require(height // upscaler.factor, width // upscaler.factor)
        except DataError as error:
            raise DataError(f"{found.named(number)}: {error}") from error
