"""Decoding with DiffuSpec: a diffusion model drafts, the model itself verifies, the output is its own.

Source: DiffuSpec (arXiv 2510.02358), algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.errors import ConfigError
from ar_core.hf import load_tokenizer
from ar_core.sampling import Sampler
from ar_core.verification import PassCost, measure_pass_costs, speculative

from .adaptive_length import AdaptiveLength
from .checkpoint import DrafterCheckpoint, load_drafter
from .config import DiffuSpecConfig
from .draft_length import DraftLength, FixedLength
from .draft_stats import DraftStats
from .drafter import Drafter
from .goodput import Goodput
from .proposer import DiffuSpecProposer, SearchSettings
from .proxy import Proxy, load_proxy
from .vocabulary import Vocabulary

__all__ = ["DiffuSpecDecoded", "build_proposer", "generate", "measure_costs"]

WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Pass widths that are timed."""
KEPT = 2
"""Drafters that stay loaded: two can be compared in turn."""


@dataclass(frozen=True)
class DiffuSpecDecoded(Decoded):
    """Output of the loop and what its drafts cost.

    `stats` counts the verifier's passes; its `seconds` include drafting and searching, so that its rate is the true one.
    """

    drafting: DraftStats = field(default_factory=DraftStats)
    """Passes, tokens, acceptance and time of the drafter."""


def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    config: DiffuSpecConfig,
    *,
    stop: StopRule,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> DiffuSpecDecoded:
    """Decode ragged prompts with a drafter named in the settings; it stays loaded for later calls with equal settings.

    Args:
        backbone: the verifier.
        prompts: token ids of each row.
        config: drafter, search and draft length.
        stop: stop ids and strings, N.
        sampler: default greedy; at a positive temperature the output is exactly distributed as the verifier's own, and with
            the same seed the very same tokens (but for the acceptance "marginal").
        seed: of the rows' random streams.
        on_token: called with a row and its newly final tokens.
        trace: record which pass fixed which token.

    Raises:
        ConfigError: the acceptance is "marginal" and the temperature 0.
        ArError: as loading the drafter and the proxy, and :func:`ar_core.verification.speculative`.
    """
    sampler = sampler or Sampler()
    if config.acceptance == "marginal" and sampler.greedy:
        raise ConfigError(
            "acceptance is 'marginal' and the temperature 0, at which nothing is drawn: give a temperature above 0, or take the "
            "acceptance 'delta'"
        )
    proposer = build_proposer(
        backbone, config, stop_ids=stop.stop_ids, drawn=config.acceptance == "marginal", seed=seed
    )
    decoded = speculative(
        backbone,
        prompts,
        proposer,
        stop=stop,
        sampler=sampler,
        seed=seed,
        fallback=config.fallback,
        pass_cost=config.pass_cost,
        on_token=on_token,
        trace=trace,
    )
    # The loop timed the proposer as a whole.
    search = proposer.stats.seconds["search"]
    decoded.stats.seconds["search"] += search
    decoded.stats.seconds["draft"] -= search
    decoded.stats.drafter.update(forwards=proposer.stats.forwards, tokens=proposer.stats.tokens)
    return DiffuSpecDecoded(decoded.tokens, decoded.finish, decoded.stats, decoded.trace, proposer.stats)


def build_proposer(
    backbone: Backbone,
    config: DiffuSpecConfig,
    *,
    stop_ids: frozenset[int] = frozenset(),
    drawn: bool = False,
    seed: int | Sequence[int] = 0,
) -> DiffuSpecProposer:
    """A fresh proposer around the loaded drafter, for any loop that takes one.

    Args:
        backbone: the verifier.
        config: the settings.
        stop_ids: E.
        drawn: draw drafts from the marginals in place of searching them.
        seed: what the loop is given; drafts are drawn from streams of their own.

    Raises:
        ArError: as :func:`load_drafter`, :meth:`Vocabulary.align` and :func:`load_proxy`.
    """
    # The drafter's passes run as the verifier's do.
    device, engine = str(backbone.device), getattr(backbone, "engine", "plain")
    loaded = _loaded(
        config.drafter, config.drafter_layout, config.drafter_block_size, config.drafter_dtype, device, engine
    )
    vocabulary = _vocabulary(config.tokenizer, backbone.vocab_size, loaded, config.min_shared)
    proxy = _proxy(config.proxy, backbone.vocab_size, min(stop_ids, default=None), device)
    cache = config.drafter_cache
    if cache == "auto":
        cache = "block" if loaded.layout.attention == "block_causal" else "none"
    drafter = Drafter(
        loaded.backbone, loaded.layout, vocabulary, steps=config.steps, cache=cache, refresh=config.refresh
    )
    return DiffuSpecProposer(
        drafter,
        proxy,
        _length(config, backbone, drafter),
        stop_ids=stop_ids,
        settings=SearchSettings(
            drafter_weight=config.drafter_weight,
            mass=config.mass,
            max_candidates=config.max_candidates,
            beam=config.beam,
            eos_rule=config.eos_rule,
            eos_probability=config.eos_probability,
            tree_nodes=config.tree_nodes,
            draft_temperature=config.draft_temperature if drawn else None,
        ),
        seed=seed,
    )


