"""The training sequence of block diffusion: noised views and the clean stream, side by side.

A model that denoises block b given clean blocks < b is trained on all blocks at once: the noised ids and the
clean ids of a row are one sequence, and the mask `ar_core.masks.block_diffusion` lets a noised block see
itself and the clean blocks before it. Two arrangements hold two complementary views of the same row:

    stacked   [view 1 | clean]            two rows of the batch, 2L tokens each: the published
              [view 2 | clean]            layout (arXiv 2509.26328, A.2)
    shared    [view 1 | view 2 | clean]   one row of 3L tokens: the same losses and gradients from a
                                          quarter fewer tokens, because the clean stream never sees a
                                          view and so need not be computed twice

Either half may be left out: [view] alone for patterns in which noised tokens see noised context, [clean] alone for
autoregressive training.

Every stream repeats the positions of the row. Streams lie one after another, so that a mask has few key
ranges per query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ar_core.errors import ConfigError
from ar_core.masks import Mask, Tokens, block_diffusion, document

__all__ = ["CLEAN", "BlockDiffusionLayout", "Grid", "block_diffusion_layout", "block_diffusion_mask", "block_grid"]

CLEAN = 0
"""Stream id of the clean tokens; views are numbered from 1."""


@dataclass(frozen=True)
class Grid:
    """Where each token stands: int64 tensors of one shape, [L] or [B, L]."""

    positions: Tensor
    """int64 [L] or [B, L], position fed to the model, from 0."""
    blocks: Tensor
    """int64 [L] or [B, L], block id, 0, 1, ... along the row."""

    @property
    def firsts(self) -> Tensor:
        """bool [L] or [B, L], True at the first token of each block."""
        return _changes(self.blocks)


def _changes(ids: Tensor) -> Tensor:
    """True where a run of equal ids begins, the row's start included."""
    begins = torch.ones_like(ids, dtype=torch.bool)
    begins[..., 1:] = ids[..., 1:] != ids[..., :-1]
    return begins


