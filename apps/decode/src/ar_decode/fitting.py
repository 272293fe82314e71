"""Can the model continue these prompts? Asked of all of them before the first is decoded."""

from collections.abc import Sequence

from ar_core.decoding import check_prompts

from .methods import Method
from .prompts import Prompt
from .session import Session

__all__ = ["check_fit", "longest_prompt"]


def check_fit(
    session: Session,
    method: Method,
    max_new_tokens: int,
    prompts: Sequence[Prompt],
    ids: Sequence[Sequence[int]],
) -> None:
    """Refuse the first prompt that cannot be decoded.

    Args:
        session: the model.
        method: how; a block method also needs room for the rest of the last block.
        max_new_tokens: N.
        prompts: for their names.
        ids: of each prompt.

    Raises:
        DataError: a prompt has no tokens, has ids that the model lacks, or does not fit the context.
    """
    names = [prompt.label for prompt in prompts]
    check_prompts(session.backbone, ids, max_new_tokens, slots=method.positions_needed, names=names)


def longest_prompt(session: Session, methods: Sequence[Method], max_new_tokens: int) -> int:
    """Most tokens of a prompt that the model can continue by each of the methods; 0 if there is no room for any."""
    context = session.backbone.context_length
    lengths = range(context - max_new_tokens, 0, -1)
    return next((n for n in lengths if all(m.positions_needed(n, max_new_tokens) <= context for m in methods)), 0)