def measure_costs(backbone: Backbone, drafter: Backbone) -> tuple[PassCost, PassCost]:
    """Time passes of verifier and drafter, in turn, on their device: what `goodput` decides by.

    Raises:
        ConfigError: as :func:`ar_core.verification.measure_pass_costs`.
    """
    room = min(backbone.context_length, drafter.context_length)
    widths = tuple(width for width in WIDTHS if width < room)
    found = measure_pass_costs(
        {"verifier": backbone, "drafter": drafter}, tokens=widths, context=min(128, room - max(widths))
    )
    return found["verifier"], found["drafter"]


def _length(config: DiffuSpecConfig, backbone: Backbone, drafter: Drafter) -> DraftLength:
    if config.length_policy == "fixed":
        return FixedLength(config.draft_length)
    if config.length_policy == "paper":
        return AdaptiveLength(
            minimum=config.shortest,
            maximum=config.draft_length,
            growth=config.growth,
            smoothing=config.smoothing,
            rounding=config.rounding,
            bias_correction=config.bias_correction,
        )
    verifying, drafting = config.pass_cost, config.drafter_cost or config.pass_cost
    if config.measure_costs:
        models: Any = (backbone, drafter.backbone)
        verifying, drafting = _measured(*models)

    def draft_seconds(context: int, k: int) -> float:
        return drafter.steps * drafting.time(drafter.pass_tokens(context, k))

    return Goodput(
        minimum=config.shortest,
        maximum=config.draft_length,
        draft_seconds=draft_seconds,
        verify_seconds=lambda k: verifying.time(1 + verified_tokens(config, k)),
    )


def verified_tokens(config: DiffuSpecConfig, depth: int) -> int:
    """Draft tokens of a verifying pass at most: those of a path, or of a tree as deep and as wide as the lattice lets it be."""
    if config.tree_nodes is None:
        return depth
    reachable = 0
    for level in range(1, depth + 1):
        reachable += config.max_candidates**level
        if reachable >= config.tree_nodes:
            return config.tree_nodes
    return reachable


@lru_cache(maxsize=KEPT)
def _measured(backbone: Any, drafter: Any) -> tuple[PassCost, PassCost]:
    return measure_costs(backbone, drafter)


@lru_cache(maxsize=KEPT)
def _loaded(
    source: str, layout: str, block_size: int | None, dtype: str, device: str, engine: str
) -> DrafterCheckpoint:
    kept = None if dtype == "stored" else getattr(torch, dtype)
    return load_drafter(source, layout, block_size=block_size, dtype=kept, device=device, engine=engine)  # type: ignore[arg-type]  # the settings have checked it


@lru_cache(maxsize=4)
def _proxy(name: str, vocab_size: int, end_id: int | None, device: str) -> Proxy:
    return load_proxy(name, vocab_size, end_id=end_id, device=device)


@lru_cache(maxsize=KEPT)
def _vocabulary(tokenizer: str | None, size: int, loaded: DrafterCheckpoint, min_shared: float) -> Vocabulary:
    forbidden = {loaded.layout.mask_id}
    if tokenizer is None or loaded.tokenizer is None:
        return Vocabulary.same(size, loaded.backbone.vocab_size, forbidden=forbidden)
    return Vocabulary.align(
        load_tokenizer(tokenizer),
        loaded.tokenizer,
        size,
        loaded.backbone.vocab_size,
        forbidden=forbidden,
        min_shared=min_shared,
    )
