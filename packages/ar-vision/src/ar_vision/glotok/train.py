"""From a run's config to a training job: a GloTok tokenizer from scratch or from a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from ar_core.errors import ConfigError
from ar_core.training import Job

from ..tokenizers.dual_vq.model import DualVqTokenizer
from ..tokenizers.training.train import TokenizerRun, codebooks_of, open_tokenizer, tokenizer_job
from .config import GlotokConfig
from .objective import GlotokObjective
from .teacher.profile import open_profile
from .uniformity import uniformity

__all__ = ["GlotokRun", "build"]


@dataclass(frozen=True)
class GlotokRun(TokenizerRun):
    """A whole run, section by section, as a YAML file holds it."""

    method: GlotokConfig
    """The losses."""


def build(run: GlotokRun) -> Job:
    """Load or make the tokenizer, read the teacher's histogram, open the data.

    Raises:
        ConfigError: Model, method and run do not fit together.
        ArError: As loading models, teacher and data does.
    """
    method = run.method
    tokenizer = open_tokenizer(run)
    if not isinstance(tokenizer, DualVqTokenizer):
        raise ConfigError(
            f"the model is a {tokenizer.kind} and GloTok trains tokenizers with two codebooks: set model.kind to dual_vq"
        )
    if method.residual_weight and tokenizer.config.residual is None:
        raise ConfigError(
            f"method.residual_weight is {method.residual_weight} and the tokenizer has no residual modules: set it to 0, or "
            "give model.settings.residual"
        )
    profile = None if method.teacher is None else open_profile(method.teacher, method.histogram)
    objective = GlotokObjective(
        method,
        batch_size=run.train.batch_size,
        codebooks=codebooks_of(run, tokenizer),
        teacher=None if profile is None else profile.logarithms,
    )

    @torch.no_grad()
    def more() -> Mapping[str, float]:
        found = {
            f"{name}_{codebook}": value
            for codebook, book in tokenizer.named_codebooks.items()
            for name, value in uniformity(book.weight).items()
        }
        return found if profile is None else {**found, "histogram": float(objective.relation(tokenizer))}

    facts = {} if profile is None else {"teacher": profile.facts()}
    return tokenizer_job(run, tokenizer, objective, {"recipe": "glotok", **facts}, more=more, identity=facts)
