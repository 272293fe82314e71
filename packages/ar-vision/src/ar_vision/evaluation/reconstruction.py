"""How well a tokenizer gives images back."""

from typing import Any

import torch
from ar_core.data.progress import track
from ar_core.errors import DataError, MissingPackageError
from torch import Tensor, nn

from ..pixels import to_bytes, to_signed
from ..scales import ScaleSchedule
from ..tokenizers.training.lpips import Lpips
from ..tokenizers.training.reconstruction import CodeUses, psnr, reconstruct
from .features import FeatureExtractor, reported
from .frechet import frechet_distance, require_enough
from .image_set import ImageSet
from .moments import Moments

__all__ = ["SMALLEST_SSIM", "measure_tokenizer", "require_ssim", "ssim"]

SMALLEST_SSIM = 11
"""Pixels of the window."""


@torch.no_grad()
def measure_tokenizer(
    tokenizer: nn.Module,
    schedule: ScaleSchedule,
    images: ImageSet,
    *,
    extractor: FeatureExtractor | None = None,
    lpips: Lpips | None = None,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Measure reconstructions, rounded to 256 levels as files hold them, against their originals.

    Args:
        tokenizer: in eval mode.
        schedule: K scales.
        images: N images that were not trained on.
        extractor: features of the Fréchet distance of reconstructions to originals; None leaves it out.
        lpips: the perceptual distance; None leaves it out.
        batch_size: images of a pass; memory only.

    Returns:
        Means over images: ``psnr`` in dB, ``ssim``, ``lpips[alexnet]``. The Fréchet distance under its name (``rfid`` for the
        canonical weights alone). Of tokenizers with a codebook: ``codes_used``, the share of the codes that occur, and
        ``perplexity``, with the codebook's name behind where there are two; of tokenizers of bits: ``bit_entropy``, the mean entropy of a bit, of at most 1.

    Raises:
        DataError: there are too few images for the distance, or they are too small.
        ConfigError: the schedule does not fit the images.
        MissingPackageError: torchmetrics is not installed.
    """
    model: Any = tokenizer
    moments = None
    if extractor is not None:
        name = reported("reconstruction_frechet", extractor)
        require_enough(images.count, extractor.dim, "reference", name)
        moments = (Moments(extractor.dim), Moments(extractor.dim))
    device = next(tokenizer.parameters()).device
    means: dict[str, list[Tensor]] = {}
    uses = CodeUses(model)
    bits: Tensor | None = None
    batches = images.batches(batch_size)
    for batch in track(batches, "reconstructions", -(-images.count // batch_size)):
        originals = to_signed(batch).to(device)
        again, codes = reconstruct(model, originals, schedule)
        again_bytes = to_bytes(again)
        again = to_signed(again_bytes)
        values = {"psnr": psnr(again, originals), "ssim": ssim(again, originals)}
        if lpips is not None:
            values["lpips[alexnet]"] = lpips(again, originals)
        for metric, value in values.items():
            means.setdefault(metric, []).append(value.double().cpu())
        uses.add(codes)
        if not uses.counts:
            counted = _bits(torch.cat(codes, dim=1))
            bits = counted if bits is None else bits + counted
        if extractor is not None and moments is not None:
            moments[0].add(extractor(again_bytes).pooled)
            moments[1].add(extractor(batch).pooled)
    found: dict[str, Any] = {metric: float(torch.cat(parts).mean()) for metric, parts in means.items()}
    if moments is not None:
        found[name] = frechet_distance(*moments, what=name)
    return found | (uses.measured() if bits is None else {"bit_entropy": _entropy(bits)})


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity of each image (Gaussian window of 11 pixels, sigma 1.5), float32 [B].

    From torchmetrics: windows and borders are where implementations differ, and its numbers can be compared with others'.

    Args:
        images: [B, 3, H, W] in [-1, 1].
        references: [B, 3, H, W] in [-1, 1].

    Raises:
        DataError: an image is smaller than the window.
        MissingPackageError: torchmetrics is not installed.
    """
    require_ssim(*images.shape[2:])
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(images, references, data_range=2.0, reduction="none")
    assert isinstance(value, Tensor)
    # Of one image torchmetrics gives a scalar.
    return value.reshape(len(images))


def require_ssim(height: int, width: int) -> None:
    """Refuse images that :func:`ssim` cannot compare, before any of them is made.

    Raises:
        DataError: they are smaller than the window.
        MissingPackageError: torchmetrics is not installed.
    """
    try:
        import torchmetrics.functional.image  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "SSIM is computed by the package torchmetrics; install it with `pip install 'ar-vision[eval]'`"
        ) from error
    if min(height, width) < SMALLEST_SSIM:
        raise DataError(
            f"images of {width} x {height} pixels were given and SSIM needs {SMALLEST_SSIM} on each side: give larger ones"
        )


def _bits(codes: Tensor) -> Tensor:
    """How often each bit of codes [B, L, d] is 0 and 1, int64 [d, 2]."""
    ones = codes.flatten(0, 1).long().sum(0).cpu()
    return torch.stack([codes.shape[0] * codes.shape[1] - ones, ones], dim=1)


def _entropy(uses: Tensor) -> float:
    shares = uses.double() / uses.sum(1, keepdim=True)
    return float((torch.special.entr(shares).sum(1) / torch.log(torch.tensor(2.0))).mean())
