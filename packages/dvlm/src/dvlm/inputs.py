"""From ids with one place an image to the sequence that a model reads: expansion, alignment, positions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from ar_core.data import IGNORED
from ar_core.errors import DataError
from torch import Tensor

from .chat.encode import IMAGE
from .images.inputs import ImageLayout

__all__ = ["TEXT", "Expanded", "align_to_blocks", "expand"]

TEXT = -1
"""Image row of a token that is text."""


@dataclass(frozen=True)
class Expanded:
    """One sequence of L positions, images expanded; int64 throughout."""

    ids: Tensor
    """[L], :data:`dvlm.chat.encode.IMAGE` where an image stands."""
    labels: Tensor
    """[L], -100 where not supervised; images never are."""
    image_rows: Tensor
    """[L], row among the features of all of the sequence's images, or -1 for text."""
    positions: Tensor
    """[L], the index; or [3, L], time, row and column positions of Qwen-VL."""

    def __len__(self) -> int:
        return len(self.ids)

    def up_to_answer(self) -> "Expanded":
        """Return the sequence up to its last supervised token; as it is if there is none."""
        supervised = (self.labels != IGNORED).nonzero()[:, 0]
        if not len(supervised):
            return self
        kept = slice(int(supervised[-1]) + 1)
        return Expanded(self.ids[kept], self.labels[kept], self.image_rows[kept], self.positions[..., kept])

    def covered(self, hidden: Tensor, mask_id: int) -> "Expanded":
        """Return the sequence with M in place of some tokens; labels stay.

        A decoder that has not come so far knows neither which of them are images nor how far a grid reaches: each is text, at the
        position after that of the token before it.

        Args:
            hidden: [L] bool, not the first token.
            mask_id: id of M.
        """
        place = torch.arange(len(self))
        last = place.masked_fill(hidden, 0).cummax(0).values
        return replace(
            self,
            ids=self.ids.masked_fill(hidden, mask_id),
            image_rows=self.image_rows.masked_fill(hidden, TEXT),
            positions=self.positions[..., last] + place - last,
        )


def expand(
    ids: Sequence[int],
    labels: Sequence[int] | None,
    layouts: Sequence[ImageLayout],
    *,
    mrope: bool = False,
    max_length: int | None = None,
) -> Expanded:
    """Put as many positions in the place of each image as it has tokens.

    With `mrope`, a text token's three positions are equal and count on; an image of R x C tokens that begins at p has time p, row
    p + r, column p + c, and the text behind it begins at p + max(R, C). Images without a grid (any-resolution) count as text.

    Args:
        ids: with :data:`dvlm.chat.encode.IMAGE` once for each image.
        labels: as long as `ids`; None: nothing is supervised.
        layouts: of the images, as many as there are places.
        mrope: three-part positions.
        max_length: longer sequences are cut at the end.

    Raises:
        DataError: there are more or fewer images than places for them.
    """
    if (marks := sum(token == IMAGE for token in ids)) != len(layouts):
        raise DataError(
            f"the ids hold {marks} places for images and {len(layouts)} images were given; give as many of one as of the other"
        )
    tokens: list[int] = []
    targets: list[int] = []
    rows: list[int] = []
    places: list[Tensor] = []
    count = position = 0
    images = iter(layouts)
    for token, label in zip(ids, [IGNORED] * len(ids) if labels is None else labels, strict=True):
        if token != IMAGE:
            tokens.append(token)
            targets.append(label)
            rows.append(TEXT)
            if mrope:
                places.append(torch.full((3, 1), position))
            position += 1
            continue
        layout = next(images)
        tokens += [IMAGE] * layout.tokens
        targets += [IGNORED] * layout.tokens
        rows += range(count, count + layout.tokens)
        count += layout.tokens
        if mrope:
            places.append(position + _grid(layout))
        position += max(layout.rows, layout.columns) or layout.tokens
    kept = slice(0, max_length)
    positions = torch.cat(places, dim=1) if mrope else torch.arange(len(tokens))
    return Expanded(
        torch.tensor(tokens)[kept], torch.tensor(targets)[kept], torch.tensor(rows)[kept], positions[..., kept]
    )


def _grid(layout: ImageLayout) -> Tensor:
    """Time, row and column of an image's tokens, [3, tokens], from 0; one line where tokens are no grid."""
    if not layout.rows:
        return torch.arange(layout.tokens).expand(3, -1)
    cells = torch.cartesian_prod(torch.arange(layout.rows), torch.arange(layout.columns)).T
    return torch.cat([torch.zeros(1, layout.tokens, dtype=torch.long), cells])


def align_to_blocks(expanded: Expanded, block_size: int, eos_id: int) -> Expanded:
    """Fill the last block with end tokens that are supervised (published: block-aligned EOS)."""
    missing = -len(expanded) % block_size
    if not missing:
        return expanded
    ends = torch.full((missing,), eos_id)
    following = expanded.positions.max(dim=-1, keepdim=True).values + 1 + torch.arange(missing)
    if expanded.positions.ndim == 2:
        # Text counts on from the largest of the three parts.
        following = following.max(dim=0).values.expand(3, -1)
    return replace(
        expanded,
        ids=torch.cat([expanded.ids, ends]),
        labels=torch.cat([expanded.labels, ends]),
        image_rows=torch.cat([expanded.image_rows, torch.full((missing,), TEXT)]),
        positions=torch.cat([expanded.positions, following], dim=-1),
    )
