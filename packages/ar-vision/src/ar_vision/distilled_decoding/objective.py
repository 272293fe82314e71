"""The objective of Distilled Decoding 1 (arXiv 2412.17153): from noise, and data up to unit t, to all codes behind."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.training import Player, Prepared
from ar_kernels import confidence_from_hidden
from torch import Tensor, nn

from ..backbones.scale_transformer.model import NO_DECAY
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from .conditions import checked_conditions, condition_of
from .config import CODE, GUESS, LPIPS, VECTOR, DistilledDecodingConfig
from .first_guess import FirstGuess
from .noise import noise_of
from .sequence import features_of
from .student import Student, StudentCondition, perturbed

__all__ = ["ACCURACY", "DistilledDecodingObjective"]

ACCURACY = "accuracy"
"""Share of the noisy tokens whose largest logit is the code."""


class DistilledDecodingObjective:
    """L = w_ce CE + w_mse MSE + w_p LPIPS + w_g CE of first guesses, each a mean over what it is taken over in the whole optimiser step.

    A sample's t is drawn from the timesteps of sampling. Its input is the code vectors of the first t units and the noise of the
    others. CE and MSE are means over the noisy tokens (and channels); LPIPS compares, image by image, the decoded sequence of code
    vectors with the one whose noisy tokens are the continuous head's.

    Models: ``model``, the student; ``tokenizer``, frozen, whose decoder gradients pass through; ``lpips`` where its weight is not 0.

    Args:
        config: hyperparameters.
        student: what is trained; only its sizes are read.
        batch_size: samples of an optimiser step, over all ranks: a sample's number tells its step.
        texts: features of the texts that conditions number, for a student of texts.
        accuracy: report the share of right codes, at the price of another pass of the head.

    Raises:
        ConfigError: timesteps or split are beyond the student's units, or first guesses are trained and not made, or made and not
            trained.
    """

    def __init__(
        self,
        config: DistilledDecodingConfig,
        student: Student,
        *,
        batch_size: int,
        texts: Sequence[Tensor] | None = None,
        accuracy: bool = False,
    ) -> None:
        self.config, self.units, self.schedule = config, student.units, student.schedule
        self.code_dim, self.batch_size, self.texts, self.accuracy = student.config.code_dim, batch_size, texts, accuracy
        self._conditions = partial(checked_conditions, student=student, texts=texts)
        self.coefficients = config.coefficients
        if config.timesteps[-1] >= self.units.count:
            raise ConfigError(
                f"timesteps are {list(config.timesteps)} and there are {self.units.count} units: give numbers below that"
            )
        guesses = isinstance(getattr(student, "first_guess", None), FirstGuess)
        if guesses != bool(config.guess_weight):
            raise ConfigError(
                f"guess_weight is {config.guess_weight} and the student makes {'' if guesses else 'no '}first guesses: give "
                f"{'a weight above 0, such as 0.5' if guesses else '0, or set model.guesses'}"
            )
        self.split = self.units.tokens(self.units.require("split", config.split))
        names = [name for name, _ in cast(nn.Module, student).named_parameters()]
        self._spared = tuple(end for end in NO_DECAY if any(f".{name}".endswith(f".{end}") for name in names))

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the student."""
        return (Player(no_decay=self._spared),)

    def prepare(self, batch: list[Any], rng: SampleRng) -> Prepared:
        """Make the noise, and draw how much of each sample is clean.

        Args:
            batch: B samples of one optimiser step: `index`, `label` (a class, or the number of a text), `seed` of the noise, `codes`
                int64 [n].
            rng: stream "timestep"; and "fresh noise" for the control.

        Returns:
            tensors: `noise` float32 [B, n, Cv], `codes` int64 [B, n], `labels` int64 [B], `clean` bool [B, n]; `continuous` bool
            [B, n], the tokens that the continuous head is trained on; `rows` and `targets` int64 [N], the flattened place of each
            token that the logits are trained on, and its code; `noisy` and `noisy_targets` the same of all noisy tokens, where first
            guesses are trained. weights: N; numbers of the vectors that the continuous head is trained on; B, or 0 before LPIPS joins;
            noisy tokens.

        Raises:
            DataError: a sample has more or fewer codes than the student, or a condition that it does not know.
        """
        codes = torch.stack([self._checked(sample) for sample in batch])
        labels = self._conditions([int(sample["label"]) for sample in batch])
        if self.config.noise == "paired":
            seeds = [int(sample["seed"]) for sample in batch]
        else:
            seeds = [rng.key(int(sample["index"]), "fresh noise") for sample in batch]
        given = torch.tensor([self._given(rng, int(sample["index"])) for sample in batch])
        place = torch.arange(self.units.total)
        clean = place < given[:, None]
        noisy, divided = ~clean, self.config.split_losses
        by_logits = noisy & (place < self.split) if divided else noisy
        by_vectors = noisy & (place >= self.split) if divided else noisy
        rows = by_logits.flatten().nonzero()[:, 0]
        step = int(batch[0]["index"]) // self.batch_size
        playing = float(len(batch)) if step >= self.config.lpips_start_step else 0.0
        noise = noisy.flatten().nonzero()[:, 0]
        counts = {
            CODE: float(len(rows)),
            VECTOR: float(by_vectors.sum()) * self.code_dim,
            LPIPS: playing,
            GUESS: float(len(noise)),
        }
        weights = {name: counts[name] for name in self.coefficients}
        if self.accuracy:
            weights[ACCURACY] = float(len(rows))
        return Prepared(
            tensors={
                "noise": noise_of(seeds, self.units.total, self.code_dim),
                "codes": codes,
                "labels": labels,
                "clean": clean,
                "continuous": by_vectors,
                "rows": rows,
                "targets": codes.flatten()[rows],
                **({"noisy": noise, "noisy_targets": codes.flatten()[noise]} if GUESS in self.coefficients else {}),
            },
            weights=weights,
            meta={"tokens": codes.numel()},
        )

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the student and sum each term.

        Args:
            models: as the class lists them.
            prepared: of :meth:`prepare`.

        Returns:
            ``code``, ``vector``, ``lpips`` and ``guess``, those of weight above 0, scalars in float32 or better; ``accuracy``.
        """
        student, tokenizer = cast(Student, models["model"]), cast(CodebookTokenizer, models["tokenizer"])
        tensors = prepared.tensors
        with torch.no_grad():
            data = tokenizer.codebook.lookup(tensors["codes"]).to(tensors["noise"].dtype)
        condition = condition_of(student, tensors["labels"], self.texts)
        inputs = perturbed(data, tensors["noise"], tensors["clean"])
        hidden = student.hidden(inputs, tensors["clean"], condition)
        found = self._logit_sums(student, hidden, condition, tensors)
        if GUESS in self.coefficients:
            states, head = cast(Any, student).first_guess.matrix_head(condition.vector, inputs, tensors["clean"])
            with torch.autocast(states.device.type, enabled=False):
                found[GUESS] = summed_cross_entropy(
                    states,
                    Targets(rows=tensors["noisy"], labels=tensors["noisy_targets"]),
                    head,
                    vocab_size=head.weight.shape[0],
                    max_logits=self.config.max_logits,
                )
        if VECTOR in self.coefficients or LPIPS in self.coefficients:
            vectors, chosen = student.continuous(hidden, condition), tensors["continuous"][..., None]
            if VECTOR in self.coefficients:
                found[VECTOR] = ((vectors - data).square() * chosen).sum()
            if LPIPS in self.coefficients:
                found[LPIPS] = vectors.new_zeros(())
                if prepared.weights[LPIPS]:
                    composite = torch.where(chosen, vectors, data)
                    with torch.no_grad():
                        target = tokenizer.decode(features_of(tokenizer, data, self.schedule))
                    image = tokenizer.decode(features_of(tokenizer, composite, self.schedule))
                    found[LPIPS] = models["lpips"](image, target).sum()
        return found

    def _logit_sums(
        self, student: Student, hidden: Tensor, condition: StudentCondition, tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if CODE not in self.coefficients and not self.accuracy:
            return found
        with student.head_autocast(hidden):
            states, head = student.matrix_head(hidden, condition)
            if CODE in self.coefficients:
                found[CODE] = summed_cross_entropy(
                    states,
                    Targets(rows=tensors["rows"], labels=tensors["targets"]),
                    head,
                    vocab_size=head.weight.shape[0],
                    max_logits=self.config.max_logits,
                )
            if self.accuracy:
                with torch.no_grad():
                    operands = head.operands(states.flatten(0, 1)[tensors["rows"]])
                    found[ACCURACY] = (confidence_from_hidden(*operands).token == tensors["targets"]).sum().float()
        return found

    def _given(self, rng: SampleRng, index: int) -> int:
        """Clean tokens of a sample."""
        drawn = float(torch.rand((), generator=rng.row(index, "timestep"), dtype=torch.float64))
        ends = list(accumulate(self.config.probs))
        # Rounding may leave the last end below 1.
        chosen = next((number for number, end in enumerate(ends) if drawn < end), len(ends) - 1)
        return self.units.tokens(self.config.timesteps[chosen])

    def _checked(self, sample: Mapping[str, Any]) -> Tensor:
        codes: Tensor = sample["codes"]
        if codes.shape != (self.units.total,):
            raise DataError(
                f"sample {sample['index']} has codes of shape {list(codes.shape)} and the student has {self.units.total} tokens: give "
                "the pairs of its teacher"
            )
        return codes.long()
