"""The objective of an image tokenizer: a game of two players where a discriminator is used.

Source: VQGAN (arXiv 2012.09841, section 3.1); terms of VQ-VAE (arXiv 1711.00937, equation 3).
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.training import Player, Prepared, Ranks
from torch import Tensor, nn

from ...pixels import to_signed
from ...scales import ScaleSchedule
from ..codebook_tokenizer import CodebookTokenizer
from ..tokenizer_output import DualTokenizerOutput, TokenizerOutput
from .adaptive_weight import AdaptiveWeight
from .config import TokenizerTrainingConfig
from .discriminator import discriminator_loss, generator_loss
from .usage import CodebookUsage, of_codebook

__all__ = ["DISCRIMINATOR", "TOKENIZER", "TokenizerObjective"]

TOKENIZER, DISCRIMINATOR = "tokenizer", "discriminator"
"""Names of the players and of their models."""

METERS = ("share", "perplexity", "revived")


class TokenizerObjective:
    """Reconstruction, perceptual, codebook, commitment and adversarial loss, each a mean over the images of a step.

    The tokenizer moves first, on all terms but the discriminator's; the discriminator then learns from the reconstructions of
    that same pass, with gradients stopped. Adversarial terms are means over images of steps from
    ``adversarial_start_step`` on: before it their weight is 0 and no discriminator runs.

    Models: ``tokenizer``; ``discriminator`` and ``lpips`` where their weights are not 0; ``usage`` (:class:`CodebookUsage`; of several
    codebooks ``usage_NAME`` each) and ``balance`` (:class:`AdaptiveWeight`) where they are asked for, which hold the state of the
    tokenizer's player.

    Args:
        config: hyperparameters.
        batch_size: images of an optimiser step, over all ranks: a sample's number tells its step.
        codebooks: names of the tokenizer's codebooks; the only one needs none.
    """

    def __init__(self, config: TokenizerTrainingConfig, *, batch_size: int, codebooks: Sequence[str] = ("",)) -> None:
        self.config, self.batch_size = config, batch_size
        self.codebooks = tuple(codebooks) if config.usage is not None else ()
        self.choices = config.choices
        self.coefficients: Mapping[str, float] = config.coefficients
        self.adversarial = bool(config.adversarial_weight)

    def players(self) -> Sequence[Player]:
        """The tokenizer, and the discriminator where there is one."""
        state = [of_codebook("usage", name) for name in self.codebooks]
        state += ["balance"] if self.config.adaptive_weight else []
        terms = tuple(term for term in self.coefficients if term != DISCRIMINATOR)
        tokenizer = Player(TOKENIZER, models=(TOKENIZER, *state), terms=terms)
        if not self.adversarial:
            return (tokenizer,)
        rival = Player(DISCRIMINATOR, models=(DISCRIMINATOR,), terms=(DISCRIMINATOR,), lr=self.config.discriminator_lr)
        return (tokenizer, rival)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Stack the images, and choose the scales of their step.

        Args:
            batch: B samples of one optimiser step with `index` and `image`, uint8 [3, H, W] or float [3, H, W] in [-1, 1].
            rng: draws the scale of a step, where one is drawn.

        Returns:
            tensors: `image`, float32 [B, 3, H, W] in [-1, 1]; `place`, int64 [B], number of each image within the step.
            weights: B for every term and meter, 0 for adversarial ones before their time. meta: `step`, and `schedule` of it.
        """
        images = torch.stack([to_signed(sample["image"]) for sample in batch])
        indices = [int(sample["index"]) for sample in batch]
        step = indices[0] // self.batch_size
        schedule = self._schedule(step, rng)
        count = float(len(batch))
        playing = count if step >= self.config.adversarial_start_step else 0.0
        weights = dict.fromkeys(self.coefficients, count)
        weights |= {of_codebook(meter, name): count for name in self.codebooks for meter in METERS}
        if self.adversarial:
            weights |= {"adversarial": playing, DISCRIMINATOR: playing, "logits_real": playing, "logits_fake": playing}
        return Prepared(
            tensors={"image": images, "place": torch.tensor([index % self.batch_size for index in indices])},
            weights=weights,
            meta={"step": step, "schedule": schedule, "tokens": len(batch) * schedule.total},
        )

    def _schedule(self, step: int, rng: SampleRng) -> ScaleSchedule:
        usage = self.config.usage
        if usage is not None and usage.moves(step):
            # Codes move onto vectors of this step, of which the finest grid has the most.
            return self.choices[-1]
        return self.choices[rng.key(step, "scale of the step") % len(self.choices)]

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the models and sum each term over the images.

        Args:
            models: as the class lists them.
            prepared: of `prepare`.

        Returns:
            The terms of the player whose turn it is (of both outside a game), scalars in float32. Meters of the codebook:
            `share` used, `perplexity` and codes `revived`, of the last whole window, of several codebooks with their names behind.
            `logits_real` and `logits_fake` of the discriminator.
        """
        found: dict[str, Tensor] = {}
        if prepared.player != DISCRIMINATOR:
            found |= self._tokenizer_sums(models, prepared)
        if self.adversarial and prepared.player != TOKENIZER:
            found |= self._discriminator_sums(models, prepared)
        return found

    def after_step(self, models: Mapping[str, nn.Module], step: int, ranks: Ranks) -> None:
        """Close the step's counts of codes, and revive those that are not used; take note of the gradients' ratio."""
        books = cast(CodebookTokenizer, models[TOKENIZER]).named_codebooks if self.codebooks else {}
        for name in self.codebooks:
            cast(CodebookUsage, models[of_codebook("usage", name)]).settle(books[name], step, ranks)
        if self.config.adaptive_weight:
            cast(AdaptiveWeight, models["balance"]).settle(ranks)

    def _tokenizer_sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        tokenizer, images = cast(CodebookTokenizer, models[TOKENIZER]), prepared.tensors["image"]
        output = tokenizer.train_forward(images, prepared.meta["schedule"])
        reconstruction = output.reconstruction.float()
        targets = _in_size_of(reconstruction, images)
        difference = reconstruction - targets
        found = {"code": output.code_loss, "commit": output.commit_loss}
        per_pixel = difference.abs() if self.config.pixel == "l1" else difference.square()
        found["pixel"] = per_pixel.flatten(1).mean(1).sum()
        if self.config.perceptual_weight:
            found["perceptual"] = models["lpips"](reconstruction, targets).sum()
        learning = tokenizer.training and torch.is_grad_enabled()
        if self.adversarial:
            prepared.carry["reconstruction"] = reconstruction.detach()
            found["adversarial"] = self._adversarial_sum(models, prepared, reconstruction, found, learning=learning)
        found |= self.more_sums(models, prepared, output)
        return found | self._meters(models, prepared, output, learning=learning)

    def more_sums(
        self, models: Mapping[str, nn.Module], prepared: Prepared, output: TokenizerOutput | DualTokenizerOutput
    ) -> dict[str, Tensor]:
        """Return the terms that a method adds to those of the tokenizer, summed as these are; there are none here.

        Args:
            models: as the class lists them.
            prepared: of `prepare`.
            output: of the tokenizer's training pass over it.
        """
        return {}

    def _adversarial_sum(
        self,
        models: Mapping[str, nn.Module],
        prepared: Prepared,
        reconstruction: Tensor,
        found: Mapping[str, Tensor],
        *,
        learning: bool,
    ) -> Tensor:
        if not prepared.weights["adversarial"]:
            return reconstruction.new_zeros(())
        loss = generator_loss(self.config.adversarial_loss, models[DISCRIMINATOR](reconstruction)).sum()
        if not self.config.adaptive_weight:
            return loss
        balance = cast(AdaptiveWeight, models["balance"])
        if learning:
            layer = cast(CodebookTokenizer, models[TOKENIZER]).decoder.last_layer
            terms = [self.coefficients[term] * found[term] for term in ("pixel", "perceptual") if term in found]
            balance.note(torch.stack(terms).sum(), loss, layer)
        return balance.factor * loss

    def _meters(
        self,
        models: Mapping[str, nn.Module],
        prepared: Prepared,
        output: TokenizerOutput | DualTokenizerOutput,
        *,
        learning: bool,
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        places = prepared.tensors["place"]
        for name in self.codebooks:
            usage = cast(CodebookUsage, models[of_codebook("usage", name)])
            if learning:
                usage.note(output.lookups[name], places, prepared.meta["step"])
            found |= {of_codebook(meter, name): getattr(usage, meter) * len(places) for meter in METERS}
        return found

    def _discriminator_sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        images = prepared.tensors["image"]
        if not prepared.weights[DISCRIMINATOR]:
            return dict.fromkeys((DISCRIMINATOR, "logits_real", "logits_fake"), images.new_zeros(()))
        if "reconstruction" not in prepared.carry:
            with torch.no_grad():
                output = cast(CodebookTokenizer, models[TOKENIZER]).train_forward(images, prepared.meta["schedule"])
            prepared.carry["reconstruction"] = output.reconstruction.float()
        real = models[DISCRIMINATOR](_in_size_of(prepared.carry["reconstruction"], images))
        fake = models[DISCRIMINATOR](prepared.carry["reconstruction"])
        return {
            DISCRIMINATOR: discriminator_loss(self.config.adversarial_loss, real, fake).sum(),
            "logits_real": real.float().flatten(1).mean(1).sum(),
            "logits_fake": fake.float().flatten(1).mean(1).sum(),
        }


def _in_size_of(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Images `[B, 3, H, W]` in the size of reconstructions from a coarser grid than theirs."""
    size = reconstruction.shape[2:]
    return images if size == images.shape[2:] else F.interpolate(images, size=size, mode="area")
