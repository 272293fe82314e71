"""What came of reading an input: accepted, refused in one sentence, or a fault."""

import resource
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ar_core.errors import ArError

from .guard import Guard
from .loader import Loader

__all__ = ["FAULTS", "LIMIT_S", "SPARE_BYTES", "Kind", "Outcome", "judged"]

Kind: TypeAlias = Literal["accepted", "refused", "raised", "wording", "memory", "executed", "hung", "crashed"]
FAULTS: tuple[Kind, ...] = ("raised", "wording", "memory", "executed", "hung", "crashed")
"""Kinds that are faults: an error of another type; one of no single, printable sentence; memory beyond the limit; code, processes, or
files beside the input; more than LIMIT_S of CPU time; the end of the process."""

LIMIT_S = 5.0
"""CPU seconds that an input may take."""
SPARE_BYTES = 1 << 30
"""Bytes that an input may take beside four times its own size."""
LONGEST = 4000
"""Characters of a message that is still one sentence."""
PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Outcome:
    """What came of an input.

    Attributes:
        kind: see FAULTS.
        detail: of a fault: what was raised and where, or what was done.
        seconds: of CPU time.
    """

    kind: Kind
    detail: str = ""
    seconds: float = 0.0


def judged(loader: Loader, folder: Path, size: int, guard: Guard) -> Outcome:
    """Read an input under the limits.

    Memory is limited by address space: what a loader asks for beyond the limit is not given, and counts as a fault even where it
    makes a typed error of the refusal.

    Args:
        loader: reads.
        folder: holds the input.
        size: of the input in bytes.
        guard: watches.
    """
    held = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    began = time.process_time()
    error: BaseException | None = None
    resource.setrlimit(resource.RLIMIT_AS, (held + 4 * size + SPARE_BYTES, hard))
    try:
        with guard.watching():
            loader.read(folder)
    except KeyboardInterrupt:
        raise
    except BaseException as found:
        error = found
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    seconds = time.process_time() - began
    kind, detail = _verdict(error, guard, seconds)
    return Outcome(kind, detail.replace(str(folder), "DIR"), seconds)


def _verdict(error: BaseException | None, guard: Guard, seconds: float) -> tuple[Kind, str]:
    if guard.found:
        return "executed", "; ".join(sorted(set(guard.found)))
    if error is not None and (where := _out_of_memory(error)) is not None:
        return "memory", _place(where)
    if seconds > LIMIT_S:
        return "hung", f"{seconds:.1f} s" if error is None else f"{seconds:.1f} s, {_place(error)}"
    if error is None:
        return "accepted", ""
    if not isinstance(error, ArError):
        return "raised", _place(error)
    text = str(error)
    if not text.isprintable() or not text.strip() or len(text) > LONGEST:
        return "wording", f"{len(text)} characters, {text[:300]!r}"
    return "refused", ""


def _out_of_memory(error: BaseException) -> BaseException | None:
    """The refusal of memory behind an error, however it was caught."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if (
            isinstance(seen, MemoryError)
            or "can't allocate memory" in text
            or "Cannot allocate memory" in text
            or "bad_alloc" in text
        ):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/src/" in frame.filename and "site-packages" not in frame.filename]
    last = (ours or frames)[-1] if frames else None
    where = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno} " if last else ""
    return f"{where}{type(error).__name__}: {str(error)[:200]}"
