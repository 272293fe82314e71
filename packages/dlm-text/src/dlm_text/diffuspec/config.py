"""Settings of DiffuSpec (arXiv 2510.02358), under the paper's symbols."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from ar_core.config import refuse_unread, require_positive, require_types
from ar_core.errors import ConfigError
from ar_core.verification import TYPICAL_PASS_COST, PassCost

__all__ = ["DiffuSpecConfig"]


@dataclass(frozen=True, kw_only=True)
class DiffuSpecConfig:
    """How drafts are made; the verifier, stop rule and sampler come with the call. No setting changes the output, or with
    `acceptance="marginal"` at a positive temperature its distribution.

    The paper's Dream-7B setting is `proxy=<3-gram of the task's training split>, drafter_cache="none"` with the other
    defaults as they are, and `eos_rule="paper"` if its text is taken literally.

    Raises:
        ConfigError: a value is of another type or out of range, two contradict each other, or one is given that the others never let be read.
    """

    drafter: str
    """The diffusion model: a folder in Hugging Face layout, a hub id, or a GGUF file."""

    drafter_layout: Literal["auto", "dream", "llada", "fast_dllm_v2", "efficient_dlm"] = "auto"
    """What kind of diffusion model it is; `auto` reads it from its config."""

    drafter_block_size: int | None = None
    """D of a block-causal drafter; None: the checkpoint's own."""

    drafter_dtype: Literal["stored", "float32", "bfloat16", "float16", "float64"] = "stored"
    """Dtype of its weights."""

    drafter_cache: Literal["auto", "none", "prefix", "block"] = "auto"
    """Keys and values kept between rounds. `none`: none, as published. `prefix`: those of committed tokens, approximate, for
    full attention. `block`: those of complete blocks, exact, for block-causal drafters. `auto`: `block` where it is exact,
    else `none`."""

    refresh: int = 8
    """R: with `prefix`, every so many rounds the drafter reads everything anew."""

    steps: int = 1
    """S: passes of the drafter a draft. Paper: 1 (10 accept more and cost more)."""

    tokenizer: str | None = None
    """Where the verifier's tokenizer is; command lines fill it in. With it, ids are compared by their strings; without it,
    equal ids are taken to be equal."""

    min_shared: float = 0.9
    """A drafter that knows less than this share of the verifier's tokens is refused."""

    proxy: str = "prompt"
    """ℓ^ng: `prompt` (counts of what has been written), `uniform`, or the path of an n-gram model over token ids: what
    `ar-decode fit-proxy` writes, an ARPA file or a KenLM binary. Paper: a 3-gram of the task's training split."""

    drafter_weight: float = 0.5
    """λ: weight of the drafter in the path score; the proxy has 1 - λ."""

    mass: float = 0.8
    """τ: probability mass of a candidate set."""

    max_candidates: int = 15
    """M_max: its size at most."""

    beam: int = 3
    """B: width of the path search."""

    tree_nodes: int | None = None
    """N: verify the N best beginnings of paths as one tree (DDTree, arXiv 2604.12989) in place of the best path, as
    published (None)."""

    acceptance: Literal["delta", "marginal"] = "delta"
    """How drafts are judged at a positive temperature, both exactly lossless. `delta`: the searched path is kept as far as the
    verifier draws it, and the tokens are those of the seed. `marginal`: every token is drawn from the drafter's marginal, with
    no search, and kept with probability min(1, p / q). The paper's rule for searched paths is biased and not offered here."""

    draft_temperature: float = 1.0
    """T_d of `marginal`."""

    eos_rule: Literal["argmax", "paper", "prob"] = "argmax"
    """Where a stop id may end a draft: where it is the drafter's first choice; wherever it is among the top M_max
    (published, cuts drafts short); or where it has at least `eos_probability`."""

    eos_probability: float = 0.5
    """Of the rule `prob`."""

    length_policy: Literal["paper", "fixed", "goodput"] = "paper"
    """How k is chosen: the paper's controller; always `draft_length`; or what pays on this device, no draft included."""

    draft_length: int = 30
    """k_max: longest draft; the length of the policy `fixed`."""

    min_draft_length: int | None = None
    """k_min; None: 20 for `paper` (or k_max if that is less), 1 for `goodput`."""

    growth: int = 10
    """δ of `paper`."""

    smoothing: float = 0.5
    """ρ of `paper`."""

    rounding: Literal["nearest", "floor"] = "nearest"
    """How `paper` rounds; not stated there."""

    bias_correction: bool = False
    """Whether the averages of `paper` are corrected for starting at 0."""

    fallback: bool = False
    """Also let the loop verify less of a draft than was made where verifying does not pay; `goodput` has seen to it."""

    pass_cost: PassCost = TYPICAL_PASS_COST
    """What passes of the verifier cost, for `goodput` and `fallback`; `ar-decode tune` and `bench` measure it."""

    drafter_cost: PassCost | None = None
    """What passes of the drafter cost, in the same unit; None: what the verifier's do."""

    measure_costs: bool = False
    """Time both models when they are first used, in place of the two settings above; counts then depend on the device."""

    def __post_init__(self) -> None:
        require_types(self)
        for name, low, high in (
            ("drafter_weight", 0, 1),
            ("mass", 0, 1),
            ("eos_probability", 0, 1),
            ("min_shared", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, but must lie between {low} and {high}")
        if not 0 < self.smoothing <= 1:
            raise ConfigError(f"smoothing is {self.smoothing}, but must lie above 0 and at most at 1")
        require_positive(self, "refresh", "steps", "max_candidates", "beam", "draft_length")
        if self.growth < 0:
            raise ConfigError(f"growth is {self.growth}, but must be at least 0")
        if self.min_draft_length is not None and not 1 <= self.min_draft_length <= self.draft_length:
            raise ConfigError(
                f"min_draft_length is {self.min_draft_length} and draft_length {self.draft_length}: give 1 ≤ min_draft_length "
                "≤ draft_length"
            )
        if self.tree_nodes is not None and self.tree_nodes < 1:
            raise ConfigError(
                f"tree_nodes is {self.tree_nodes}, but a tree has at least 1 token: raise it, or give null"
            )
        if not 0 < self.draft_temperature < math.inf:
            raise ConfigError(
                f"draft_temperature is {self.draft_temperature}, but must be above 0: give a number such as 1"
            )
        if self.acceptance == "marginal" and self.tree_nodes is not None:
            raise ConfigError(
                f"acceptance is 'marginal' and tree_nodes {self.tree_nodes}, but drafts that are drawn are chains: leave tree_nodes "
                "out, or take the acceptance 'delta'"
            )
        refuse_unread(self, "drafter_cache", ("prefix",), "refresh")
        refuse_unread(self, "acceptance", ("marginal",), "draft_temperature")
        refuse_unread(self, "eos_rule", ("prob",), "eos_probability")
        refuse_unread(self, "length_policy", ("paper",), "growth", "smoothing", "rounding", "bias_correction")
        refuse_unread(self, "length_policy", ("paper", "goodput"), "min_draft_length")
        refuse_unread(self, "length_policy", ("goodput",), "drafter_cost", "measure_costs")
        if not self.drafter:
            raise ConfigError("drafter is empty: give the folder or hub id of a diffusion model")

    @property
    def shortest(self) -> int:
        """k_min as the policy takes it."""
        if self.min_draft_length is not None:
            return self.min_draft_length
        return 1 if self.length_policy == "goodput" else min(20, self.draft_length)

    @staticmethod
    def of_checkpoint(config: Any, tokenizer: Any) -> dict[str, str]:
        """The setting that the verifier's checkpoint decides: where its tokenizer is."""
        place = getattr(tokenizer, "name_or_path", None) or config.name_or_path
        return {"tokenizer": place} if place else {}
