"""The training objective of DiffusionVL (arXiv 2512.15713): denoise the answer's blocks, given what comes before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from ar_core.block_diffusion import Grid, Targets, block_diffusion_mask, block_grid, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from ar_core.data import IGNORED, PADDING_DOCUMENT, stack_rows
from ar_core.errors import DataError
from ar_core.masks import Tokens
from ar_core.training import Player, Prepared
from torch import Tensor, nn

from ..batch import images_of, player, run_model, stack_image_rows, stack_positions
from ..data.sample import VisionTextSample
from ..inputs import Expanded, align_to_blocks, expand
from .config import DiffusionVLConfig
from .noise import BlockNoise

__all__ = ["MASKED", "DiffusionVLObjective", "Row", "lay_out"]

MASKED = "masked"
"""Name of the loss term."""

NOISED, CLEAN = 1, 0
"""Streams of the mask rule."""

_TOKENS = ("stream", "block", "position", "document")


@dataclass(frozen=True)
class Row:
    """One sample laid out as [noised | clean], T positions; int64 but for the weights."""

    ids: Tensor
    """[T], M where masked."""
    image_rows: Tensor
    """[T], row among the sample's features, or -1."""
    stream: Tensor
    """[T], 1 noised, 0 clean."""
    block: Tensor
    """[T]."""
    position: Tensor
    """[T], index in the sample."""
    rope: Tensor
    """[T] or [3, T], what rotary embeddings see."""
    targets: Tensor
    """[M], positions in [0, T) of the masked tokens."""
    labels: Tensor
    """[M], the tokens that they hide."""
    levels: Tensor
    """[M], t of each."""


def following(supervised: Tensor, blocks: Tensor, *, first: bool = True) -> Tensor:
    """Return which tokens stand behind the answer of their block: [L] bool.

    Args:
        supervised: [L] bool.
        blocks: [L], the number of the block of each token.
        first: behind the first run of supervised tokens of a block, whatever else is supervised there; else behind the last token.
    """
    place = torch.arange(len(blocks))
    last = torch.full((int(blocks.max()) + 1,), len(blocks))
    ends, reduction = supervised, "amax"
    if first:
        ends, reduction = supervised & ~torch.cat([supervised[1:], supervised[-1:]]), "amin"
    last.scatter_reduce_(0, blocks[ends], place[ends], reduction, include_self=False)
    return place > last[blocks]


def lay_out(
    expanded: Expanded, grid: Grid, draw: MaskDraw, mask_id: int, *, prune: bool, covered: Tensor | None = None
) -> Row:
    """Put the noised copy of a sample before the clean one.

    Pruned, the noised half keeps the blocks with a masked token, and the clean half the blocks before the last of those: a noised
    block sees itself and earlier clean blocks, a clean block earlier clean ones, so nothing that is left out is seen by what is
    kept and read. If nothing is masked, the first noised block stays alone, so that there is something to run.

    Args:
        expanded: L positions.
        grid: its blocks.
        draw: what is hidden, at which level.
        mask_id: id of M.
        prune: leave out what cannot change the loss; else all 2L positions.
        covered: [L] bool, what the noised half hides too, without a target, images included; None: nothing.
    """
    blocks = grid.blocks
    noised = clean = torch.ones_like(draw.hidden)
    if prune:
        kept = torch.zeros(int(blocks[-1]) + 1, dtype=torch.bool)
        kept[blocks[draw.hidden]] = True
        if not kept.any():
            kept[0] = True
        noised, clean = kept[blocks], blocks < kept.nonzero().max()
    index = torch.cat([noised.nonzero()[:, 0], clean.nonzero()[:, 0]])
    count = int(noised.sum())
    hidden = draw.hidden[index]
    hidden[count:] = False
    masked = index[hidden]
    shown = expanded if covered is None else expanded.covered(covered, mask_id)

    def halves(of_noised: Tensor, of_clean: Tensor) -> Tensor:
        return torch.cat([of_noised[..., index[:count]], of_clean[..., index[count:]]], dim=-1)

    stream = torch.full_like(index, CLEAN)
    stream[:count] = NOISED
    return Row(
        ids=halves(shown.ids, expanded.ids).masked_fill(hidden, mask_id),
        image_rows=halves(shown.image_rows, expanded.image_rows),
        stream=stream,
        block=blocks[index],
        position=index,
        rope=halves(shown.positions, expanded.positions),
        targets=hidden.nonzero()[:, 0],
        labels=expanded.labels[masked],
        levels=draw.level[masked],
    )


