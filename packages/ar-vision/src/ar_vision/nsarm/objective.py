"""The objectives of both stages (arXiv 2510.00820, overview figure, and the released classes that make targets)."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.corruption import SampleRng
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ..backbones.infinity.objective import NO_DECAY, TERM, InfinityObjective
from ..pixels import to_signed
from ..text.encoder import TextEncoder
from ..tokenizers.bsq.bit_history import BitHistory
from ..tokenizers.bsq.model import BsqTokenizer
from .config import NsarmModelConfig
from .low_samples import degraded
from .map_network import MapNetwork
from .model import Nsarm
from .objective_config import NsarmTraining
from .prediction import predicted_residuals
from .targets import joint_targets, residual_targets, running_sums

__all__ = ["CONSISTENCY", "MAP", "PREFIX_ACCURACY", "JointObjective", "MapObjective", "residual_errors"]

MAP, CONSISTENCY, PREFIX_ACCURACY = "residuals", "consistency", "prefix_accuracy"
"""Squared error of M's residuals, and of their running sums; share of the bits of the first scales that M gets right."""


def residual_errors(predicted: Sequence[Tensor], targets: Sequence[Tensor], reduction: str) -> Tensor:
    """Return the mean squared error of each sample, float32 [B].

    Args:
        predicted: [B, d, S_k, S_k] of each scale.
        targets: the same.
        reduction: ``tokens``, over all entries of all scales; ``scales``, over each scale, then over these.
    """
    errors = [(one - other).square().flatten(1) for one, other in zip(predicted, targets, strict=True)]
    if reduction == "tokens":
        return torch.cat(errors, dim=1).mean(1)
    return torch.stack([error.mean(1) for error in errors]).mean(0)


