"""The character tokenizer of the tasks, built in code: one token per character, no merges, no download."""

import string
from typing import TYPE_CHECKING

from ar_core.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CHARACTERS", "SPECIALS", "build_tokenizer", "encode_answer", "encode_prompt"]

SPECIALS = ("<pad>", "<bos>", "<eos>", "<mask>", "<unk>")
"""Special tokens, ids 0 to 4 in this order."""

CHARACTERS = "\n " + string.digits + string.ascii_lowercase + '+-=:;,.?{}"'
"""Everything a prompt or an answer may hold; the ids follow those of ``SPECIALS``."""

_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{{ '\n' }}{% endif %}{% endfor %}"
)


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """The tokenizer: ``len(SPECIALS) + len(CHARACTERS)`` = 54 ids, with a chat template.

    The template writes ``<bos>question\\nanswer<eos>``; it adds the newline that ends every prompt of the tasks.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
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


def encode_prompt(tokenizer: "PreTrainedTokenizerFast", prompt: str) -> list[int]:
    """Ids of a prompt, the beginning-of-sequence token first.

    Raises:
        DataError: a character that the tokenizer does not have.
    """
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    if tokenizer.unk_token_id in ids:
        foreign = sorted(set(prompt) - set(CHARACTERS))
        raise DataError(
            f"the prompt has characters {foreign}, which the task tokenizer does not know: use lower-case letters, "
            'digits, spaces and + - = : ; , . ? { } "'
        )
    return [tokenizer.bos_token_id, *ids]


def encode_answer(tokenizer: "PreTrainedTokenizerFast", answer: str) -> list[int]:
    """Ids of an answer, the end-of-sequence token last."""
    return [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
