"""From a photograph to its low-quality counterpart.

Source: Real-ESRGAN (arXiv 2107.10833, section 3) and the published data loader of NSARM.
"""

import torch
from ar_core.errors import DataError
from torch import Generator, Tensor

from .config import DegradationConfig, ResizeConfig, ResizeMode, StageConfig
from .draws import chosen, uniform
from .kernels import drawn_kernel, drawn_sinc
from .operations import add_noise, convolved, jpeg, resized, sharpened

__all__ = ["degrade", "require_reducible"]


def degrade(image: Tensor, config: DegradationConfig, generator: Generator) -> Tensor:
    """Degrade a photograph; every choice and number comes from the generator, so that it belongs to the sample.

    Sharpening; blur, resize, noise and JPEG of the first stage; the same of the second, whose resize is relative to the final size;
    then the final resize with a sinc, and JPEG, in drawn order (arXiv 2107.10833, section 3). The published data loader draws which
    branches are taken once for a batch.

    Args:
        image: uint8 [3, H, W].
        config: what is done.
        generator: on the CPU.

    Returns:
        uint8 [3, H / factor, W / factor].

    Raises:
        DataError: it is no uint8 image of three channels, or a side is no multiple of the factor.
    """
    require_reducible(image, config.factor)
    height, width = image.shape[1:]
    size = (height // config.factor, width // config.factor)
    x = image.float() / 255
    if config.sharpen:
        x = sharpened(x)
    first, second = (*config.stages, None, None)[:2]
    if first is not None:
        x = _spoiled(x, first, (height, width), config, generator)
        if first.jpeg is not None:
            x = jpeg(x, uniform(*first.jpeg, generator))
    early = second is not None and second.blur is None and second.resize is None
    if early:
        x = _reduced(x, size, config, generator)
    if second is not None:
        x = _spoiled(x, second, size, config, generator)
    quality = None if second is None or second.jpeg is None else uniform(*second.jpeg, generator)
    if not early:
        if quality is not None and uniform(0, 1, generator) < 0.5:
            x = jpeg(x, quality)
            quality = None
        x = _reduced(x, size, config, generator)
    if quality is not None:
        x = jpeg(x, quality)
    if config.jpeg is not None:
        x = jpeg(x, uniform(*config.jpeg, generator))
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def require_reducible(image: Tensor, factor: int) -> None:
    """Refuse what :func:`degrade` cannot reduce.

    Args:
        image: uint8 [3, H, W].
        factor: how many times the result is smaller along each side.

    Raises:
        DataError: it is no uint8 image of three channels, or a side is no multiple of the factor.
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise DataError(
            f"an image of {image.dtype} and shape {list(image.shape)} was given: give uint8 [3, height, width]"
        )
    height, width = image.shape[1:]
    if height % factor or width % factor or not height or not width:
        raise DataError(
            f"an image of {width} x {height} pixels was given, which does not divide by {factor}: crop it to multiples"
        )


def _spoiled(
    x: Tensor, stage: StageConfig, base: tuple[int, int], config: DegradationConfig, generator: Generator
) -> Tensor:
    """Blur, resize relative to a base size, noise."""
    if stage.blur is not None and uniform(0, 1, generator) < stage.blur.probability:
        x = convolved(x, drawn_kernel(stage.blur, generator))
    if stage.resize is not None:
        scale = _scale(stage.resize, generator)
        x = resized(x, (int(base[0] * scale), int(base[1] * scale)), _mode(config, generator))
    if stage.noise is not None:
        x = add_noise(x, stage.noise, generator)
    return x


def _reduced(x: Tensor, size: tuple[int, int], config: DegradationConfig, generator: Generator) -> Tensor:
    """Resize to the final size and filter by the final sinc."""
    if config.antialias:
        x = resized(x, size, "bicubic", antialias=True)
    elif x.shape[1:] != size:
        x = resized(x, size, _mode(config, generator))
    if uniform(0, 1, generator) < config.sinc_probability:
        x = convolved(x, drawn_sinc(generator))
    return x.clamp(0, 1)


def _scale(config: ResizeConfig, generator: Generator) -> float:
    low, high = config.range
    kind = chosen(config.shares, generator)
    return uniform(*((1.0, high), (low, 1.0), (1.0, 1.0))[kind], generator)


def _mode(config: DegradationConfig, generator: Generator) -> ResizeMode:
    return config.modes[int(uniform(0, len(config.modes), generator))]
