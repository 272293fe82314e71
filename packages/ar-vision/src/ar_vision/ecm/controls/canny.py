"""Canny edges of a batch of pictures, as OpenCV's ``Canny`` finds them: 3 x 3 Sobel filters, L1 norm, two thresholds.

Source: Canny (1986), with the choices of OpenCV's function.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["canny", "sobel"]

_TAN_22 = 13573
"""tan(22.5 degrees) in units of 2^-15, by which directions are told apart in whole numbers."""
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def sobel(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives along x and y of every channel by 3 x 3 Sobel filters, borders continued.

    Args:
        images: [B, E, H, W], whole numbers or floats.

    Returns:
        Two tensors of the same shape; int32 for whole numbers.
    """
    values = images if images.is_floating_point() else images.to(torch.int32)
    padded = F.pad(values.float(), (1, 1, 1, 1), mode="replicate").to(values.dtype)
    rows, columns = images.shape[2:]

    def at(dy: int, dx: int) -> Tensor:
        return padded[:, :, 1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]

    # As differences of neighbours: what is flat has no slope, whatever floats round to.
    dx = (at(-1, 1) - at(-1, -1)) + 2 * (at(0, 1) - at(0, -1)) + (at(1, 1) - at(1, -1))
    dy = (at(1, -1) - at(-1, -1)) + 2 * (at(1, 0) - at(-1, 0)) + (at(1, 1) - at(-1, 1))
    return dx, dy


def canny(images: Tensor, low: float = 100.0, high: float = 200.0) -> Tensor:
    """Return the edges of pictures.

    At every pixel the channel with the steepest gradient counts. Pixels that are no maximum across the direction of the edge are thinned
    out; of the rest, those above ``high`` are edges, and those above ``low`` that are connected to one.

    Args:
        images: uint8 [B, E, H, W].
        low: threshold on |dx| + |dy|.
        high: the same.

    Returns:
        uint8 [B, 1, H, W], 0 or 255.
    """
    dx, dy = sobel(images)
    steepness = dx.abs() + dy.abs()
    magnitude, channel = steepness.max(dim=1, keepdim=True)
    dx, dy = dx.gather(1, channel), dy.gather(1, channel)
    kept = _maxima(magnitude, dx, dy) & (magnitude > int(low))
    return _connected(kept & (magnitude > int(high)), kept).to(torch.uint8) * 255


def _maxima(magnitude: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Where the magnitude [B, 1, H, W] is largest across the edge."""
    beside = {offset: _shifted(magnitude, *offset) for offset in _NEIGHBOURS}
    along, across = dx.abs().long() * _TAN_22, dy.abs().long() << 15
    flat, steep = across < along, across > along + (dx.abs().long() << 16)
    horizontal = (magnitude > beside[0, -1]) & (magnitude >= beside[0, 1])
    vertical = (magnitude > beside[-1, 0]) & (magnitude >= beside[1, 0])
    rising = (magnitude > beside[-1, 1]) & (magnitude > beside[1, -1])
    falling = (magnitude > beside[-1, -1]) & (magnitude > beside[1, 1])
    diagonal = torch.where((dx < 0) ^ (dy < 0), rising, falling)
    return torch.where(flat, horizontal, torch.where(steep, vertical, diagonal))


def _connected(strong: Tensor, candidates: Tensor) -> Tensor:
    """Candidates that a chain of candidates, each a neighbour of the next, connects to a strong one."""
    found = strong
    while True:
        near = F.max_pool2d(found.float(), 3, stride=1, padding=1) > 0
        grown = found | (near & candidates)
        if torch.equal(grown, found):
            return found
        found = grown


def _shifted(x: Tensor, dy: int, dx: int) -> Tensor:
    """The value beside every pixel of [B, 1, H, W], 0 outside."""
    rows, columns = x.shape[2:]
    return F.pad(x, (1, 1, 1, 1))[:, :, 1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
