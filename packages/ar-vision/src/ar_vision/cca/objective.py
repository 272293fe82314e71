"""The objective of CCA: images under their own class against images under another one.

Source: CCA (arXiv 2410.09347), section 3, and its published code.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ..backbones.class_labels import checked_labels
from ..backbones.condition_dropout import drops_condition
from ..scales import ScaleSchedule
from .config import CcaConfig, CcaPairs
from .likelihood import Laid, Likelihood
from .losses import pair_losses
from .reference import DropoutDraws, reference_log_probs

__all__ = ["CcaObjective", "laid_of", "prepare_pairs"]


def prepare_pairs(
    batch: Sequence[Mapping[str, Any]], rng: SampleRng, likelihood: Likelihood, config: CcaPairs
) -> Prepared:
    """Lay out pairs, and decide which of them lose both classes.

    Args:
        batch: B samples of `PairSource`: ``index``, ``codes``, ``label``, ``negative``.
        rng: decides about each sample by its number, stream "condition".
        likelihood: of the model's kind.
        config: whose ``uncond_ratio`` is taken.

    Returns:
        tensors: ``codes`` int64 [B, L]; ``labels`` int64 [2, B], the own classes and the others; ``null`` bool [B]. No weights.

    Raises:
        DataError: a label is no class, or codes are not the model's.
    """
    laid = likelihood.lay(batch, rng)
    classes = likelihood.num_classes
    own, other = (
        checked_labels([int(sample[name]) for sample in batch], classes, null=False) for name in ("label", "negative")
    )
    null = torch.tensor([drops_condition(config.uncond_ratio, rng, sample["index"]) for sample in batch])
    return Prepared(
        tensors={
            "codes": laid.codes,
            "labels": torch.stack([own, other]).masked_fill(null, classes),
            "null": null,
        },
        weights={},
        meta={"sizes": None if laid.schedule is None else laid.schedule.sizes, "tokens": 2 * laid.codes.numel()},
    )


def laid_of(prepared: Prepared) -> Laid:
    """Return the codes of :func:`prepare_pairs` with their schedule."""
    sizes = prepared.meta["sizes"]
    return Laid(prepared.tensors["codes"], None if sizes is None else ScaleSchedule(sizes))


class CcaObjective:
    """The loss of the pairs of a step, a mean over all its samples; see `pair_losses`.

    The trained model runs once, on two rows for each sample. Metrics: ``accuracy``, how often a sample is likelier under its own
    class, by the log-ratio; ``margin`` between the two; and the mean log-ratios ``gap_real`` of samples under their own class,
    ``gap_mismatched`` under another, ``gap_null`` under none. Healthy runs keep the first near 0 or a little below and the
    last at 0. ``nll``: nats per code under the own class.

    Args:
        config: hyperparameters.
        likelihood: of the model's kind.
    """

    def __init__(self, config: CcaConfig, likelihood: Likelihood) -> None:
        self.config, self.likelihood = config, likelihood
        self.coefficients: Mapping[str, float] = {config.loss: config.coefficient}

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model; the starting model and the tokenizer are frozen."""
        return (Player(no_decay=tuple(self.likelihood.spared)),)

    def prepare(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Lay out pairs as :func:`prepare_pairs` does, and count them.

        Args:
            batch: as there; with ``reference``, a `Scores`, where log-probabilities are stored.
            rng: as there.

        Returns:
            tensors: as there, ``positive`` bool [B], and ``reference`` float32 [2, B] where stored. Weights: samples of the loss and
            of each metric.

        Raises:
            DataError: as there; or stored values are of other pairs.
        """
        prepared = prepare_pairs(batch, rng, self.likelihood, self.config)
        labels, null = prepared.tensors["labels"], prepared.tensors["null"]
        same = labels[0] == labels[1]
        prepared.tensors["positive"] = null | same if self.config.same_class == "positive" else null
        if "reference" in batch[0]:
            scores = [sample["reference"] for sample in batch]
            wrong = (torch.stack([one.labels for one in scores], 1) != labels).any(0).nonzero().flatten()
            if len(wrong):
                raise DataError(
                    f"the stored log-probabilities of sample {batch[int(wrong[0])]['index']} are of the classes "
                    f"{scores[int(wrong[0])].labels.tolist()} and the run pairs {labels[:, wrong[0]].tolist()}: make them anew "
                    "(recipe cca_log_probs)"
                )
            prepared.tensors["reference"] = torch.stack([one.log_probs for one in scores], 1)
        real, mismatched = len(batch) - int(null.sum()), len(batch) - int((null | same).sum())
        prepared.weights = {
            self.config.loss: len(batch),
            "accuracy": mismatched,
            "margin": mismatched,
            "gap_real": real,
            "gap_mismatched": mismatched,
            "gap_null": len(batch) - real,
            "nll": real * prepared.tensors["codes"].shape[1],
        }
        return prepared

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run both models and sum the losses of the pairs.

        Args:
            models: ``model``, ``tokenizer``, and ``reference`` where nothing is stored; the latter two frozen.
            prepared: of :meth:`prepare`.

        Returns:
            Loss and metrics: scalars, float32 or better.
        """
        tensors, laid = prepared.tensors, laid_of(prepared)
        labels, null = tensors["labels"], tensors["null"]
        draws = DropoutDraws(labels.device) if self.config.reference_dropout == "shared" else None
        log_probs = self.likelihood.log_probs(
            models["model"], models["tokenizer"], laid, labels, self.config.max_logits
        )
        reference = tensors["reference"] if "reference" in tensors else self._reference(models, laid, labels, draws)
        real, other = (log_probs - reference).unbind()
        losses = pair_losses(real, other, tensors["positive"], self.config)
        mismatched = ~null & (labels[0] != labels[1])
        return {
            self.config.loss: losses.sum(),
            "accuracy": _over(mismatched, (real > other).to(real.dtype)),
            "margin": _over(mismatched, real - other),
            "gap_real": _over(~null, real),
            "gap_mismatched": _over(mismatched, other),
            "gap_null": _over(null, real),
            "nll": _over(~null, -log_probs[0]),
        }

    def _reference(
        self, models: Mapping[str, nn.Module], laid: Laid, labels: Tensor, draws: DropoutDraws | None
    ) -> Tensor:
        plain = self.config.reference_dropout == "off" or not models["model"].training
        # With dropout all at once, as the trained model runs: masks are those of a pass.
        size = self.config.reference_batch_size if plain else len(laid.codes)
        reference = models["reference"].train(not plain)
        try:
            with nullcontext() if plain or draws is None else draws.again():
                return reference_log_probs(
                    self.likelihood, models, laid, labels, batch_size=size, max_logits=self.config.max_logits
                )
        finally:
            reference.eval()


def _over(chosen: Tensor, values: Tensor) -> Tensor:
    return torch.where(chosen, values.detach(), 0).sum()
