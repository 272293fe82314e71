"""Teachers: generators whose codes are drawn unit by unit, from the first unit on or behind given ones.

B images, n tokens, K units, Cv code dimension, V codes.

Source: ours, around VAR (arXiv 2404.02905) and LlamaGen (arXiv 2406.06525).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.config import from_dict
from ar_core.decoding import DecodeStats
from ar_core.errors import CheckpointError
from torch import Tensor, nn

from ..backbones.class_labels import checked_labels
from ..backbones.llamagen.decode import LlamaGenOptions, class_condition, text_condition
from ..backbones.llamagen.model import LlamaGen
from ..backbones.var.decode import VarDecoding, guidance_of
from ..backbones.var.model import Var
from ..checkpoint import Loaded, require_codes
from ..decoding.image_sampler import ImageSampler
from ..decoding.raster import generate_raster, interval_guidance
from ..decoding.scalewise import PickScale, ScalePasses, generate_scales
from ..null_condition import require_null_condition
from ..scales import ScaleSchedule
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from ..tokenizers.tokenizer import Tokenizer
from .units import Units

__all__ = ["LlamaGenTeacher", "Teacher", "VarTeacher", "code_vectors", "open_teacher"]


class Teacher(ABC):
    """A generator with its tokenizer and the settings that it is drawn from with.

    Attributes:
        units: what one pass fills.
        schedule: scales of its images.
        conditions: how many classes, or texts, there are.
        options: settings of decoding.
    """

    units: Units
    schedule: ScaleSchedule
    conditions: int
    options: Any

    def __init__(self, model: nn.Module, tokenizer: CodebookTokenizer) -> None:
        require_codes(model, tokenizer)
        self.model, self.tokenizer = model, tokenizer

    @property
    def sampler(self) -> ImageSampler:
        """Temperature and filters."""
        out: ImageSampler = self.options.sampler
        return out

    @property
    def codebook(self) -> Tensor:
        """The code vectors [V, Cv]."""
        return code_vectors(self.tokenizer)

    @abstractmethod
    def draw(
        self,
        conditions: Sequence[int],
        pick: PickScale,
        *,
        given: Tensor | None = None,
        stop: int | None = None,
        seed: int | Sequence[int] = 0,
    ) -> tuple[Tensor, DecodeStats]:
        """Draw codes, one pass a unit.

        Args:
            conditions: B classes, or numbers of texts.
            pick: chooses the codes of a unit from its logits.
            given: int64 [B, m], codes of whole units that come first; their keys and values are made in the pass of the unit behind
                them, under the mask of the model's training.
            stop: unit before which to end; None: all are drawn.
            seed: of the generators that ``pick`` is given.

        Returns:
            Codes of all units before ``stop``, given ones included, int64 [B, m']; and the passes.

        Raises:
            DataError: a condition is none of the model.
        """


class VarTeacher(Teacher):
    """VAR: a unit is a scale.

    Args:
        model: in eval mode, on the tokenizer's device.
        tokenizer: the one it was trained with.
        options: guidance, temperature, filters.
    """

    def __init__(self, model: Var, tokenizer: CodebookTokenizer, options: VarDecoding) -> None:
        super().__init__(model, tokenizer)
        if options.more_smooth:
            raise CheckpointError(
                "more_smooth feeds back mixtures of codes, and pairs are of noise and codes: leave it out"
            )
        self.options, self.schedule = options, model.schedule
        self.units, self.conditions = Units(model.schedule.lengths), model.config.num_classes

    @torch.no_grad()
    def draw(
        self,
        conditions: Sequence[int],
        pick: PickScale,
        *,
        given: Tensor | None = None,
        stop: int | None = None,
        seed: int | Sequence[int] = 0,
    ) -> tuple[Tensor, DecodeStats]:
        """Draw codes; see :meth:`Teacher.draw`."""
        model = cast(Var, self.model)
        labels = checked_labels(conditions, self.conditions).to(model.device)
        known, end = [], self.units.count if stop is None else stop
        if given is not None and given.shape[1]:
            scales = next(k for k in range(end) if self.units.tokens(k) == given.shape[1])
            known = list(given.split(self.units.lengths[:scales], dim=1))
        strengths = guidance_of(self.options, self.schedule.count)
        # Where nothing is drawn, nothing is guided.
        guidance = [g if len(known) <= k < end else 1.0 for k, g in enumerate(strengths)]
        null = model.null_condition(len(labels))
        passes = ScalePasses(model, model.condition(labels), null, self.schedule, guidance)
        history = cast(Tokenizer, self.tokenizer).history(len(labels), self.schedule)
        codes, stats = generate_scales(passes, history, pick, seed=seed, given=known, stop=end)
        return torch.cat(codes, dim=1), stats


class LlamaGenTeacher(Teacher):
    """LlamaGen: a unit is one code.

    Args:
        model: in eval mode, on the tokenizer's device.
        tokenizer: the one it was trained with.
        options: guidance, temperature, filters.
        texts: features [m, width] of each text that conditions number, for a model of texts.
    """

    def __init__(
        self,
        model: LlamaGen,
        tokenizer: CodebookTokenizer,
        options: LlamaGenOptions,
        texts: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__(model, tokenizer)
        if (model.config.condition == "text") != (texts is not None):
            raise CheckpointError(
                f"the teacher is conditioned on {model.config.condition} and texts were "
                f"{'not ' if texts is None else ''}given: give texts to a model of texts, and to no other"
            )
        self.options, self.texts = options, texts
        self.schedule = ScaleSchedule.square(model.config.grid)
        self.units = Units([1] * model.config.codes)
        self.conditions = model.config.num_classes if texts is None else len(texts)

    @torch.no_grad()
    def draw(
        self,
        conditions: Sequence[int],
        pick: PickScale,
        *,
        given: Tensor | None = None,
        stop: int | None = None,
        seed: int | Sequence[int] = 0,
    ) -> tuple[Tensor, DecodeStats]:
        """Draw codes; see :meth:`Teacher.draw`."""
        model = cast(LlamaGen, self.model)
        if self.texts is None:
            condition = class_condition(model, conditions)
        else:
            condition = text_condition(model, [self.texts[number] for number in conditions])
        guidance = interval_guidance(self.options.guidance, model.config.codes, self.options.guidance_interval)
        known = given if given is not None and given.shape[1] else None
        drawn = generate_raster(
            model, condition, pick, guidance=guidance[:stop], width=model.config.grid, seed=seed, given=known
        )
        return drawn.codes, drawn.stats


def open_teacher(
    loaded: Loaded, tokenizer: CodebookTokenizer, settings: Mapping[str, Any], texts: Sequence[Tensor] | None = None
) -> Teacher:
    """Return the teacher of a checkpoint.

    Args:
        loaded: a VAR or a LlamaGen, whose model is where the tokenizer is.
        tokenizer: its own, which `require_pair` has checked.
        settings: of its decoder, by name; those left out have the decoder's defaults.
        texts: features [m, width] of each text, for a LlamaGen of texts.

    Raises:
        CheckpointError: it is of another kind.
        ConfigError: a setting is unknown or out of range, or the null condition that guidance needs was not trained.
    """
    model = loaded.model
    if isinstance(model, Var):
        of_scales = from_dict(VarDecoding, settings, "decoding")
        require_null_condition(loaded.provenance, of_scales.guidance, str(loaded.path))
        return VarTeacher(model, tokenizer, of_scales)
    if loaded.family.kind == "llamagen" and isinstance(model, LlamaGen):
        options = from_dict(LlamaGenOptions, settings, "decoding")
        require_null_condition(loaded.provenance, options.guidance, str(loaded.path))
        return LlamaGenTeacher(model, tokenizer, options, texts)
    raise CheckpointError(
        f"{loaded.path} holds a {loaded.family.kind}, and Distilled Decoding has students of var and llamagen: give one of these"
    )


def code_vectors(tokenizer: CodebookTokenizer) -> Tensor:
    """Return the rows [V, Cv] as the tokenizer uses them: of unit length where it normalises them."""
    every = torch.arange(tokenizer.vocab_size, device=tokenizer.codebook.weight.device)
    return tokenizer.codebook.lookup(every)
