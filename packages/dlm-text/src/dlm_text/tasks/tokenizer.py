"""The tokenizer of the tasks, built in code: one token per word, digit, sign and space; no merges, no download."""

import re
import string
from typing import TYPE_CHECKING

from ar_core.errors import DataError

from .extraction import CITIES, FIELDS
from .word_problems import NAMES, NOUNS, VERBS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

__all__ = ["SPECIALS", "SYMBOLS", "build_tokenizer", "encode_answer", "encode_prompt"]

SPECIALS = ("<pad>", "<bos>", "<eos>", "<mask>", "<unk>")
"""Special tokens, ids 0 to 4 in this order."""

SYMBOLS = (
    *'\n +-=:;,.?{}"',
    *string.digits,
    *("c", "b", "has", "she", "he", "how", "many"),
    *(*VERBS["+"], *VERBS["-"], *NAMES, *NOUNS, *CITIES, *FIELDS),
)
"""Everything a prompt or an answer is made of; the ids follow those of ``SPECIALS``."""

_PIECE = r"[a-z]+|[\s\S]"

_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{{ '\n' }}{% endif %}{% endfor %}"
)


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """The tokenizer: ``len(SPECIALS) + len(CHARACTERS)`` = 85 ids, with a chat template.

    The template writes ``<bos>question\\nanswer<eos>``; it adds the newline that ends every prompt of the tasks.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *SYMBOLS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        mask_token="<mask>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def encode_prompt(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> list[int]:
    """Ids of a prompt, the beginning-of-sequence token first.

    Raises:
        DataError: a word or sign that the tokenizer does not have.
    """
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    if tokenizer.unk_token_id in ids:
        foreign = sorted(set(re.findall(_PIECE, prompt)) - set(SYMBOLS))
        raise DataError(
            f"the prompt has {', '.join(map(repr, foreign))}, which the task tokenizer does not know: use the words of "
            "the tasks (dlm_text.tasks.SYMBOLS), digits and signs"
        )
    return [tokenizer.bos_token_id, *ids]


def encode_answer(tokenizer: "PreTrainedTokenizerBase", answer: str) -> list[int]:
    """Ids of an answer, the end-of-sequence token last."""
    return [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
