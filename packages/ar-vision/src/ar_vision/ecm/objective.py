"""The objective of ECM: VAR's, under control, over the first scales."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.corruption import SampleRng
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ..backbones.condition_dropout import drops_condition
from ..backbones.scale_mask import scale_mask
from ..backbones.scale_transformer.objective import TERM, TeacherPass
from ..backbones.var.model import Var
from ..backbones.var.objective import VarObjective
from ..pixels import to_signed
from ..scales import ScaleSchedule
from ..tokenizers.scale_history import teacher_inputs
from ..tokenizers.tokenizer import Tokenizer
from .base_pass import BasePass
from .controller import Controller
from .controls.config import ControlConfig
from .controls.extract import extractor_of
from .objective_config import EcmObjectiveConfig

__all__ = ["EcmObjective"]


class EcmObjective(VarObjective):
    """Next-scale cross-entropy of the first K' scales, the controller alone being trained (ECM, arXiv 2510.05610).

    Since attention is causal over scales, what is learned of a scale does not depend on how many there are behind it.

    Args:
        config: hyperparameters.
        base: the frozen transformer; only its sizes are read.
        controller: what is trained; only names are read.
        controls: T kinds of control, by the number that samples carry.
        step_samples: samples of an optimiser step, by which a sample's number tells its step.
    """

    def __init__(
        self,
        config: EcmObjectiveConfig,
        base: Var,
        controller: Controller,
        controls: Sequence[ControlConfig],
        step_samples: int,
    ) -> None:
        super().__init__(config, base)
        self.control, self.controls, self._per_step = config, tuple(controls), step_samples
        self._scales = base.schedule
        names = [name for name, _ in controller.named_parameters()]
        self._no_decay = tuple(
            end for end in controller.no_decay if any(f".{name}".endswith(f".{end}") for name in names)
        )

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the controller; base and tokenizer are frozen."""
        return (Player(no_decay=self._no_decay),)

    def prepare(self, batch: list[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Prepare as VAR does, cut off behind scale K', and make control maps.

        Args:
            batch: B samples of `with_maps`; those without a label are of the null class.
            rng: decides about each sample, and about K' by the number of the step (stream "prefix").

        Returns:
            VAR's for the first K' scales, with tensors ``maps`` uint8 [B, 3, H, W], ``kinds`` int64 [B] and ``dropped`` bool [B]; meta
            ``scales``, K'. With ``fixed`` the weight of the loss is B L whatever K' is.

        Raises:
            DataError: a label is no class of the model, or codes are of other scales.
        """
        unlabelled = torch.tensor(["label" not in sample for sample in batch])
        prepared = super().prepare([{"label": 0, **sample} for sample in batch], rng)
        step = batch[0]["index"] // self._per_step
        scales = self.control.prefixes.draw(self._scales.count, rng.key(step, "prefix"))
        prefix = ScaleSchedule(self._scales.sizes[:scales])
        whole = prepared.weights[TERM]
        prepared.weights = self.counted(len(batch), prefix)
        if self.control.normalisation == "fixed":
            prepared.weights[TERM] = whole
        tensors = prepared.tensors
        tensors["codes"] = tensors["codes"][:, : prefix.total].contiguous()
        tensors["maps"], tensors["kinds"] = self.maps_of(batch)
        alone = [drops_condition(self.control.control_dropout, rng, sample["index"], "control") for sample in batch]
        both = torch.tensor(
            [drops_condition(self.control.joint_dropout, rng, sample["index"], "joint") for sample in batch]
        )
        tensors["dropped"] = torch.tensor(alone) | both
        tensors["labels"] = tensors["labels"].masked_fill(both | unlabelled, self.num_classes)
        prepared.meta |= {"scales": scales, "tokens": tensors["codes"].numel()}
        return prepared

    def maps_of(self, batch: Sequence[Mapping[str, Any]]) -> tuple[Tensor, Tensor]:
        """Return the control maps of samples, uint8 [B, 3, H, W], and their kinds, int64 [B]."""
        kinds = torch.tensor([int(sample["kind"]) for sample in batch])
        maps = torch.stack([sample["image"] if "image" in sample else sample["map"] for sample in batch])
        for number, control in enumerate(self.controls):
            rows = (kinds == number).nonzero().flatten()
            if control.extracted and len(rows):
                maps[rows] = extractor_of(control)(maps[rows])
        return maps, kinds

    def teacher_pass(self, models: Mapping[str, nn.Module], prepared: Prepared) -> TeacherPass:
        """Run the base under control over the codes of the first K' scales, each fed with the ground truth before it.

        Args:
            models: ``model``, the controller; ``base`` and ``tokenizer``, which are frozen.
            prepared: of :meth:`prepare`.
        """
        controller, base, tokenizer = models["model"], models["base"], cast(Tokenizer, models["tokenizer"])
        assert isinstance(controller, Controller)
        assert isinstance(base, Var)
        tensors, scales = prepared.tensors, prepared.meta["scales"]
        codes, whole = tensors["codes"], base.schedule
        prefix = ScaleSchedule(whole.sizes[:scales])
        with torch.no_grad():
            inputs = teacher_inputs(tokenizer.history(len(codes), whole), prefix.split(codes))
        maps = to_signed(tensors["maps"]).to(base.start.dtype)
        features = controller.features(
            maps, tokenizer, kinds=tensors["kinds"], dropped=tensors["dropped"], scales=scales
        )
        transformer = controller.transformer(base)
        condition = transformer.condition(tensors["labels"])
        fed: list[Tensor | None] = [None, *inputs]
        x = torch.cat([transformer.embed(k, one, condition, whole) for k, one in enumerate(fed)], dim=1)
        given = BasePass(base, x, condition, scale=None, mask=scale_mask(prefix, x.device))
        hidden = controller.hidden(given, features)
        return TeacherPass(transformer, tokenizer, codes, prefix, inputs, condition, hidden)
