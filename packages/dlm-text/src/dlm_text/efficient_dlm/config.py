"""Hyperparameters of Efficient-DLM (arXiv 2512.14067), under the paper's symbols."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive, require_types
from ar_core.errors import ConfigError

__all__ = ["AttentionPattern", "EfficientDLMConfig", "Normalisation"]

AttentionPattern = Literal["block_clean", "block_noisy", "bidirectional", "autoregressive"]
"""Who sees whom in training; see `EfficientDLMConfig.attention_pattern`."""
Normalisation = Literal["masked", "supervised", "tokens"]
"""Tokens whose number the loss is divided by."""


@dataclass(frozen=True)
class EfficientDLMConfig:
    """What is particular to the method; model, data and optimiser have their own sections.

    The paper's ablations are switches: `attention_pattern` and `token_shift` (its Table 1), `half_life_ratio` (masking),
    `diffusion_block_size`. The hybrid of the follow-up work (Nemotron-Labs-Diffusion, arXiv 2607.05722) is
    `clean="token", ar_weight=1.0, diffusion_weight=0.3`.

    Raises:
        ConfigError: a value is out of range or two contradict each other.
    """

    diffusion_block_size: int = 64
    """L' (`block_size` in published checkpoints): tokens denoised together. Paper: 16 for 1.5B, 64 for 4B and 8B. The one
    of decoding may differ."""

    attention_pattern: AttentionPattern = "block_clean"
    """Who sees whom in training (paper, section 2.1 and Table 1). `block_clean`: noised tokens see their own block and the
    clean blocks before it, over [noised | clean]; the method (`block_diff` in the published code). `block_noisy`: their
    own block and the noised blocks before it (`efficient_block_diff` there, and not the method). `bidirectional`: the
    whole noised sequence, which is one block of one noise level. `autoregressive`: no noise, the next-token loss."""

    clean: Literal["block", "token"] = "block"
    """With `block_clean`: what a clean token sees, all of its block and the blocks before it, or the tokens up to itself.
    `token` makes the clean half an autoregressive forward, so that the checkpoint is a hybrid (`sbd_block_diff`)."""

    token_shift: bool = False
    """True: the logits at position i-1 predict token i, as in the base (`dlm_type: dream`); the first token of a sequence
    is then no target. False: those at i do (`llada`; paper: +0.7 points)."""

    half_life_ratio: float | None = 0.1
    """lambda: the probability of being masked doubles every lambda L' positions of a block as the noise level goes to 0
    (paper, equation 2). Null: uniform over positions."""

    min_noise: float = 1e-3
    """eps: a block's noise level is t = eps + (1 - eps) u with u ~ U(0, 1). Published code: 1e-3."""

    normalisation: Normalisation = "masked"
    """What the sum over masked tokens of CE / t is divided by, over the whole optimiser step: the number of masked tokens
    (published code), of supervised tokens, or of all tokens (paper, equation 1, up to the constant L). Masked tokens are
    about half of the supervised ones, so that the first is about twice the second."""

    diffusion_weight: float = 1.0
    """alpha: factor of the diffusion loss. Published hybrid: 0.3."""

    ar_weight: float = 0.0
    """Factor of the next-token loss of the clean tokens, per supervised token; needs `clean="token"` or the pattern
    `autoregressive`. Published hybrid: 1."""

    document_mask: bool = True
    """Keep the documents of a packed row from seeing each other, and count positions and blocks from the start of each.
    False: rows are one sequence, as in the published code, which knows no documents."""

    untie_embeddings: bool = True
    """Give a model whose head shares the embedding's weights a head of its own, a copy, as published (Qwen3-4B)."""

    mask_token: str = "<|fim_pad|>"
    """M: the mask token's text; published, id 151662 of Qwen's vocabulary, which stays as it is."""

    add_mask_token: bool = True
    """Add the mask token to a tokenizer that lacks it and give it the mean of all embeddings. False: refuse such a
    tokenizer."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "diffusion_block_size", "max_logits")
        if self.half_life_ratio is not None and not 0 < self.half_life_ratio < math.inf:
            raise ConfigError(
                f"half_life_ratio is {self.half_life_ratio}, but is a positive share of a block: give one such as 0.1, or "
                "null for uniform masking"
            )
        if not 0 <= self.min_noise < 1:
            raise ConfigError(f"min_noise is {self.min_noise}, but a noise level lies in [0, 1): give one such as 1e-3")
        for name in ("diffusion_weight", "ar_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}, but a weight is 0 or more: give one such as 1")
        self._check_pattern()
        if not self.mask_token:
            raise ConfigError("mask_token is empty: give the text of the mask token, such as <|fim_pad|>")

    def _check_pattern(self) -> None:
        pattern = self.attention_pattern
        if self.clean == "token" and pattern != "block_clean":
            raise ConfigError(
                f"clean is 'token' and attention_pattern {pattern!r} has no clean half to choose for: set attention_pattern "
                "to block_clean, or drop clean"
            )
        if pattern == "autoregressive":
            if self.diffusion_weight or not self.ar_weight:
                raise ConfigError(
                    f"attention_pattern is 'autoregressive', diffusion_weight {self.diffusion_weight} and ar_weight "
                    f"{self.ar_weight}, but this pattern has the next-token loss alone: set diffusion_weight to 0 and "
                    "ar_weight to 1"
                )
        elif self.ar_weight and self.clean != "token":
            raise ConfigError(
                f"ar_weight is {self.ar_weight} and clean tokens see what follows them in their block, so that they cannot "
                "be asked for the next token: set clean to token, or ar_weight to 0"
            )
        if not self.diffusion_weight and not self.ar_weight:
            raise ConfigError("diffusion_weight and ar_weight are both 0, which trains nothing: give one of them")

    @property
    def is_hybrid(self) -> bool:
        """Whether the model is trained to be read one token at a time as well."""
        return self.clean == "token" or self.attention_pattern == "autoregressive"
