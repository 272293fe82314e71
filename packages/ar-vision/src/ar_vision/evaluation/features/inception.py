"""The Inception network that FID is defined by: the classifier of 1,008 classes which TensorFlow published on 2015-12-05.

It differs from torchvision's Inception v3 in what TensorFlow does otherwise: padding does not count in average pools, the last
block pools by maximum, images are resized without half-pixel centres, and there are 1,008 outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .extractor import Features
from .inception_blocks import Branch, Convolution, Mixed, Pool
from .tensorflow_resize import tensorflow_resize

__all__ = ["CANONICAL_DIGEST", "InceptionV3"]

SIDE = 299
SPATIAL_CHANNELS = 7
CANONICAL_DIGEST = "6726825d"
"""First digits of the SHA-256 of the published file, which its name carries: pt_inception-2015-12-05-6726825d.pth."""


def _five(inputs: int, pooled: int) -> Mixed:
    """35 x 35 places."""
    return Mixed(
        inputs,
        Branch(("branch1x1", 64, 1)),
        Branch(("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        Branch(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        pool=Pool("average", pooled),
    )


def _six(middle: int) -> Mixed:
    """17 x 17 places."""
    return Mixed(
        768,
        Branch(("branch1x1", 192, 1)),
        Branch(("branch7x7_1", middle, 1), ("branch7x7_2", middle, (1, 7)), ("branch7x7_3", 192, (7, 1))),
        Branch(
            ("branch7x7dbl_1", middle, 1),
            ("branch7x7dbl_2", middle, (7, 1)),
            ("branch7x7dbl_3", middle, (1, 7)),
            ("branch7x7dbl_4", middle, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ),
        pool=Pool("average", 192),
    )


def _seven(inputs: int, pool: Pool) -> Mixed:
    """8 x 8 places."""
    return Mixed(
        inputs,
        Branch(("branch1x1", 320, 1)),
        Branch(("branch3x3_1", 384, 1), fork=(("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))),
        Branch(
            ("branch3x3dbl_1", 448, 1),
            ("branch3x3dbl_2", 384, 3),
            fork=(("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
        ),
        pool=pool,
    )


class InceptionV3(nn.Module):
    """2,048 pooled features; 2,023 spatial ones; probabilities of 1,008 classes, without the bias of the last layer.

    Spatial features are those of sFID (arXiv 2103.03841): the first 7 channels of ``mixed_6/conv`` at each of 17 x 17 places,
    place by place as TensorFlow lays them out, so that published statistics fit. Leaving the bias out is what the published
    Inception Score does. Parameters have the names of the file ``pt_inception-2015-12-05``.

    Args:
        digest: SHA-256 of the file of the weights. Only the published file makes this network ``canonical``; with other
            weights the name carries the first digits of theirs.
    """

    dim, spatial_dim, classes = 2048, SPATIAL_CHANNELS * 17 * 17, None

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest
        self.canonical = digest.startswith(CANONICAL_DIGEST)
        self.name = "inception-2015-12-05" if self.canonical else f"inception-v3-{digest[:8] or 'random'}"
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = _five(192, 32)
        self.Mixed_5c = _five(256, 64)
        self.Mixed_5d = _five(288, 64)
        self.Mixed_6a = Mixed(
            288,
            Branch(("branch3x3", 384, 3), stride=2),
            Branch(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3), stride=2),
            pool=Pool("halving"),
        )
        self.Mixed_6b = _six(128)
        self.Mixed_6c = _six(160)
        self.Mixed_6d = _six(160)
        self.Mixed_6e = _six(192)
        self.Mixed_7a = Mixed(
            768,
            Branch(("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3), stride=2),
            Branch(
                ("branch7x7x3_1", 192, 1),
                ("branch7x7x3_2", 192, (1, 7)),
                ("branch7x7x3_3", 192, (7, 1)),
                ("branch7x7x3_4", 192, 3),
                stride=2,
            ),
            pool=Pool("halving"),
        )
        self.Mixed_7b = _seven(1280, Pool("average", 192))
        self.Mixed_7c = _seven(2048, Pool("maximum", 192))
        self.fc = nn.Linear(2048, 1008)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Return the features of images uint8 [B, 3, H, W] of any size."""
        x = tensorflow_resize(images.to(self.fc.weight.device, torch.float32), (SIDE, SIDE))
        x = (x - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        # The first branch of a block is the first 192 of its channels.
        x = self.Mixed_6d(x)
        spatial = x[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        pooled = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(self.Mixed_6e(x)))).mean((2, 3))
        return Features(pooled, spatial, F.linear(pooled, self.fc.weight).softmax(-1))
