"""Super-resolution over a sweep of degradations.

Source: ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.data.progress import track
from torch import Tensor

from ..evaluation.reconstruction import ssim
from ..pixels import to_bytes, to_signed
from ..tokenizers.training.lpips import Lpips
from ..tokenizers.training.reconstruction import psnr
from .degradation.config import DegradationConfig
from .degradation.degrade import degrade
from .low_quality import enlarged_low
from .low_samples import STREAM

__all__ = ["Restore", "bicubic", "image_metrics", "measure_sweep", "summarised"]

Restore = Callable[[Tensor, int], Tensor]
"""From a small image uint8 [3, h, w] and its number to the large one, uint8 [3, factor h, factor w]."""


def bicubic(factor: int) -> Restore:
    """The baseline that knows nothing."""
    return lambda low, number: to_bytes(enlarged_low(to_signed(low)[None], factor)[0])


def image_metrics(
    images: Tensor, references: Tensor, lpips: Lpips | None, others: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    """Return ``psnr`` (dB, of RGB), ``ssim``, ``lpips[alexnet]`` and what needs no reference, each float32 [B].

    Args:
        images: [B, 3, H, W] in [-1, 1], on the levels that files hold.
        references: the same.
        lpips: the perceptual distance; None leaves it out.
        others: metrics of images alone.

    Raises:
        DataError: the images are smaller than SSIM's window.
        MissingPackageError: torchmetrics is not installed.
    """
    found = {"psnr": psnr(images, references), "ssim": ssim(images, references)}
    if lpips is not None:
        found["lpips[alexnet]"] = lpips(images, references)
    return found | {name: metric(images) for name, metric in others.items()}


def measure_sweep(
    images: Sequence[Tensor],
    degradations: Mapping[str, DegradationConfig],
    methods: Mapping[str, Restore],
    *,
    lpips: Lpips | None = None,
    others: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Degrade every image in every way, restore it by every method, and compare.

    Image i is degraded by the stream of its number, alike for all methods and at every call with this seed.

    Args:
        images: uint8 [3, H, W] each.
        degradations: by name.
        methods: by name.
        lpips: as in :func:`image_metrics`.
        others: likewise.
        seed: of the degradations.

    Returns:
        Values of each image, by degradation, method and metric.
    """
    rng = SampleRng(seed)
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, config in degradations.items():
        of_name: dict[str, dict[str, list[float]]] = {method: {} for method in methods}
        for number, image in enumerate(track(images, f"{name}", len(images))):
            low = degrade(image, config, rng.row(number, STREAM))
            reference = to_signed(image)[None]
            for method, restore in methods.items():
                result = to_signed(restore(low, number))[None]
                for metric, value in image_metrics(result, reference, lpips, others or {}).items():
                    of_name[method].setdefault(metric, []).append(float(value[0]))
        found[name] = of_name
    return found


def summarised(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Any]]:
    """Return mean and variance of a metric over images in each degradation, and over the means of all degradations.

    Args:
        values: of one method: by degradation and metric, of each image.

    Returns:
        By metric: ``mean`` and ``variance`` over images by degradation (``of``), ``mean`` of the means, ``variance_of_means``, and
        ``mean_of_variances``, the robustness that the paper reports. Variances are those of samples (n - 1); of one, 0.
    """
    metrics = next(iter(values.values())).keys()
    found = {}
    for metric in metrics:
        of = {name: _moments(by_metric[metric]) for name, by_metric in values.items()}
        means = _moments([one["mean"] for one in of.values()])
        found[metric] = {
            "of": of,
            "mean": means["mean"],
            "variance_of_means": means["variance"],
            "mean_of_variances": _moments([one["variance"] for one in of.values()])["mean"],
        }
    return found


def _moments(values: Sequence[float]) -> dict[str, float]:
    tensor = torch.tensor(values, dtype=torch.float64)
    return {"mean": float(tensor.mean()), "variance": float(tensor.var()) if len(values) > 1 else 0.0}
