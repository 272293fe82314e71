"""The texts that pairs of a teacher of texts are of: a list, which the header of the pairs holds and conditions number.

Source: ours.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ar_core.config import expand_path
from ar_core.errors import ConfigError, DataError
from torch import Tensor, nn

from ...data.codes.config import CodeDataConfig
from ...data.codes.source import split_of
from ...data.codes.store import open_codes
from ...text.encoder import build_text_encoder, encoded_alone

__all__ = ["PairTexts", "features_of_texts", "list_of", "texts_entry", "texts_in"]


@dataclass(frozen=True)
class PairTexts:
    """Where the list comes from: one of the two.

    Raises:
        ConfigError: none or both are given.
    """

    file: str | None = None
    """UTF-8 text, a caption a line; empty lines do not count."""
    captions: CodeDataConfig | None = None
    """Captions of stored codes (recipe `image_codes`): of the pictures that are trained on, where some are held out."""

    def __post_init__(self) -> None:
        if (self.file is None) == (self.captions is None):
            given = "neither" if self.file is None else "both"
            raise ConfigError(f"of texts.file and texts.captions, {given} was given; give exactly one of the two")


def list_of(config: PairTexts) -> tuple[str, ...]:
    """Return the list, each text once, in the order in which they are first met.

    Raises:
        DataError: there is no such file, there are no codes or no captions, or the list is empty.
    """
    if config.captions is not None:
        stored = open_codes(expand_path(config.captions.path))
        if not stored.captioned:
            raise DataError(f"the codes in {config.captions.path!r} have no captions: encode pictures that have some")
        found = [text for number in split_of(stored, config.captions, "train") for text in stored.captions(int(number))]
    else:
        path = expand_path(str(config.file))
        try:
            found = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is no text that can be read ({error}): give a file of a caption a line") from error
    texts = tuple(dict.fromkeys(text.strip() for text in found if text.strip()))
    if not texts:
        raise DataError(f"{config.file or config.captions!r} holds not a single text: give at least one")
    return texts


def texts_entry(texts: Sequence[str], encoder: str | None) -> dict[str, Any]:
    """Return what the header says of texts.

    Args:
        texts: the list.
        encoder: the T5 that their features are of, as it was named; None for hashed words.
    """
    return {"text_fingerprint": _fingerprint(texts), "text_encoder": encoder, "texts": list(texts)}


def texts_in(header: Mapping[str, Any], place: str) -> tuple[str, ...] | None:
    """Return the list that a header holds; None where pairs are of classes.

    Raises:
        DataError: the list is not the one that its fingerprint is of.
    """
    if header.get("texts") is None:
        return None
    listed, known = header["texts"], header.get("text_fingerprint")
    texts = tuple(listed) if isinstance(listed, list) and all(isinstance(text, str) for text in listed) else ()
    if _fingerprint(texts) != known:
        raise DataError(
            f"the texts of {place!r} are not those of its fingerprint {known}: the header was changed, make the "
            "pairs anew"
        )
    return texts


def features_of_texts(
    model: nn.Module, texts: Sequence[str] | None, encoder: str | None, who: str
) -> list[Tensor] | None:
    """Return the features of each text, float32 [m, width] on the CPU, or None for a model of classes.

    Args:
        model: a generator or a student.
        texts: the list; None where there is none.
        encoder: the T5, where the model needs one.
        who: what messages call the model.

    Raises:
        ConfigError: texts or an encoder are missing, or given to a model that takes none.
    """
    config: Any = model.config
    of_texts = getattr(config, "condition", "class") == "text"
    if not of_texts and (texts is not None or encoder is not None):
        raise ConfigError(f"texts, or an encoder of texts, were given and {who} is of classes: leave them out")
    if not of_texts:
        return None
    if texts is None:
        raise ConfigError(f"{who} is of texts and none were given: give texts.file, or texts.captions")
    return encoded_alone(build_text_encoder(config.texts, encoder), texts)


def _fingerprint(texts: Sequence[str]) -> str:
    return sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]