class DiffusionVLObjective:
    """Cross-entropy of the masked tokens, each divided by its block's noise level (paper, equation 4; published code).

    loss = mean over rows b of sum over masked i of -log p(y_i | own block noised, clean blocks before it) / (t_i n_b),

    n_b = max(1, supervised tokens of the row, without those that `hide_following` hides). Labels are not shifted: the hidden state at
    position i predicts token i.

    Deviations from the published code: what stands behind an answer in its block is hidden, by default; noise belongs to the sample,
    also of the strata that follow the position; samples without images run no tower (a parameter that a step did not reach gets a
    gradient of zero from the loop); if nothing is masked the loss is a zero within the graph; supervision on M is refused; positions
    are pruned.

    Args:
        config: hyperparameters.
        mask_id: id of M.
        eos_id: fills the last block.
        max_length: longest sample, cut at the end; a multiple of every block size.
        noise: in place of the method's own draw, for measurements.
    """

    coefficients: Mapping[str, float] = {MASKED: 1.0}

    def __init__(
        self,
        config: DiffusionVLConfig,
        mask_id: int,
        eos_id: int,
        *,
        max_length: int | None = None,
        noise: BlockNoise | None = None,
    ) -> None:
        self.config, self.mask_id, self.eos_id, self.max_length = config, mask_id, eos_id, max_length
        self.noise = noise or BlockNoise(config.noise_strata, config.min_noise, config.max_noise)

    def players(self) -> Sequence[Player]:
        """One optimiser turn; the tower may have a learning rate of its own."""
        return (player(self.config.tower_lr),)

    def prepare(self, batch: list[VisionTextSample], rng: SampleRng) -> Prepared:
        """Expand images, align, hide tokens and lay out the batch.

        Args:
            batch: B samples. Not touched.
            rng: sample i draws from `rng.row(index_i, "mask")`, whatever its batch.

        Returns:
            tensors: `ids`, `image_rows`, `stream`, `block`, `position`, `document` [B, T]; `rope` [B, T] or [3, B, T]; `rows`,
            `labels`, `weights` [M] of the targets; `pixels` where there are images. weights: B, or the supervised tokens.
            meta: `images`, the layouts; `tokens`, the number of positions before noising.

        Raises:
            DataError: a sample is supervised on M, or nothing is left of it.
        """
        laid, weights, supervised, length = [], [], 0, 0
        for sample in batch:
            expanded = self.expanded(sample)
            grid = block_grid(len(expanded), self.config.block_size_at(sample["index"]))
            maskable, covered = expanded.labels != IGNORED, None
            if self.config.hide_following:
                # Labels of the template as well do not tell where an answer ends.
                covered = following(maskable, grid.blocks, first=not self.config.supervise_template_tokens)
                maskable = maskable & ~covered
            draw = self.noise.draw(maskable, grid.blocks, rng.row(sample["index"], "mask"))
            row = lay_out(expanded, grid, draw, self.mask_id, prune=self.config.prune, covered=covered)
            count = int(maskable.sum())
            by_rows = self.config.normalisation == "rows"
            weights.append(1 / (row.levels * (max(1, count) if by_rows else 1)))
            laid.append(row)
            supervised += count
            length += len(expanded)
        pixels, layouts = images_of(batch)
        width = max(len(row.ids) for row in laid)
        tensors = {
            "ids": stack_rows([row.ids for row in laid], fill=0),
            "image_rows": stack_image_rows(batch, [row.image_rows for row in laid]),
            "stream": stack_rows([row.stream for row in laid], fill=CLEAN),
            "block": stack_rows([row.block for row in laid], fill=0),
            "position": stack_rows([row.position for row in laid], fill=0),
            "document": stack_rows([torch.zeros_like(row.ids) for row in laid], fill=PADDING_DOCUMENT),
            "rope": stack_positions([row.rope for row in laid]),
            "rows": torch.cat([row.targets + n * width for n, row in enumerate(laid)]),
            "labels": torch.cat([row.labels for row in laid]),
            "weights": torch.cat(weights),
            **pixels,
        }
        weight = len(batch) if self.config.normalisation == "rows" else supervised
        return Prepared(
            tensors=tensors,
            weights={MASKED: float(weight)},
            meta={"images": layouts, "tokens": length, "supervised": supervised},
        )

    def expanded(self, sample: VisionTextSample) -> Expanded:
        """The sample with its images expanded, cut and aligned; raises as :meth:`prepare` does."""
        expanded = expand(
            sample["tokens"],
            sample["labels"],
            [image.layout for image in sample["images"]],
            mrope=self.config.mrope,
            max_length=self.max_length,
        )
        if not len(expanded):
            raise DataError(f"sample {sample['index']} holds not a single token: remove it from the data")
        if (expanded.labels == self.mask_id).any():
            raise DataError(
                f"sample {sample['index']} is supervised on the mask token (id {self.mask_id}), which must never be generated: "
                "remove it from the text or unsupervise it (label -100)"
            )
        if self.config.hide_following:
            expanded = expanded.up_to_answer()
        return (
            align_to_blocks(expanded, self.config.largest_block_size, self.eos_id)
            if self.config.align_eos
            else expanded
        )

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model once and sum the weighted cross-entropy over the masked tokens.

        Args:
            models: `model`, a :class:`dvlm.model.VisionLanguageModel`.
            prepared: of :meth:`prepare`.

        Returns:
            `masked`: scalar, float32 or better; as metrics `masked_tokens` and `supervised_tokens`, counts of the batch.
        """
        tensors = prepared.tensors
        tokens = Tokens(**{name: tensors[name] for name in _TOKENS})
        mask = block_diffusion_mask(tokens, clean=self.config.clean)
        hidden, backbone, anchor = run_model(models, prepared, mask)
        loss = summed_cross_entropy(
            hidden,
            Targets(tensors["rows"], tensors["labels"], tensors["weights"]),
            backbone.loss_head,
            vocab_size=backbone.vocab_size,
            max_logits=self.config.max_logits,
        )
        counts = {"masked_tokens": len(tensors["rows"]), "supervised_tokens": prepared.meta["supervised"]}
        return {MASKED: loss + anchor, **{name: loss.new_tensor(float(count)) for name, count in counts.items()}}
