"""How much worse a model predicts the truth once it is fed with its own codes.

Letters: B images, K scales, L_k codes of scale k, V codes.

Source: ours, to measure what SAR (arXiv 2512.06421) is about.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.training import Prepared
from torch import Tensor, nn

from ..backbones.flexvar.model import FlexVar
from ..backbones.flexvar.objective import FlexVarObjective
from ..backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ..backbones.scale_transformer.objective import TeacherPass
from ..decoding.image_sampler import ImageSampler
from ..decoding.scalewise import ScalePasses, generate_scales
from ..scales import ScaleSchedule
from ..tokenizers.scale_history import teacher_inputs
from .rollout import roll_out
from .uniforms import rollout_uniforms

__all__ = ["BIAS", "FREE", "SELF", "TRUTH", "ExposureObjective"]

TRUTH, SELF, FREE, BIAS = "nll", "self_nll", "free_nll", "exposure_bias"
"""Names of metrics, in nats per code; those of a scale end with its grid, ``nll_4x4``."""

OWN = ImageSampler(convention="var")
"""The model's own distribution: no guidance, no filter."""


class ExposureObjective(FlexVarObjective):
    """FlexVAR's loss on held-out samples, and the cross-entropy of the true codes of each scale under other inputs.

    ``nll`` feeds every scale with the true codes of the one before. ``self_nll`` feeds it with codes that the model drew for the one
    before from the true context, as SAR's second pass in the variant ``full`` does. ``exposure_bias`` is the difference, of each scale
    but the first, and of all of these together. ``free_nll``, if asked for, feeds every scale with codes that the model drew
    without any truth, scale after scale: those are of another image, so that it contains what the image decides, not only what
    errors do.

    Samples are measured on the default schedule, with numbers of their own to draw by, at every call the same.

    Args:
        config: hyperparameters; label dropout is for training and should be 0.
        model: what is measured.
        stored: the sides 1 to S whose codes samples carry.
        free: whether ``free_nll`` is measured, which takes as many passes as there are scales, and one.
    """

    def __init__(
        self, config: FlexVarObjectiveConfig, model: FlexVar, stored: ScaleSchedule, *, free: bool = False
    ) -> None:
        super().__init__(config, model, stored, step_samples=None)
        self.free = free

    def prepare(self, batch: list[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Prepare as FlexVAR does, with weights of all metrics and the numbers to draw by, ``uniforms`` [B, L]."""
        prepared = super().prepare(batch, rng)
        schedule = ScaleSchedule(prepared.meta["sizes"])
        prepared.tensors["uniforms"] = rollout_uniforms(batch, rng, schedule)
        for name, _, k in self._metrics(schedule):
            prepared.weights[name] = prepared.weights.get(name, 0.0) + len(batch) * schedule.lengths[k]
        return prepared

    @torch.no_grad()
    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Return FlexVAR's sums, and those of all metrics; no graph is kept."""
        forced = self.teacher_pass(models, prepared)
        found, uniforms = self.scored(forced), prepared.tensors["uniforms"]
        losses = {TRUTH: self._losses(forced, forced.hidden)}
        own = roll_out(forced, range(forced.schedule.count), OWN, uniforms, max_logits=self.config.max_logits)
        losses[SELF] = self._losses(forced, self._fed_with(forced, own))
        losses[BIAS] = [mine - true for mine, true in zip(losses[SELF], losses[TRUTH], strict=True)]
        if self.free:
            losses[FREE] = self._losses(forced, self._fed_with(forced, _generated(forced, uniforms)))
        for name, kind, k in self._metrics(forced.schedule):
            found[name] = found.get(name, 0) + losses[kind][k]
        return found

    def _metrics(self, schedule: ScaleSchedule) -> Iterator[tuple[str, str, int]]:
        """Name, kind and scale of all that adds up to metrics; the first scale has no inputs that could be its own."""
        for kind in (TRUTH, SELF, BIAS, *([FREE] if self.free else [])):
            for k, (height, width) in enumerate(schedule.sizes):
                if k or kind == TRUTH:
                    yield f"{kind}_{height}x{width}", kind, k
        for k in range(1, schedule.count):
            yield BIAS, BIAS, k

    def _losses(self, forced: TeacherPass, hidden: Tensor) -> list[Tensor]:
        """Cross-entropy of the true codes, summed over each scale."""
        model, codes = forced.model, forced.codes
        with model.head.autocast(hidden):
            states, head = model.head.as_matrix(hidden, forced.condition)
            rows = torch.arange(codes.numel(), device=codes.device).view_as(codes)
            return [
                summed_cross_entropy(
                    states,
                    Targets(rows[:, place].flatten(), codes[:, place].flatten()),
                    head,
                    vocab_size=model.config.vocab_size,
                    max_logits=self.config.max_logits,
                )
                for place in forced.schedule.slices
            ]

    def _fed_with(self, forced: TeacherPass, codes: list[Tensor]) -> Tensor:
        """Hidden states of all scales, [B, L, C], fed with other codes than the true ones."""
        inputs = teacher_inputs(forced.tokenizer.history(len(codes[0]), forced.schedule), codes)
        return forced.model.teacher_forced(forced.condition, inputs, forced.schedule)


def _generated(forced: TeacherPass, uniforms: Tensor) -> list[Tensor]:
    """Codes drawn from nothing but the condition."""
    schedule, model = forced.schedule, forced.model
    history = forced.tokenizer.history(len(forced.codes), schedule)
    passes = ScalePasses(model, forced.condition, None, schedule, (1.0,) * schedule.count)
    codes, _ = generate_scales(
        passes, history, lambda k, logits, generators: OWN.place(logits, uniforms[:, schedule.slices[k]])
    )
    return codes
