"""Settings of trajectory collection."""

from dataclasses import dataclass, field

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["JacobiTrajectoriesConfig"]


@dataclass(frozen=True)
class JacobiTrajectoriesConfig:
    """How a model's Jacobi trajectories are collected; model and data have their own sections.

    Raises:
        ConfigError: a value is out of range.
    """

    block_size: int = 16
    """n (`n_token_seq_len`): tokens of a block. Paper: 16 for round 1, 32 for round 2."""

    max_new_tokens: int = 2048
    """Most tokens of a continuation, in whole blocks; `data.seq_len` bounds it together with its prompt. Paper: 2048."""

    prompt_length: int | None = None
    """First tokens of a text that are its prompt; for data of kind `text`, which needs it."""

    seed: int = 0
    """Seed of the first drafts, which are drawn from the tokens seen so far; and of fresh weights."""

    min_distinct_3: float | None = None
    """Leave out continuations whose distinct trigrams are less than this share of all their trigrams: models that loop
    teach the loop. Null keeps all, as the published code does."""

    batch_size: int = field(default=8, metadata=FREE)
    """Rows decoded at a time; memory and speed only."""

    def __post_init__(self) -> None:
        require_positive(self, "block_size", "batch_size")
        if self.max_new_tokens < self.block_size:
            raise ConfigError(
                f"max_new_tokens is {self.max_new_tokens} and one block has {self.block_size}: raise it, or lower block_size"
            )
        if self.prompt_length is not None and self.prompt_length < 1:
            raise ConfigError(f"prompt_length is {self.prompt_length}, but must be at least 1, or null: correct it")
        if self.min_distinct_3 is not None and not 0 <= self.min_distinct_3 <= 1:
            raise ConfigError(f"min_distinct_3 is {self.min_distinct_3}, but lies in [0, 1]: give a share, or null")
