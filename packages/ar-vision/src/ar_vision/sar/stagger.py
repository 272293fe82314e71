"""Stagger-scale rollout: the second pass, in which scales are fed with what the model itself chose for the scale before.

Of K = 4 scales (columns: what each scale of the second pass sees; a: its input comes from rolled-out codes of the scale before,
c: the class token):

    full       0 1 2 3        released   0 3        single, j = 1   0 2
           0   c . . .               0   c .                    0   c .
           1   c a . .               3   c a                    2   c a
           2   c a a .
           3   c a a a

In ``full`` scale 0 is the first pass's own: class embedding and start. The two others replace scale 0, whatever its grid, by one
token of class embedding and mean position, without the start.

Source: SAR (arXiv 2512.06421) and its published code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backbones.scale_mask import scale_mask
from ..backbones.scale_transformer.model import ScaleTransformer
from ..scales import ScaleSchedule
from ..tokenizers.scale_history import teacher_inputs
from ..tokenizers.tokenizer import Tokenizer
from .config import Rollout

__all__ = ["predicted", "student_hidden", "student_inputs", "transitions"]


def transitions(rollout: Rollout, count: int, drawn: int) -> range:
    """Return the scales j whose rolled-out codes are fed to scale j + 1; none of a schedule of one scale.

    Args:
        rollout: which variant.
        count: K.
        drawn: of ``single``, a number from 0 to K-2.
    """
    if rollout == "full":
        return range(count - 1)
    first = count - 2 if rollout == "released" else drawn
    return range(max(first, 0), min(first + 1, count - 1))


def predicted(fed: range, schedule: ScaleSchedule) -> slice:
    """Return where the scales that the second pass predicts lie among the L codes: those behind the ones that it is fed with."""
    scales = schedule.slices[fed.start + 1 : fed.stop + 1]
    return slice(scales[0].start, scales[-1].stop)


@torch.no_grad()
def student_inputs(tokenizer: Tokenizer, rolled: Sequence[Tensor], fed: range, schedule: ScaleSchedule) -> list[Tensor]:
    """Return what decoding would feed, had it chosen the rolled-out codes; by the same history.

    Args:
        tokenizer: of independent scales, whose next input depends on the last scale alone.
        rolled: codes of the scales of ``fed``, int64 [B, L_j] each; what follows them is not read.
        fed: consecutive scales j.
        schedule: K scales.

    Returns:
        For each j the input of scale j + 1, [B, Cv, h_{j+1}, w_{j+1}].
    """
    part = ScaleSchedule(schedule.sizes[fed.start : fed.stop + 1])
    history = tokenizer.history(len(rolled[0]), part)
    return teacher_inputs(history, [*rolled[: len(fed)], rolled[0]])


def student_hidden(
    model: ScaleTransformer,
    condition: Tensor,
    inputs: Sequence[Tensor],
    fed: range,
    schedule: ScaleSchedule,
    rollout: Rollout,
) -> Tensor:
    """Run the second pass.

    Args:
        model: a FlexVAR.
        condition: [B, C].
        inputs: of :func:`student_inputs`, [B, Cv, h, w] of each scale j + 1.
        fed: scales j.
        schedule: K scales.
        rollout: the layout.

    Returns:
        Hidden states of the places :func:`predicted`, [B, M, C].
    """
    if rollout == "full":
        return model.teacher_forced(condition, inputs, schedule)[:, predicted(fed, schedule)]
    pair = ScaleSchedule(((1, 1), schedule.sizes[fed.stop]))
    first = condition[:, None] + model.positions_of(0, pair)
    x = torch.cat([first, model.embed(1, inputs[0], condition, pair)], dim=1)
    # The class token is no place of the loss, and never sees the head.
    return model.hidden(x, condition, scale=None, schedule=pair, mask=scale_mask(pair, x.device))[:, 1:]