def right_bits(predicted: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the share of equal signs of each sample, float32 [B]."""
    same = [((one > 0) == (other > 0)).flatten(1) for one, other in zip(predicted, targets, strict=True)]
    return torch.cat(same, dim=1).float().mean(1)


class MapObjective:
    """Stage 1: M learns the residuals R_1 ... R_m of the HQ image from the LQ one, by their squared error.

    Targets are residuals before their sign is taken; decoding takes M's signs. Models: ``map``; ``tokenizer``, frozen.

    Args:
        config: hyperparameters.
        shape: of both networks.
    """

    def __init__(self, config: NsarmTraining, shape: NsarmModelConfig) -> None:
        self.config, self.shape, self.schedule = config, shape, shape.schedule
        self.coefficients: Mapping[str, float] = {MAP: 1.0}
        if config.consistency_weight:
            self.coefficients = {MAP: 1.0, CONSISTENCY: config.consistency_weight}

    def players(self) -> Sequence[Player]:
        """One optimiser turn over M."""
        return (Player(models=("map",)),)

    def prepare(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Degrade the photographs.

        Args:
            batch: B samples with ``index`` and ``image``.
            rng: stream "degradation".

        Returns:
            tensors: ``image`` [B, 3, H, W] and ``low`` [B, 3, h, w] in [-1, 1]. Weights: B.

        Raises:
            DataError: a sample has no image, or one that cannot be degraded.
        """
        low = degraded(batch, self.config.degrading, rng)
        image = torch.stack([to_signed(sample["image"]) for sample in batch])
        names = (*self.coefficients, PREFIX_ACCURACY)
        meta = {"tokens": len(batch) * sum(self.schedule.lengths[: self.shape.map.count])}
        return Prepared({"image": image, "low": low}, dict.fromkeys(names, float(len(batch))), meta)

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Encode both images, run M.

        Returns:
            ``residuals``, ``prefix_accuracy`` and, where it has a weight, ``consistency``: sums over samples, float32.

        Raises:
            DataError: LQ images are of another size than M takes.
            ConfigError: HQ images are of another grid than the schedule.
        """
        tokenizer, network = cast(BsqTokenizer, models["tokenizer"]), cast(MapNetwork, models["map"])
        with torch.no_grad(), torch.autocast(prepared.tensors["image"].device.type, enabled=False):
            features = tokenizer.encode(prepared.tensors["image"]).float()
            history = tokenizer.history(len(features), self.schedule)
            targets = residual_targets(features, history, network.config.count)
        predicted = predicted_residuals(network, tokenizer, prepared.tensors["low"], self.schedule)
        return self.errors(predicted, targets, history)

    def errors(self, predicted: Sequence[Tensor], targets: Sequence[Tensor], history: BitHistory) -> dict[str, Tensor]:
        """Return the sums of residuals against their targets.

        Args:
            predicted: [B, d, S_k, S_k] of each scale.
            targets: the same.
            history: enlarges them.

        Returns:
            The entries of :meth:`sums`, scalars.
        """
        found = {
            MAP: residual_errors(predicted, targets, self.config.reduction).sum(),
            PREFIX_ACCURACY: right_bits(predicted, targets).sum(),
        }
        if CONSISTENCY in self.coefficients:
            own, true = running_sums(predicted, history), running_sums(targets, history)
            found[CONSISTENCY] = residual_errors(own, true, "scales").sum()
        return found


class JointObjective(InfinityObjective):
    """Stage 2: the transformer learns the bits of the later scales behind those of M, and M what helps it, end to end.

    Loss and weighting of Infinity, over the bits of the scales that the transformer writes. Models: ``model``, the Infinity; ``map``;
    ``tokenizer`` and ``text``, frozen.

    Args:
        config: hyperparameters.
        model: both networks.
        text: encoder of the captions, or of the one prompt.
    """

    def __init__(self, config: NsarmTraining, model: Nsarm, text: TextEncoder) -> None:
        super().__init__(config.transformer, model.transformer, model.config.schedule, text)
        self.joint, self.count = config, model.config.map.count
        self.coefficients: Mapping[str, float] = {TERM: 1.0}
        if config.map_weight:
            self.coefficients = {TERM: 1.0, MAP: config.map_weight}
        # A name that spares nothing trainable is refused, and some blocks may be frozen.
        trained = [name for name, one in model.transformer.named_parameters() if one.requires_grad]
        self._spared = tuple(end for end in NO_DECAY if any(f".{name}".endswith(f".{end}") for name in trained))

    def players(self) -> Sequence[Player]:
        """One optimiser turn over both networks, M perhaps at a learning rate of its own."""
        lr = self.joint.map_lr
        return (Player(models=("model", "map"), no_decay=self._spared, model_lrs={} if lr is None else {"map": lr}),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Prepare as Infinity does, and degrade the photographs: ``low`` [B, 3, h, w], stream "degradation"."""
        low = degraded(batch, self.joint.degrading, rng)
        prompt = self.joint.prompt
        told = batch if prompt is None else [{**sample, "caption": prompt} for sample in batch]
        prepared = super().prepare(told, rng)
        prepared.tensors["low"] = low
        prepared.weights |= dict.fromkeys((MAP, PREFIX_ACCURACY), float(len(batch)))
        return prepared

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run M, make inputs and labels along its path, run the transformer.

        Returns:
            ``bits`` and ``bit_accuracy`` of the scored scales, ``residuals`` and ``prefix_accuracy`` of M: sums over samples.

        Raises:
            DataError: a text or an LQ image does not fit the models.
            ConfigError: HQ images are of another grid than the schedule.
        """
        network, tokenizer = cast(MapNetwork, models["map"]), cast(BsqTokenizer, models["tokenizer"])
        features = self.features(models, prepared).float()
        predicted = predicted_residuals(network, tokenizer, prepared.tensors["low"], self.schedule)
        with torch.autocast(features.device.type, enabled=False):
            targets = joint_targets(features, predicted, self.history(features), self.flips(prepared))
            true = residual_targets(features, self.history(features), self.count)
        found = self.scored(models, prepared, targets, 0 if self.joint.loss_scales == "all" else self.count)
        found[MAP] = residual_errors(predicted, true, self.joint.reduction).sum()
        found[PREFIX_ACCURACY] = right_bits(predicted, true).sum()
        return {name: value if name in self.coefficients else value.detach() for name, value in found.items()}
