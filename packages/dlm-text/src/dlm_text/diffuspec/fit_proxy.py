"""The command that fits an n-gram proxy on a corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ar_core.command_result import CommandResult
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.data.records import FileRecords, Record
from ar_core.errors import ConfigError, DataError
from ar_core.hf import load_tokenizer
from ar_core.hf.source import locate

from .kneser_ney import fit_kneser_ney

__all__ = ["FitProxyConfig", "fit_proxy"]


@dataclass(frozen=True, kw_only=True)
class FitProxyConfig:
    """What is counted, and where the model goes.

    Raises:
        ConfigError: a value is out of range, or neither tokenizer nor vocabulary size is given.
    """

    corpus: Path
    """JSON Lines, .gz or not: records with `ids` (a list of token ids) or with texts. Never test data."""

    output: Path
    """The .safetensors file to write; one that is there is replaced."""

    model: str | None = None
    """The verifier, whose tokenizer and vocabulary size are used: a folder or hub id."""

    vocab_size: int | None = None
    """V; None: that of `model`. Records of `ids` need nothing else."""

    fields: tuple[str, ...] = ("text",)
    """Names of the fields of a record that are joined, with a line break, to its text."""

    order: int = 3
    """n of the longest n-grams. Paper: 3."""

    append_eos: bool = True
    """End each text with the tokenizer's end-of-sequence token, so that the proxy knows how likely a stop is. Records of `ids`
    are taken as they are."""

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 6:
            raise ConfigError(f"order is {self.order}, but must lie between 1 and 6: give 3 for trigrams")
        if self.model is None and self.vocab_size is None:
            raise ConfigError(
                "neither model nor vocab_size was given: give the verifier, or its vocabulary size for ids"
            )
        if self.vocab_size is not None and self.vocab_size < 1:
            raise ConfigError(f"vocab_size is {self.vocab_size}, but must be at least 1: give the verifier's")
        if self.output.suffix != ".safetensors":
            raise ConfigError(f"output is {str(self.output)!r}, but must end in .safetensors: give another name")


def fit_proxy(config: FitProxyConfig) -> CommandResult:
    """Fit, write, and say what was done.

    Raises:
        DataError: the corpus is absent, damaged or empty; says where.
        CheckpointError: the tokenizer or the config of the model cannot be read, or the file cannot be written.
    """
    records = FileRecords(expand_path(str(config.corpus)))
    tokenizer = vocab_size = None
    if config.model is not None:
        from transformers import AutoConfig

        where = locate(config.model)
        tokenizer = load_tokenizer(where)
        if config.vocab_size is None:
            vocab_size = AutoConfig.from_pretrained(where, trust_remote_code=False).get_text_config().vocab_size
    vocab_size = config.vocab_size or vocab_size
    assert vocab_size is not None
    counted = [0, 0]

    def documents() -> Iterator[list[int]]:
        for record in track(records, "counting", None):
            ids = _ids(record, config, tokenizer)
            counted[0] += 1
            counted[1] += len(ids)
            yield ids

    model = fit_kneser_ney(documents(), vocab_size, order=config.order)
    output = expand_path(str(config.output))
    model.save(output)
    return CommandResult(
        f"{counted[1]} tokens of {counted[0]} records, order {config.order}, written to {config.output}",
        {
            "output": output,
            "tokens": counted[1],
            "records": counted[0],
            "order": config.order,
            "vocab_size": vocab_size,
        },
    )


def _ids(record: Record, config: FitProxyConfig, tokenizer: object) -> list[int]:
    if "ids" in record.data:
        ids = record.data["ids"]
        if not isinstance(ids, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
            raise DataError(f"{record.place}: the field 'ids' is no list of integers; give token ids")
        return ids
    missing = [name for name in config.fields if not isinstance(record.data.get(name), str)]
    if missing:
        have = ", ".join(map(str, record.data)) or "none"
        raise DataError(
            f"{record.place}: there is neither 'ids' nor a text {missing[0]!r} (there are: {have}); name texts in fields"
        )
    if tokenizer is None:
        raise DataError(f"{record.place}: this is text, and no tokenizer was given; give model, or records of ids")
    text = "\n".join(record.data[name] for name in config.fields)
    ids = list(tokenizer(text, verbose=False)["input_ids"])  # type: ignore[operator]  # a tokenizer, which is callable
    end = getattr(tokenizer, "eos_token_id", None)
    return [*ids, end] if config.append_eos and end is not None and ids[-1:] != [end] else ids
