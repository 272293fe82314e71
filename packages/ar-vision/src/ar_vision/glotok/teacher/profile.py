"""A teacher as what training needs of it: the logarithm of its histogram, forty numbers, and where it comes from.

Source: GloTok (arXiv 2511.14184), equations 4 and 5, of a teacher.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path, from_dict, to_dict
from ar_core.errors import ArError, ConfigError, DataError
from ar_core.io import atomic_file
from ar_core.json_text import read_json
from ar_core.training import Column, finished_chunks, read_chunks
from torch import Tensor

from ...checkpoint import fingerprint, load_checkpoint, require_finite, require_pairs
from ...digest import digest_of
from ..histogram import log_histogram, log_profile
from ..histogram_config import HistogramConfig

__all__ = ["Profile", "open_profile", "save_profile"]


@dataclass(frozen=True)
class Profile:
    """The histogram of a teacher.

    Attributes:
        log_profile: log P_t, one a bin; finite, also where P_t is too small for a number.
        histogram: the bins.
        source: what it was made of, JSON-able.
    """

    log_profile: tuple[float, ...]
    histogram: HistogramConfig
    source: Mapping[str, Any]

    @property
    def logarithms(self) -> Tensor:
        """log P_t, float64 `[N]`."""
        return torch.tensor(self.log_profile, dtype=torch.float64)

    def facts(self) -> dict[str, Any]:
        """All of it, JSON-able: what a checkpoint says of its teacher, and what a profile's file holds."""
        return {
            "log_profile": list(self.log_profile),
            "histogram": to_dict(self.histogram),
            "source": dict(self.source),
        }


def open_profile(teacher: str, config: HistogramConfig) -> Profile:
    """Read the histogram of a teacher, or make it of the teacher's vectors, all pairs of them.

    Args:
        teacher: a profile's file, a folder of the recipe `glotok_teacher`, or of a checkpoint with a semantic codebook; ``~`` and
            ``$NAME`` are expanded.
        config: the bins that are wanted.

    Raises:
        DataError: it is none of these, or not finished.
        CheckpointError: the checkpoint is of another kind, or damaged.
        ConfigError: a profile's file has other bins.
    """
    path = expand_path(teacher)
    if path.suffix == ".json":
        return _read(path, config)
    vectors, source = _vectors(path)
    found = log_profile(log_histogram(vectors.double(), config))
    return Profile(tuple(found.tolist()), config, source)


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile's file, whole or not at all.

    Raises:
        CheckpointError: the operating system refuses.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(profile.facts(), indent=1) + "\n", encoding="utf-8")


def _vectors(path: Path) -> tuple[Tensor, dict[str, Any]]:
    """The teacher's vectors `[n, d]`, and what they are."""
    if (path / "config.json").is_file():
        loaded = load_checkpoint(path, "tokenizer")
        require_pairs(loaded)
        model: Any = loaded.model
        weight = model.named_codebooks["semantic"].weight.detach()
        return weight, {"kind": "semantic codebook", "tokenizer": fingerprint(model), "vectors": len(weight)}
    identity, paths = finished_chunks(path)
    if identity.get("recipe") != "glotok_teacher":
        raise DataError(
            f"{str(path)!r} holds the data of the recipe {identity.get('recipe')!r}: give a folder that glotok_teacher filled, a "
            "profile (.json) or a dual_vq"
        )
    chunks = read_chunks(paths, {"centres": Column(("rows", "features"), "fractions")})
    centres = torch.cat([chunk["centres"] for chunk in chunks])
    require_finite({"centres": centres}, str(path))
    facts = {name: identity.get(name) for name in ("features", "method", "data")}
    return centres, {**facts, "vectors": len(centres), "digest": digest_of({"centres": centres})}


def _read(path: Path, config: HistogramConfig) -> Profile:
    try:
        record = read_json(path)
        numbers = tuple(float(value) for value in record["log_profile"])
        bins = from_dict(HistogramConfig, record["histogram"])
        source = dict(record["source"])
    except (OSError, ValueError, LookupError, OverflowError, TypeError, ArError) as error:
        raise DataError(
            f"{str(path)!r} is no profile of a teacher ({error}): write it with `ar-decode teacher-profile`"
        ) from error
    if len(numbers) != bins.bins or not all(math.isfinite(value) for value in numbers):
        raise DataError(
            f"{str(path)!r} has {len(numbers)} numbers for {bins.bins} bins, or some that are none: write it anew"
        )
    if bins != config:
        raise ConfigError(
            f"{str(path)!r} was made with {bins} and method.histogram is {config}: set it to that, or write the profile anew"
        )
    return Profile(numbers, bins, source)
