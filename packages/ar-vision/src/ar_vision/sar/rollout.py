"""The model's own codes of every scale, chosen from a pass that was fed with the ground truth.

Letters: B images, K scales, L_k codes of scale k, L of all, V codes, C width.

Source: SAR (arXiv 2512.06421) and its published code.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from ar_core.sampling import guide
from torch import Tensor

from ..backbones.scale_transformer.objective import TeacherPass
from ..decoding.image_sampler import ImageSampler
from ..scales import ScaleSchedule

__all__ = ["null_hidden", "roll_out", "rollout_guidance"]

ROLLED_LOGITS = 2**24
"""Most logits that a rollout holds at once: sorting and summing them takes several copies, some of twice the width."""


def rollout_guidance(scale: float, schedule: ScaleSchedule) -> tuple[float, ...]:
    """Return g_k of each scale: 1 + (g - 1) (1 + k / (K - 1)) / 2, from half of the guidance to the whole.

    It is the published ramp of rollouts, t = s (1 + k / (K - 1)) / 2 with g = 1 + t; that of decoding begins with none.
    A schedule of one scale has k / (K - 1) = 0.
    """
    last = max(schedule.count - 1, 1)
    return tuple(1 + (scale - 1) * (1 + k / last) / 2 for k in range(schedule.count))


@torch.no_grad()
def null_hidden(forced: TeacherPass) -> Tensor:
    """Run the same inputs as a pass under the null class; [B, L, C], no part of any graph.

    The published trainer runs these rows in the batch of the pass itself and keeps the activations of both halves.
    """
    null = forced.model.null_condition(len(forced.codes))
    return forced.model.teacher_forced(null, forced.inputs, forced.schedule)


@torch.no_grad()
def roll_out(
    forced: TeacherPass,
    scales: Sequence[int],
    sampler: ImageSampler,
    uniforms: Tensor,
    *,
    null: Tensor | None = None,
    guidance: Sequence[float] = (),
    max_logits: int | None = None,
) -> list[Tensor]:
    """Choose the codes of scales from what a pass under teacher forcing predicts of them: one step deep, all in parallel.

    Logits are made chunk by chunk of codes, so that what is held depends on neither L nor the number of scales, and are never
    those of a loss: filters cannot touch these.

    Args:
        forced: the pass.
        scales: k of those to choose.
        sampler: how.
        uniforms: float64 [B, L] in [0, 1), one number a code; a greedy sampler does not read them.
        null: hidden states of :func:`null_hidden`, [B, L, C]; None: no guidance.
        guidance: g_k of all K scales, beside ``null``.
        max_logits: most logits held at once, of both halves; never more than 2^24, never less than a code's.

    Returns:
        int64 [B, L_k] for each of the scales.
    """
    model, schedule = forced.model, forced.schedule
    with model.head.autocast(forced.hidden):
        given, head = model.head.as_matrix(forced.hidden, forced.condition)
        given, weight = head.operands(given)
        beside = None
        if null is not None:
            beside = model.head.as_matrix(null, model.null_condition(len(null)))[0].to(given.dtype)
        most = ROLLED_LOGITS if max_logits is None else min(max_logits, ROLLED_LOGITS)
        size = max(1, most // (len(weight) * (1 if beside is None else 2)))
        rolled = []
        for k in scales:
            where, chosen = schedule.slices[k], []
            rows, numbers = given[:, where].flatten(0, 1), uniforms[:, where].flatten()
            others = None if beside is None else beside[:, where].flatten(0, 1)
            for start in range(0, len(rows), size):
                part = slice(start, start + size)
                logits = _wide(F.linear(rows[part], weight))
                if others is not None:
                    logits = guide(logits, _wide(F.linear(others[part], weight)), guidance[k])
                chosen.append(sampler.place(logits, numbers[part]))
            rolled.append(torch.cat(chosen).view(-1, schedule.lengths[k]))
    return rolled


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
