"""Where a number was measured: versions, commit, device, date, command. Imports no torch before it is asked for a device."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe_device", "environment", "portable"]

_PACKAGES = (
    "ar-core",
    "ar-decode",
    "ar-kernels",
    "ar-vision",
    "dlm-text",
    "torch",
    "triton",
    "transformers",
    "tokenizers",
)


def environment(device: str) -> dict[str, Any]:
    """Everything that a reader needs to repeat a measurement, as JSON-able data.

    Args:
        device: torch device of the run, ``"cpu"`` or ``"cuda:0"``.

    Returns:
        ``command``, ``date`` (UTC), ``commit`` (of the checkout that the code runs from; ``None`` outside one), ``device``
        (name, threads), ``python``, ``versions``.
    """
    return {
        "command": shlex.join([*_program(), *map(portable, sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": describe_device(device),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def describe_device(device: str) -> dict[str, Any]:
    """``type`` (the torch device), ``name`` (of the hardware) and ``threads`` of a device, ``"cpu"`` or ``"cuda:0"``."""
    import torch

    return {
        "type": device,
        "name": torch.cuda.get_device_name(device) if device.startswith("cuda") else _cpu_name(),
        "threads": torch.get_num_threads(),
    }


def portable(value: Any) -> Any:
    """Plain data without the folders that only this machine has.

    Args:
        value: a text, in which every word that is an absolute path, also one behind ``=``, becomes relative to the working
            directory, or its last part where it does not lie below; or mappings and sequences of such.

    Returns:
        The same with other texts; sequences as lists.
    """
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if not isinstance(value, str):
        return value
    return " ".join("=".join(map(_portable_path, word.split("="))) for word in value.split(" "))


def _portable_path(word: str) -> str:
    path = Path(word)
    if not path.is_absolute():
        return word
    below = path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if below else f".../{path.name}"


def _program() -> list[str]:
    """How the running program was called: the script's name, or ``python -m package`` for a package's ``__main__``."""
    main = sys.modules["__main__"]
    package = getattr(main, "__package__", None)
    if Path(sys.argv[0]).name == "__main__.py" and package:
        return ["python", "-m", package]
    return [Path(sys.argv[0]).name]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
