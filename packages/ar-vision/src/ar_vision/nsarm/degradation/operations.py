"""The single steps of a degradation, on an image float32 [3, H, W] in [0, 1].

Source: Real-ESRGAN (arXiv 2107.10833) and its published code.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from .config import NoiseConfig, ResizeMode
from .draws import uniform
from .kernels import gaussian

__all__ = ["add_noise", "convolved", "jpeg", "resized", "sharpened"]

SHARPEN_SIZE, SHARPEN_WEIGHT, SHARPEN_THRESHOLD = 51, 0.5, 10
SHARPEN_SIGMA = 0.3 * ((SHARPEN_SIZE - 1) * 0.5 - 1) + 0.8
"""What OpenCV takes for a kernel of that side where no width is given, as the published code leaves it."""


def convolved(image: Tensor, kernel: Tensor) -> Tensor:
    """Return an image filtered by a kernel [n, n], its borders mirrored; of images smaller than the kernel, repeated.

    By Fourier transform: kernels of 21 and 51 pixels are faster so from small images on.
    """
    size = kernel.shape[0]
    pad = size // 2
    mode = "reflect" if pad < min(image.shape[1:]) else "replicate"
    padded = F.pad(image[None], (pad, pad, pad, pad), mode=mode)[0]
    shape = padded.shape[1:]
    # A transform multiplies a convolution, and a filter is one with the kernel turned around.
    turned = kernel.flip(0, 1).to(image)
    filtered = torch.fft.irfft2(torch.fft.rfft2(padded) * torch.fft.rfft2(turned, s=shape), s=shape)
    out: Tensor = filtered[:, size - 1 :, size - 1 :]
    return out


def sharpened(image: Tensor) -> Tensor:
    """Return an image [3, H, W] under unsharp masking: sharper where the blurred image is more than 10 levels away,
    softly blended.
    """
    blur = gaussian(SHARPEN_SIZE, SHARPEN_SIGMA)
    residual = image - convolved(image, blur)
    chosen = (residual.abs() * 255 > SHARPEN_THRESHOLD).float()
    soft = convolved(chosen, blur)
    return soft * (image + SHARPEN_WEIGHT * residual).clamp(0, 1) + (1 - soft) * image


def resized(image: Tensor, size: tuple[int, int], mode: ResizeMode, *, antialias: bool = False) -> Tensor:
    """Return an image of another size [3, h, w]; cubic interpolation may leave [0, 1]."""
    size = (max(1, size[0]), max(1, size[1]))
    if mode == "area":
        return F.interpolate(image[None], size=size, mode="area")[0]
    return F.interpolate(image[None], size=size, mode=mode, align_corners=False, antialias=antialias)[0]


def add_noise(image: Tensor, config: NoiseConfig, generator: Generator) -> Tensor:
    """Return an image with drawn noise, clamped to [0, 1]."""
    gaussian_noise = uniform(0, 1, generator) < config.gaussian_probability
    grey = uniform(0, 1, generator) < config.grey_probability
    if gaussian_noise:
        sigma = uniform(*config.sigma, generator) / 255
        shape = (1 if grey else image.shape[0], *image.shape[1:])
        noise = torch.randn(shape, generator=generator) * sigma
    else:
        noise = _photons(image, grey, generator) * uniform(*config.poisson_scale, generator)
    return (image + noise).clamp(0, 1)


def _photons(image: Tensor, grey: bool, generator: Generator) -> Tensor:
    """Deviation of counted photons from their mean, with as many at full brightness as the next power of two of the levels there are."""
    image = (image * 255).round().clamp(0, 255) / 255
    if grey:
        image = (image * image.new_tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
        image = (image * 255).round() / 255
    most = 2 ** math.ceil(math.log2(max(2, len(image.unique()))))
    out: Tensor = torch.poisson(image * most, generator=generator) / most - image
    return out


def jpeg(image: Tensor, quality: float) -> Tensor:
    """Return an image [3, H, W] written as JPEG and read again (Pillow, colour at half resolution), on the levels of 255.

    The published code has a differentiable JPEG, which rounds no levels and takes fractions of a quality.
    """
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="JPEG", quality=max(1, min(100, round(quality))), subsampling=2)
    with Image.open(file) as again:
        pixels = np.array(again.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
