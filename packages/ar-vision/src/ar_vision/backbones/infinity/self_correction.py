"""Bitwise self-correction: training on images so far that hold wrong bits, with labels that make good for them.

arXiv 2412.04431, section 3.4. A generator that is only shown perfect histories cannot mend its own errors. Here some bits of
each scale are flipped before they enter the sum of codes; the bits of later scales code what is then left of the features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ar_core.corruption import SampleRng
from torch import Generator, Tensor

from ...scales import ScaleSchedule
from ...tokenizers.bsq.bit_history import BitHistory

__all__ = ["BitTargets", "bit_targets", "draw_flips", "draw_rates"]


@dataclass(frozen=True)
class BitTargets:
    """What a model is trained with.

    Attributes:
        inputs: what scales 1 to K-1 are fed with, float32 [B, d_v, h_k, w_k] each.
        labels: bits that each scale should have, bool [B, L_k, d_v]: those of the features that are left, never flipped.
    """

    inputs: list[Tensor]
    labels: list[Tensor]


def bit_targets(features: Tensor, history: BitHistory, flips: Sequence[Tensor] = ()) -> BitTargets:
    """Return inputs and labels of all scales, by the very moves of decoding.

    Args:
        features: of the tokenizer, [B, d, H, W].
        history: an empty one; holds all scales afterwards.
        flips: for the first scales, which bits the model is taken to have got wrong: bool [B, L_k, d_v] each. None at all is plain
            teacher forcing.
    """
    inputs, labels = [], []
    for scale in range(history.schedule.count):
        label = history.bits_of(history.residual(features))
        labels.append(label)
        history.add(label ^ flips[scale] if scale < len(flips) else label)
        if scale + 1 < history.schedule.count:
            inputs.append(history.next_input())
    return BitTargets(inputs, labels)


def draw_flips(
    schedule: ScaleSchedule,
    bits: int,
    index: int,
    rng: SampleRng,
    *,
    strength: float,
    layers: int,
    rates: Sequence[float] | None = None,
) -> list[Tensor]:
    """Draw which bits of a sample are flipped: bool [L_k, d_v] for each of the first scales.

    Every scale has a rate of its own, uniform over {0, 0.01, ..., strength}. The published code draws one rate a scale for the
    whole batch; by default it belongs to the sample, as all noise, so that it does not depend on batches.

    Args:
        schedule: K scales.
        bits: d_v.
        index: global number of the sample.
        rng: of the run.
        strength: largest rate (noise_apply_strength).
        layers: scales that are flipped (noise_apply_layers); more than K means all.
        rates: of each scale, drawn elsewhere (:func:`draw_rates`); None draws the sample's own.
    """
    generator = rng.row(index, "flips")
    flips = []
    for scale, length in enumerate(schedule.lengths[:layers]):
        rate = _rate(strength, generator) if rates is None else rates[scale]
        flips.append(torch.rand(length, bits, generator=generator) < rate)
    return flips


def draw_rates(layers: int, index: int, rng: SampleRng, *, strength: float) -> list[float]:
    """Draw one rate of flips for each scale, which a batch shares, from the stream of its first sample.

    Args:
        layers: how many scales.
        index: global number of the first sample.
        rng: of the run.
        strength: as :func:`draw_flips` takes it.
    """
    generator = rng.row(index, "rates of flips")
    return [_rate(strength, generator) for _ in range(layers)]


def _rate(strength: float, generator: Generator) -> float:
    return torch.randint(round(100 * strength) + 1, (1,), generator=generator).item() / 100
