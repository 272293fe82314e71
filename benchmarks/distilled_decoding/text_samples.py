"""Samples of texts, held against what the teacher makes of the same noise, and of other noise.

There are too few pictures of any text for a distance to the data: the teacher is what a student can be measured by.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from ar_core.training import StageConfig
from ar_vision.evaluation.features import FeatureExtractor
from ar_vision.evaluation.generation import ImageGenerator
from ar_vision.evaluation.image_set import ImageSet, open_images
from ar_vision.evaluation.measure import measure
from ar_vision.evaluation.protocol import ProtocolConfig, draw
from ar_vision.pixels import to_signed
from ar_vision.tokenizers.training.lpips import Lpips, load_lpips
from ar_vision.tokenizers.training.reconstruction import psnr

from benchmarks.images.samples import resnet20
from benchmarks.images.study import Study

from .setups import FLOW, TEACHER
from .ways import samples_of

__all__ = ["FRECHET_TO_TEACHER", "LPIPS_TO_FLOW", "OTHER_SEED", "PSNR_TO_FLOW", "AgainstTeacher", "drawn_of_texts"]

OTHER_SEED = 1_000_000
"""Added to a seed for draws that share no noise with it."""
BATCH = 100
PSNR_TO_FLOW, LPIPS_TO_FLOW = "psnr_to_same_noise", "lpips_to_same_noise[alexnet]"
FRECHET_TO_TEACHER = "frechet_to_teacher[resnet20-cifar10]"
"""Between two sets of samples of one list of texts, on features of a classifier of CIFAR-10: no FID, and no distance to data."""


@dataclass(frozen=True)
class AgainstTeacher:
    """What samples of texts are measured by.

    Attributes:
        extractor: of features.
        lpips: the perceptual distance.
        teacher: images that the teacher draws by chance, with another seed.
        flow: what the teacher's flow makes of the noise that students are given.
    """

    extractor: FeatureExtractor
    lpips: Lpips
    teacher: ImageSet
    flow: ImageSet

    @classmethod
    def of(cls, study: Study, ways: dict[str, Callable[[], ImageGenerator]], count: int) -> "AgainstTeacher":
        """Draw both sets, or go on with drawing."""
        weights = study.folders.staged / "models" / "lpips_alex" / "model.safetensors"
        return cls(
            resnet20(study.folders),
            load_lpips(weights, 32),
            drawn_of_texts(ways[TEACHER](), samples_of(study, "reference", count), count, study.seed + OTHER_SEED),
            drawn_of_texts(ways[FLOW](), samples_of(study, FLOW, count), count, study.seed),
        )

    def measure(self, images: ImageSet) -> dict[str, Any]:
        """Return the means over all images of PSNR, in dB, and LPIPS to the image of the same text and noise, and the Fréchet distance to
        the teacher's images of other seeds; equal images, whose PSNR is infinite, do not count for its mean and are counted."""
        fidelity: list[float] = []
        distances: list[float] = []
        pairs = zip(images.stream(0), self.flow.stream(0), strict=True)
        equal = 0
        while batch := list(islice(pairs, BATCH)):
            ours, theirs = (to_signed(torch.stack(side)) for side in zip(*batch, strict=True))
            found = psnr(ours, theirs)
            equal += int(found.isinf().sum())
            fidelity += found[found.isfinite()].tolist()
            with torch.no_grad():
                distances += self.lpips(ours, theirs).flatten().tolist()
        frechet = measure(images, ("frechet",), extractor=self.extractor, reference=self.teacher)
        return {
            PSNR_TO_FLOW: fmean(fidelity) if fidelity else None,
            LPIPS_TO_FLOW: fmean(distances),
            "equal_to_same_noise": equal,
            FRECHET_TO_TEACHER: frechet["frechet[resnet20-cifar10]"],
        }


def drawn_of_texts(generator: ImageGenerator, folder: Path, count: int, seed: int) -> ImageSet:
    """Draw images of all texts in rounds, or go on with drawing."""
    config = ProtocolConfig(labels=tuple(range(generator.classes)), count=count, seed=seed)
    draw(generator, config, StageConfig(directory=str(folder), chunk_size=500), batch_size=BATCH)
    return open_images(str(folder))
