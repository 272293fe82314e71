"""Hyperparameters of DiffusionVL (arXiv 2512.15713), under the paper's symbols. Imports no torch."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["DiffusionVLConfig", "NoiseStrata"]

NoiseStrata = Literal["flat_index", "supervised_shuffled", "iid"]
"""How noise levels spread over the blocks of a sample."""


@dataclass(frozen=True)
class DiffusionVLConfig:
    """What is particular to the method; model, data and optimiser have their own sections.

    Paper and published code differ, and the defaults follow the paper, but for `hide_following`, which is ours. All choices of the
    published code together: `supervise_template_tokens=True, hide_following=False, noise_strata="flat_index", prune=False,
    tower_lr=2e-6` (the others are published as they stand).

    Raises:
        ConfigError: a value is out of range or two contradict each other.
    """

    diffusion_block_size: int = 8
    """D (`bd3lm_block_size`): tokens denoised together; blocks are counted from the first token of the prompt. Paper: 8."""

    block_size_schedule: tuple[tuple[int, int], ...] = ()
    """Pairs (sample number, D): from that sample of the run on (steps times `train.batch_size`) blocks have that size; before the
    first pair, `diffusion_block_size`. Each must divide the largest. Not published."""

    supervise_template_tokens: bool = False
    """Also noise and supervise what frames the turns: the header and last line break of the assistant's, and in all turns every
    line break, `<|im_start|>` and `<|im_end|>` token. Published code: True. Paper: the answer (with the token that ends it) and
    the padding behind it alone."""

    hide_following: bool = True
    """Hide, without supervision, what stands behind an answer in its own block: the template and the next question with its
    pictures, which a decoder does not have before it at that point. Seen, they tell where the answer ends, and a model that was
    trained with them does not end its answers. What stands behind the last answer is left out, so that end tokens follow its own.
    Of a block with two answers (short turns, large D) the first alone is supervised: the second would need the question between
    them in sight. With `supervise_template_tokens` what is hidden stands behind a block's last supervised token. Ours; in the paper
    and in the published code all of it stays visible: False."""

    align_eos: bool = True
    """Fill a sample's last block with end tokens that are noised and supervised. Published: True (`bd3lm_block_aligned_eos`)."""

    noise_strata: NoiseStrata = "supervised_shuffled"
    """How noise levels spread over the N blocks of a sample. `flat_index`: block n draws t from the n-th of N equal strata, in
    order, so that answers, which come last, are always almost fully masked (published code, at its micro-batch of 1; longer rows
    of a batch do not count). `supervised_shuffled`: one stratum for each block that holds supervised tokens, in random order; the
    paper's t ~ U(0, 1), with less variance. `iid`: t ~ U(0, 1) for every block."""

    min_noise: float = 1e-3
    """Lowest noise level (`bd3lm_sampling_eps_min`). Published: 1e-3."""

    max_noise: float = 1.0
    """Highest noise level (`bd3lm_sampling_eps_max`). Published: 1."""

    clean: Literal["block", "token"] = "block"
    """What a clean token, of prompt, image or answer, sees: its whole block and all before it (published), or the tokens up to
    itself, as in the AR base."""

    mrope: bool = False
    """Give image tokens the three-part positions of Qwen-VL (time, row, column). Published: False, the three parts equal the index
    of the token, which is plain RoPE; published weights need that."""

    prune: bool = field(default=True, metadata=FREE)
    """Leave out what cannot change the loss: noised blocks without a masked token, and clean blocks that no kept noised block
    sees. Loss and gradients are the same."""

    normalisation: Literal["rows", "supervised"] = "rows"
    """What the sum of CE / t is divided by: each row's by its number of supervised tokens, then the mean over rows (published,
    equation 4), or the supervised tokens of the whole optimiser step."""

    mask_id: int | None = 151_671
    """M: an unused row of the embedding table, which no token of the tokenizer has. Published: 151671. Null where `mask_token` is
    given."""

    mask_token: str | None = None
    """M as a token: it is added to a tokenizer that lacks it, and its row becomes the mean of all embeddings. For bases without
    spare rows; then `mask_id` must be null."""

    tower_lr: float | None = None
    """Peak learning rate of the tower; null takes `train.lr`. Published: 2e-6, beside 1e-5."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        require_positive(self, "diffusion_block_size", "max_logits")
        for name, allowed in (
            ("noise_strata", get_args(NoiseStrata)),
            ("clean", ("block", "token")),
            ("normalisation", ("rows", "supervised")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(allowed)}")
        if not 0 < self.min_noise <= self.max_noise <= 1:
            raise ConfigError(
                f"min_noise is {self.min_noise} and max_noise {self.max_noise}, but noise levels lie in (0, 1], the lower first: give such as "
                "1e-3 and 1"
            )
        if (self.mask_id is None) == (self.mask_token is None):
            given = "neither" if self.mask_id is None else "both"
            raise ConfigError(f"mask_id and mask_token: {given} was given; give exactly one of the two, the other null")
        if self.mask_id is not None and self.mask_id < 0:
            raise ConfigError(f"mask_id is {self.mask_id}, but a token id is not negative: give one such as 151671")
        if self.tower_lr is not None and not self.tower_lr > 0:
            raise ConfigError(f"tower_lr is {self.tower_lr}; it must be positive, or null")
        self._check_schedule()

    def _check_schedule(self) -> None:
        starts = [start for start, _ in self.block_size_schedule]
        if starts != sorted(set(starts)) or any(start < 0 for start in starts):
            raise ConfigError(f"block_size_schedule begins at samples {starts}, which must rise: sort it")
        for _, size in self.block_size_schedule:
            if size < 1 or self.largest_block_size % size:
                raise ConfigError(
                    f"block_size_schedule has blocks of {size}, which do not divide the largest, {self.largest_block_size}: choose "
                    "sizes that do"
                )
        if self.largest_block_size % self.diffusion_block_size:
            raise ConfigError(
                f"diffusion_block_size is {self.diffusion_block_size} and does not divide the largest of block_size_schedule, "
                f"{self.largest_block_size}: choose sizes that do"
            )

    @property
    def largest_block_size(self) -> int:
        """What samples are filled up to multiples of."""
        return max([self.diffusion_block_size, *(size for _, size in self.block_size_schedule)])

    @property
    def final_block_size(self) -> int:
        """D that the trained model decodes with."""
        return self.block_size_schedule[-1][1] if self.block_size_schedule else self.diffusion_block_size

    def at_end(self) -> "DiffusionVLConfig":
        """These settings as the end of the schedule leaves them: what the trained model is measured with."""
        return replace(self, block_size_schedule=(), diffusion_block_size=self.final_block_size)

    def block_size_at(self, index: int) -> int:
        """D of a sample, by its number in the run."""
        passed = [size for start, size in self.block_size_schedule if index >= start]
        return passed[-1] if passed else self.diffusion_block_size
