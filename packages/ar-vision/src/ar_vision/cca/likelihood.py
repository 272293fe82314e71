"""Log-probabilities of images under classes, for each kind of generator; nothing else of CCA knows the kind.

Letters: B samples, P classes of each, L codes, C width.

Source: CCA (arXiv 2410.09347); the factorisations of VAR (arXiv 2404.02905) and LlamaGen (arXiv 2406.06525).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError
from ar_kernels import sequence_logprob
from torch import Tensor, nn

from ..backbones.flexvar.model import FlexVar
from ..backbones.flexvar.objective import FlexVarObjective
from ..backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ..backbones.flexvar.schedule_sampler import ScheduleSampler
from ..backbones.llamagen.conditions import ClassCondition
from ..backbones.llamagen.config import LlamaGenTraining
from ..backbones.llamagen.model import LlamaGen
from ..backbones.llamagen.objective import LlamaGenObjective
from ..backbones.scale_transformer.model import ScaleTransformer
from ..backbones.scale_transformer.objective import ScaleObjective
from ..backbones.scale_transformer.objective_config import ScaleObjectiveConfig
from ..backbones.var.model import Var
from ..backbones.var.objective import VarObjective
from ..scales import ScaleSchedule
from ..tokenizers.scale_history import teacher_inputs
from ..tokenizers.tokenizer import Tokenizer

__all__ = ["Laid", "Likelihood", "RasterLikelihood", "ScaleLikelihood", "likelihood_of"]


@dataclass(frozen=True)
class Laid:
    """Codes of B samples as a generator takes them.

    Attributes:
        codes: int64 [B, L].
        schedule: what scales they are of; None for codes in raster order.
    """

    codes: Tensor
    schedule: ScaleSchedule | None = None

    def part(self, rows: slice) -> "Laid":
        """Return some of the samples."""
        return Laid(self.codes[rows], self.schedule)


class Likelihood(ABC):
    """How likely a generator thinks images are.

    Attributes:
        num_classes: the null class has this number.
        spared: ends of the names of parameters that weight decay leaves alone.
    """

    num_classes: int
    spared: Sequence[str] = ()

    @abstractmethod
    def lay(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> Laid:
        """Stack the codes of samples of one step.

        Raises:
            DataError: a sample has other codes than the model.
        """

    @abstractmethod
    def log_probs(
        self, model: nn.Module, tokenizer: nn.Module, laid: Laid, labels: Tensor, max_logits: int | None
    ) -> Tensor:
        """Return log p(x_b | c_pb): the sum over all codes, no temperature, no normalisation by length.

        The layers run as autocast says; logits, their softmax and the sum are float32 or better always: an image has thousands of
        nats, and pairs are told apart by a few.

        Args:
            model: of this kind.
            tokenizer: the one it was trained with.
            laid: B samples.
            labels: int64 [P, B].
            max_logits: most logits held at once.

        Returns:
            [P, B], float32 or better; the model runs once, on P B rows.
        """


class ScaleLikelihood(Likelihood):
    """Of next-scale generators: scale 0 counts too, and all conditions of a sample share its schedule.

    Args:
        objective: of the pretraining, which knows schedules and codes.
        model: whose names and sizes are read.
    """

    def __init__(self, objective: ScaleObjective, model: ScaleTransformer) -> None:
        self.objective = objective
        self.num_classes = model.config.num_classes
        (player,) = objective.players()
        self.spared = player.no_decay

    def lay(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> Laid:
        """Take the codes of the step's schedule; see `Likelihood.lay`."""
        schedule = self.objective.schedule(batch, rng)
        return Laid(torch.stack([self.objective.codes(sample, schedule) for sample in batch]), schedule)

    def log_probs(
        self, model: nn.Module, tokenizer: nn.Module, laid: Laid, labels: Tensor, max_logits: int | None
    ) -> Tensor:
        """Run all scales in one masked pass; see `Likelihood.log_probs`."""
        model, history = cast(ScaleTransformer, model), cast(Tokenizer, tokenizer).history
        assert laid.schedule is not None
        with torch.no_grad():
            inputs = teacher_inputs(history(len(laid.codes), laid.schedule), laid.schedule.split(laid.codes))
        times = len(labels)
        condition = model.condition(labels.flatten())
        repeated = [features.repeat(times, 1, 1, 1) for features in inputs]
        hidden = model.teacher_forced(condition, repeated, laid.schedule)
        with torch.autocast(hidden.device.type, enabled=False):
            states, head = model.head.as_matrix(_wide(hidden), _wide(condition))
            found = sequence_logprob(*head.operands(states), laid.codes.repeat(times, 1), max_logits=max_logits)
        return found.view(labels.shape)


class RasterLikelihood(Likelihood):
    """Of LlamaGen: position P - 1 + i of the sequence predicts code i.

    Args:
        model: whose sizes are read.

    Raises:
        CheckpointError: it is conditioned on texts, which have no other class.
    """

    def __init__(self, model: LlamaGen) -> None:
        if not isinstance(model.condition, ClassCondition):
            raise CheckpointError(
                "the LlamaGen is conditioned on texts, and CCA contrasts classes: give a class-conditional one"
            )
        self.num_classes = model.config.num_classes
        self.objective = LlamaGenObjective(model.config, LlamaGenTraining())

    def lay(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> Laid:
        """Stack the codes; see `Likelihood.lay`."""
        return Laid(torch.stack([self.objective.codes(sample) for sample in batch]))

    def log_probs(
        self, model: nn.Module, tokenizer: nn.Module, laid: Laid, labels: Tensor, max_logits: int | None
    ) -> Tensor:
        """Run the whole sequence at once; see `Likelihood.log_probs`."""
        model = cast(LlamaGen, model)
        codes = laid.codes.repeat(len(labels), 1)
        hidden = model.teacher_forced(model.condition(labels.flatten()), codes)
        with torch.autocast(hidden.device.type, enabled=False):
            found = sequence_logprob(*model.loss_head.operands(_wide(hidden)), codes, max_logits=max_logits)
        return found.view(labels.shape)


def likelihood_of(
    model: nn.Module, stored: ScaleSchedule, schedules: ScheduleSampler | None, step_samples: int | None
) -> Likelihood:
    """Return the likelihood of a model's kind.

    Args:
        model: a Var, FlexVar or LlamaGen.
        stored: scales of the codes that samples carry.
        schedules: of a FlexVar; None takes its own scales at every step.
        step_samples: samples of an optimiser step, which share a schedule; None: all samples have the default one.

    Raises:
        CheckpointError: it is of another kind, or conditioned on texts.
    """
    if isinstance(model, Var):
        return ScaleLikelihood(VarObjective(ScaleObjectiveConfig(), model), model)
    if isinstance(model, FlexVar):
        own = model.config.scales
        drawn = schedules or ScheduleSampler(default=own, max_tokens=max(680, own[-1] ** 2))
        # Its resolution says how codes are stored, which is known here.
        settings = FlexVarObjectiveConfig(final_resolution=1, schedules=drawn)
        of_step = None if schedules is None else step_samples
        return ScaleLikelihood(FlexVarObjective(settings, model, stored, of_step), model)
    if isinstance(model, LlamaGen):
        return RasterLikelihood(model)
    raise CheckpointError(
        f"CCA knows the log-probabilities of var, flexvar and llamagen, and a {type(model).__name__} was given: give one of these"
    )


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
