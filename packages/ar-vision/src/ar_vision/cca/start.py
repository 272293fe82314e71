"""What a run of CCA begins with: a generator, its tokenizer, and the codes that it was trained on.

Source: ours.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from ar_core.config import expand_path, to_dict
from ar_core.errors import ConfigError
from torch import nn

from ..checkpoint import Loaded, fingerprint, load_checkpoint, require_pair
from ..construction import undrawn
from ..data.codes.config import CodeDataConfig
from ..data.codes.source import CodeSource, build_code_source
from ..data.codes.store import open_codes
from ..scales import ScaleSchedule
from ..tokenizers.tokenizer import Tokenizer
from .config import CcaPairs
from .likelihood import Likelihood, likelihood_of

__all__ = ["Start", "open_start", "with_dropout"]


@dataclass(frozen=True)
class Start:
    """The opened folders of a run.

    Attributes:
        generator: what training starts from, in float32.
        tokenizer: in float32.
        names: fingerprints of both.
        likelihood: of the generator's kind.
        held_out_likelihood: the same where no schedule is drawn, so that measurements do not depend on which samples share a pass.
        source: from a split to its samples.
    """

    generator: Loaded
    tokenizer: Loaded
    names: Mapping[str, str]
    likelihood: Likelihood
    held_out_likelihood: Likelihood
    source: Callable[..., CodeSource]

    def frozen(self, dropout: float | None = None) -> dict[str, nn.Module]:
        """Return the tokenizer, and a copy of the generator as ``reference``: eval mode, no gradients.

        Args:
            dropout: of the copy, should it be put into train mode; see `with_dropout`.
        """
        model = self.generator.model
        reference = copy.deepcopy(model) if dropout is None else with_dropout(model, dropout)
        models = {"tokenizer": self.tokenizer.model, "reference": reference}
        return {name: model.eval().requires_grad_(False) for name, model in models.items()}

    def facts(self, pairs: CcaPairs, *, seed: int, batch_size: int, precision: str) -> dict[str, Any]:
        """Return what the log-probabilities of pairs depend on, JSON-able."""
        drawn = None if pairs.schedules is None else {**to_dict(pairs.schedules), "batch_size": batch_size}
        return {
            **self.names,
            "data": self.source(split="train").describe(),
            "seed": seed,
            "uncond_ratio": pairs.uncond_ratio,
            "negative_group": pairs.group(batch_size),
            "schedules": drawn,
            "precision": precision,
        }


def open_start(
    model: str, tokenizer: str, data: CodeDataConfig, pairs: CcaPairs, *, seed: int, batch_size: int
) -> Start:
    """Load a generator and its tokenizer, and open the codes.

    Args:
        model: folder of the generator.
        tokenizer: folder of its tokenizer.
        data: the codes.
        pairs: how samples are paired.
        seed: of the run: order of the data, augmentations.
        batch_size: samples of an optimiser step.

    Raises:
        CheckpointError: a folder cannot be loaded, the two are no pair, or the generator has no classes.
        ConfigError: a step is too small for pairs, or ``schedules`` do not fit the generator or the codes.
        DataError: the codes are another tokenizer's, of other scales or classes.
    """
    pairs.group(batch_size)
    generator = load_checkpoint(expand_path(model), "generator", dtype=torch.float32)
    coder = load_checkpoint(expand_path(tokenizer), "tokenizer", dtype=torch.float32)
    require_pair(generator, coder)
    stored = _stored(generator, data, pairs)
    likelihood, held_out = (
        likelihood_of(generator.model, stored, pairs.schedules, samples) for samples in (batch_size, None)
    )
    names = {"model": fingerprint(generator.model), "tokenizer": fingerprint(coder.model)}
    source = partial(
        build_code_source,
        data,
        seed=seed,
        tokenizer=names["tokenizer"],
        schedule=stored,
        num_classes=likelihood.num_classes,
        vocab_size=cast(Tokenizer, coder.model).vocab_size,
    )
    return Start(generator, coder, names, likelihood, held_out, source)


def _stored(generator: Loaded, data: CodeDataConfig, pairs: CcaPairs) -> ScaleSchedule:
    """Scales of the codes that samples carry."""
    kind, config = generator.family.kind, cast(Any, generator.model.config)
    if pairs.schedules is not None and kind != "flexvar":
        raise ConfigError(
            f"method.schedules draws scales anew for each step and {generator.path} is a {kind}, which has one: leave it out"
        )
    if kind != "flexvar":
        return ScaleSchedule.square(*(config.scales if kind == "var" else (getattr(config, "grid", 1),)))
    # Codes of every side from 1 on, out of which a schedule is a choice.
    sizes = open_codes(expand_path(data.path)).identity.get("schedule")
    largest = max(pairs.schedules.largest if pairs.schedules is not None else 0, config.scales[-1])
    side = largest if sizes is None else sizes[-1][0]
    if side < largest:
        raise ConfigError(
            f"schedules go up to a side of {largest} and the codes in {data.path!r} to {side}: encode larger images, or set "
            "method.schedules"
        )
    return ScaleSchedule.square(*range(1, side + 1))


def with_dropout(model: nn.Module, rate: float | None) -> nn.Module:
    """Return the model with another dropout, in the fields of its kind: stochastic depth, or that of LlamaGen's three places.

    Args:
        model: as loaded.
        rate: None returns the model itself.
    """
    if rate is None:
        return model
    config = cast(Any, model.config)
    names = ("drop_path", "token_dropout", "residual_dropout", "ffn_dropout")
    changed = replace(config, **{name: rate for name in names if hasattr(config, name)})
    built = undrawn(lambda: type(model)(changed))
    built.load_state_dict(model.state_dict())
    return built.to(next(model.parameters()).dtype)
