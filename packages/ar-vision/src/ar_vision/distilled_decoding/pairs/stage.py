"""The stage that makes pairs: no data, a teacher, chunks of labels, seeds and codes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from ar_core.config import expand_path, to_dict
from ar_core.corruption import SampleRng
from ar_core.training import Chunk, StageConfig, StageJob
from ar_core.training.device import choose_device

from ar_vision import __version__
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_codebook, require_pair
from ar_vision.data.codes.layout import pack_codes
from ar_vision.tokenizers.codebook_tokenizer import CodebookTokenizer

from ..noise import RNG
from ..teacher import Teacher, open_teacher
from .config import NoiseCodePairsConfig
from .draw import draw_pairs, label_and_seed
from .texts import PairTexts, features_of_texts, list_of, texts_entry

__all__ = ["NoiseCodePairsRun", "build", "pairs_identity", "teacher_of"]


@dataclass(frozen=True)
class NoiseCodePairsRun:
    """A whole stage, section by section, as a YAML file holds it."""

    teacher: str
    """Checkpoint folder of the teacher: a VAR or a LlamaGen; `~` and `$NAME` are expanded."""
    tokenizer: str
    """Checkpoint folder of its tokenizer."""
    stage: StageConfig
    """Where the pairs go, and which share of them."""
    method: NoiseCodePairsConfig = field(default_factory=NoiseCodePairsConfig)
    """How many, and how the teacher is drawn from."""
    texts: PairTexts | None = None
    """What a teacher of texts is asked for; a pair's label is then the number of its text."""
    text_encoder: str | None = None
    """Folder, or hub name, of the T5 whose features such a teacher takes; null where it takes hashed words."""


def build(run: NoiseCodePairsRun) -> StageJob:
    """Load the teacher.

    Raises:
        CheckpointError: it cannot be loaded, is of another kind, or its tokenizer is another.
        ConfigError: a setting of its decoder is unknown or out of range; texts are missing, or given to a teacher of classes.
        DataError: there are no such texts.
    """
    method, texts = run.method, None if run.texts is None else list_of(run.texts)
    teacher, prints = teacher_of(
        run.teacher, run.tokenizer, method.decoding, run.stage.device, texts=texts, text_encoder=run.text_encoder
    )
    rng = SampleRng(method.seed)

    def make(first: int, items: Sequence[int]) -> Chunk:
        drawn = [label_and_seed(rng, number, teacher.conditions) for number in items]
        labels, seeds = [list(one) for one in zip(*drawn, strict=True)]
        codes, counts = [], Counter[str]()
        for start in range(0, len(items), method.batch_size):
            part = slice(start, start + method.batch_size)
            checked = 0 if start else method.checked
            found, counted = draw_pairs(teacher, labels[part], seeds[part], method.solver, checked=checked)
            codes.append(pack_codes([found], teacher.tokenizer.vocab_size))
            counts += counted
        tensors = {
            "label": torch.tensor(labels, dtype=torch.int16 if teacher.conditions <= 2**15 else torch.int32),
            "seed": torch.tensor(seeds, dtype=torch.int64),
            "codes": torch.cat(codes),
        }
        return Chunk(tensors, {"pairs": len(items), **counts})

    return StageJob(
        items=range(method.count),
        make=make,
        total=method.count,
        identity=pairs_identity(teacher, prints, choose_device(run.stage.device).type)
        | ({} if texts is None else texts_entry(texts, run.text_encoder)),
    )


def teacher_of(
    generator: str,
    tokenizer: str,
    decoding: Mapping[str, Any],
    device: str,
    *,
    texts: Sequence[str] | None = None,
    text_encoder: str | None = None,
) -> tuple[Teacher, dict[str, str]]:
    """Load a teacher and its tokenizer in float32.

    Args:
        generator: its folder.
        tokenizer: folder of its tokenizer.
        decoding: settings of its decoder.
        device: as in `ar_core.training.choose_device`.
        texts: that conditions number, for a teacher of texts.
        text_encoder: the T5 of their features, where it needs one.

    Returns:
        The teacher on the device, and the fingerprints of both.

    Raises:
        CheckpointError, ConfigError: as :func:`build` says.
    """
    loaded = load_checkpoint(expand_path(generator), "generator", dtype=torch.float32)
    coder = load_checkpoint(expand_path(tokenizer), "tokenizer", dtype=torch.float32)
    require_codebook(coder)
    require_pair(loaded, coder)
    prints = {"teacher": fingerprint(loaded.model), "tokenizer": fingerprint(coder.model)}
    features = features_of_texts(loaded.model, texts, text_encoder, "the teacher")
    where = choose_device(device)
    for one in (loaded.model, coder.model):
        one.requires_grad_(False).to(where)
    return open_teacher(loaded, cast(CodebookTokenizer, coder.model), decoding, features), prints


def pairs_identity(teacher: Teacher, prints: Mapping[str, str], device: str) -> dict[str, Any]:
    """Return the header of pairs: whatever decides them beside `method`, which every header has.

    Args:
        teacher: with its settings.
        prints: fingerprints of teacher and tokenizer.
        device: kind of device, since each rounds in its own way.
    """
    return {
        **prints,
        "kind": str(teacher.model.kind),
        "schedule": [list(size) for size in teacher.schedule.sizes],
        "units": len(teacher.units.lengths),
        "conditions": teacher.conditions,
        "vocab_size": teacher.tokenizer.vocab_size,
        "code_dim": teacher.tokenizer.code_dim,
        "decoding": to_dict(teacher.options),
        "rng": RNG,
        "device": device,
        "made_by": f"ar-vision {__version__}",
    }