def block_grid(
    length: int, block_size: int, documents: Tensor | None = None, *, restart_positions: bool = True
) -> Grid:
    """Blocks and positions of a row, counted from its start or from the start of each document.

    A tail shorter than D is a block of its own. With documents, a block never straddles two of them, whatever
    their lengths.

    Args:
        length: L, number of tokens of the row.
        block_size: D, the diffusion block size, at least 1.
        documents: int64 [L] or [B, L], ids that are constant inside a document; None counts from the row's
            start.
        restart_positions: whether positions, like blocks, begin anew with each document.

    Raises:
        ConfigError: `block_size` is not positive.
    """
    if block_size < 1:
        raise ConfigError(
            f"the diffusion block size is {block_size}, but a block holds at least one token: give 1 or more."
        )
    index = torch.arange(length, device=None if documents is None else documents.device)
    if documents is None:
        return Grid(positions=index, blocks=index // block_size)
    offsets = index - (index * _changes(documents)).cummax(-1).values
    return Grid(
        positions=offsets if restart_positions else index.expand_as(offsets),
        blocks=(offsets % block_size == 0).cumsum(-1) - 1,
    )


@dataclass(frozen=True)
class BlockDiffusionLayout:
    """Streams of a batch of rows: B rows of L tokens become `batch` sequences of T tokens.

    `shared`: one sequence of T = (views + 1) L per row. `stacked`: `views` sequences of T = 2L per row, all
    first views of the batch before all second ones. With at most one view the two are the same. Without the clean stream
    a sequence is L shorter.
    """

    grid: Grid
    """Positions and blocks of the rows, [L] or [B, L]."""
    documents: Tensor | None
    """Documents that are kept apart, int64 [L] or [B, L]."""
    num_views: int
    """Noised views of each row, 0 to 2."""
    arrangement: Literal["shared", "stacked"]
    """How views and clean stream share sequences."""
    has_clean: bool
    """Whether the clean stream is there."""
    tokens: Tokens
    """`stream`, `block`, `position` and, with `documents`, `document`; each [T] or [batch, T]."""

    @property
    def starts(self) -> Tensor:
        """Bool [L] or [B, L], tokens no row may predict: the first of a row, of a restart, of a document."""
        starts = self.grid.positions == 0
        return starts if self.documents is None else starts | _changes(self.documents)

    @property
    def positions(self) -> Tensor:
        """int64 [T] or [batch, T], positions fed to the model."""
        return self.tokens["position"]

    def sequence(self, views: Sequence[Tensor], clean: Tensor) -> Tensor:
        """Put the streams in their places; ids and embeddings alike.

        Args:
            views: `num_views` tensors [B, L] (ids) or [B, L, C] (embeddings).
            clean: the clean stream, same shape; not read where the layout has none.

        Returns:
            [batch, T] or [batch, T, C].
        """
        last = [clean] if self.has_clean else []
        if self.arrangement == "shared":
            return torch.cat([*views, *last], dim=1)
        return torch.cat([torch.cat([view, *last], dim=1) for view in views])

    def rows(self, stream: int, batch: Tensor, index: Tensor, *, num_rows: int) -> Tensor:
        """Where tokens of a stream lie in the flattened sequences [batch * T].

        Args:
            stream: 0 for the clean stream (the first of its copies where stacked), 1 and 2 for the views.
            batch: int64 [N], row of the batch, below B.
            index: int64 [N], index in the row, below L.
            num_rows: B.

        Returns:
            int64 [N].
        """
        width, length = self.tokens.length, self.grid.positions.shape[-1]
        if self.arrangement == "shared":
            offset = self.num_views * length if stream == CLEAN else (stream - 1) * length
            return batch * width + offset + index
        if stream == CLEAN:
            return batch * width + length + index
        return ((stream - 1) * num_rows + batch) * width + index


def block_diffusion_mask(
    tokens: Tokens, *, clean: Literal["block", "token"] = "block", context: Literal["clean", "noisy"] = "clean"
) -> Mask:
    """The training mask over a laid-out sequence; documents are kept apart where `tokens` has their ids.

    Args:
        tokens: `BlockDiffusionLayout.tokens`.
        clean: what a clean token sees of the clean stream: its whole block and all before it, or the tokens up to
            itself.
        context: what a noised token sees of earlier blocks: the clean ones, or those of its own view.
    """
    rule = block_diffusion(clean=clean, context=context)
    return Mask.self_attention(rule & document() if "document" in tokens else rule, tokens)


def block_diffusion_layout(
    grid: Grid,
    *,
    num_views: int = 2,
    arrangement: Literal["shared", "stacked"] = "shared",
    documents: Tensor | None = None,
    has_clean: bool = True,
) -> BlockDiffusionLayout:
    """Lay out a batch for training.

    Args:
        grid: positions and blocks of the rows, see `block_grid`.
        num_views: noised views of each row, 1 or 2; 0 for the clean stream alone.
        arrangement: `shared` (3L, one clean stream) or `stacked` (2L on the batch axis, as published).
        documents: int64 [L] or [B, L]; given, no token sees another document. None: tokens see all earlier
            blocks of the row, as published.
        has_clean: whether the clean stream is part of the sequence.

    Raises:
        ConfigError: another number of views or another arrangement, or nothing is left.
    """
    if num_views not in (0, 1, 2):
        raise ConfigError(
            f"num_views is {num_views}, but a row has 1 view, 2 complementary ones or, beside the clean stream, none: give "
            "0, 1 or 2."
        )
    if not num_views and not has_clean:
        raise ConfigError(
            "num_views is 0 and has_clean is False, which leaves no stream: give at least one of the two."
        )
    if arrangement not in ("shared", "stacked"):
        raise ConfigError(f"arrangement is {arrangement!r}, but views are 'shared' or 'stacked': give one of the two.")
    length = grid.positions.shape[-1]
    if not num_views:
        arrangement = "shared"  # nothing to stack
    in_sequence = num_views if arrangement == "shared" else 1
    copies = num_views // in_sequence if num_views else 1
    order = [*range(1, in_sequence + 1), *([CLEAN] if has_clean else [])]

    def lay(ids: Tensor) -> Tensor:
        laid = torch.cat([ids] * len(order), dim=-1)
        return laid if laid.ndim == 1 else laid.repeat(copies, 1)

    streams = torch.tensor(order, device=grid.positions.device)
    ids = {
        "stream": streams.repeat_interleave(length),
        "block": lay(grid.blocks),
        "position": lay(grid.positions),
    }
    if documents is not None:
        ids["document"] = lay(documents)
    return BlockDiffusionLayout(
        grid=grid,
        documents=documents,
        num_views=num_views,
        arrangement=arrangement,
        has_clean=has_clean,
        tokens=Tokens(**ids),
    )
