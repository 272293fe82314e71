"""GGUF files, turned into Hugging Face layout once and kept in the user's cache folder."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from ar_core.errors import CheckpointError
from ar_core.hf.quiet import quiet
from ar_core.io import atomic_directory, lock_file

__all__ = ["cache_folder", "converted_gguf"]

_LAYOUT = 1
"""Counts changes of what is written, so that folders of an older version are not taken for new ones."""


def cache_folder() -> Path:
    """Where converted files are kept: `$AR_CACHE_DIR`, else `ar-core` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if given := os.environ.get("AR_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ar-core"


@contextmanager
def converted_gguf(path: Path, source: str) -> Iterator[tuple[Path, str]]:
    """Yield the file as a folder in Hugging Face layout, weights unpacked to float32, and its sha256.

    The first call unpacks (tens of seconds for 100 MB on a small CPU) and keeps the result under `cache_folder()`, named by
    the file's sha256; later calls find it there. If nothing can be written there, a warning says so, and the folder lives
    until the block ends.

    Raises:
        CheckpointError: the file is missing, truncated or no GGUF file, or a package to read it is not installed.
    """
    digest = _sha256(path, source)
    kept = cache_folder() / "gguf" / f"{digest}-{_LAYOUT}"
    with TemporaryDirectory(prefix="ar-core-gguf-") as scratch:
        where = kept
        try:
            if not _complete(kept):
                kept.parent.mkdir(parents=True, exist_ok=True)
                with _one_process(kept.parent / f"{kept.name}.lock"):
                    if not _complete(kept):
                        with atomic_directory(kept) as folder:
                            _convert(path, folder, source)
        except (OSError, CheckpointError) as error:
            if isinstance(error, CheckpointError) and not isinstance(error.__cause__, OSError):
                raise
            warnings.warn(
                f"{kept.parent} cannot be written, so that the conversion of {path.name} is not kept; set AR_CACHE_DIR to a "
                f"folder that can.",
                stacklevel=3,
            )
            where = Path(scratch) / "model"
            _convert(path, where, source)
        yield where, digest


def _complete(folder: Path) -> bool:
    return (folder / "config.json").is_file()


@contextmanager
def _one_process(lock: Path) -> Iterator[None]:
    """Let processes convert one after the other, so that the second finds what the first wrote."""
    with lock.open("w") as file:
        # Where there is no such lock, both convert, and the later one's folder stays.
        lock_file(file, wait=True)
        yield


def _convert(path: Path, folder: Path, source: str) -> None:
    try:
        with quiet():
            found: Any = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except ImportError as error:
        raise CheckpointError(
            f"The GGUF file {source!r} cannot be read without the packages gguf and accelerate; install both."
        ) from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"The GGUF file {source!r} cannot be read ({reason[:200].rstrip('.')}); it is incomplete or of an architecture "
            f"that transformers cannot unpack: download it again, or give a folder in Hugging Face layout."
        ) from error
    model, report = found
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"The GGUF file {source!r} lacks {', '.join(missing)}; download it again.")
    # The weights are plain tensors now; the note of their former packing would stop save_pretrained.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer, model.is_quantized = None, False
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _sha256(path: Path, source: str) -> str:
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise CheckpointError(f"{source!r} is no GGUF file (it does not begin with GGUF); download it again.")
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"The GGUF file {source!r} cannot be read ({error.strerror}); check the path.") from error
