"""Students of Distilled Decoding under the signature that all generators have here."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, ConfigError

from ..checkpoint import Loaded, fingerprint, load_checkpoint
from ..decoding.generated import GeneratedImages, OnScale
from ..distilled_decoding.decode import generate
from ..distilled_decoding.options import DistilledOptions
from ..distilled_decoding.teacher import Teacher, open_teacher
from ..scales import ScaleSchedule
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from .computing import placed
from .encoded_prompts import encoded_prompts
from .prompts import Prompts
from .sampling_config import ComputeDtype

__all__ = ["DistilledImages"]


class DistilledImages:
    """Makes images of classes, or of prompts, from noise; see `DistilledOptions`, and beside these settings:

    - ``teacher``: checkpoint folder of the teacher, where ``teacher_start`` is set;
    - ``teacher_decoding``: settings of its decoder; left out, those that the student's pairs were made with.

    Args:
        student: on its device, ready to be run.
        tokenizer: the same.
        settings: by name.
        device: where both are.
        prompts: texts, for a student of texts.
        dtype: that the teacher computes in.

    Attributes:
        facts: the teacher's fingerprint and settings, where there is one.
        schedule: scales of the images.

    Raises:
        CheckpointError: the teacher cannot be loaded, or goes with another tokenizer.
        ConfigError: a setting is unknown or out of range; a teacher is missing, or would have nothing to do; it is not the one that
            the student was trained from; a text encoder other than the student's.
    """

    def __init__(
        self,
        student: Loaded,
        tokenizer: Loaded,
        settings: Mapping[str, Any],
        *,
        device: torch.device,
        prompts: Prompts | None = None,
        dtype: ComputeDtype = "auto",
    ) -> None:
        own = dict(settings)
        folder, decoding = own.pop("teacher", None), own.pop("teacher_decoding", None)
        self.options = from_dict(DistilledOptions, own, "decoding")
        self.student = cast(Any, student.model)
        self.tokenizer = cast(CodebookTokenizer, tokenizer.model)
        self.texts = None if prompts is None else encoded_prompts(prompts, self.student.config.texts, "llamagen_dd")
        self.schedule: ScaleSchedule = self.student.schedule
        self.facts: dict[str, Any] = {}
        self.teacher: Teacher | None = None
        if (folder is None) != (self.options.teacher_start is None) or (folder is None and decoding is not None):
            raise ConfigError(
                "teacher (its folder) and teacher_start (the unit that it begins with) go together, and teacher_decoding with both: "
                "give all that is needed, or none"
            )
        if folder is None:
            return
        loaded = load_checkpoint(expand_path(str(folder)), "generator")
        print_ = fingerprint(loaded.model)
        start = student.provenance.get("start")
        if start is not None and start != print_:
            raise ConfigError(
                f"{student.path} was distilled from the teacher {start} and {folder} is {print_}: give the one it was distilled from"
            )
        # Weights may have been rounded by now: their fingerprint would be another.
        if None not in (loaded.tokenizer, student.tokenizer) and loaded.tokenizer != student.tokenizer:
            raise CheckpointError(
                f"{folder} works with the tokenizer {loaded.tokenizer} and {student.path} with {student.tokenizer}: give the teacher that "
                "it was distilled from"
            )
        placed(loaded, device, dtype)
        header = student.provenance.get("data", {}).get("header", {})
        chosen = header.get("decoding", {}) if decoding is None else decoding
        self.teacher = open_teacher(loaded, self.tokenizer, chosen, self.texts)
        self.facts = {"teacher": print_, "teacher_decoding": dict(chosen)}

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None
    ) -> GeneratedImages:
        """Return one image for each label, a class or the number of a prompt."""
        return generate(
            self.student,
            self.tokenizer,
            list(labels),
            self.options,
            seed=list(seeds),
            on_scale=on_scale,
            teacher=self.teacher,
            texts=self.texts,
        )
