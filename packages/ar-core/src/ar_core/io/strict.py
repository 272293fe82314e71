"""Loading weights with nothing left over on either side."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import CheckpointError

__all__ = ["key_ranges", "load_strict", "require_fit"]


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str = "the checkpoint",
    layout: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] | None = None,
) -> None:
    """Copy ``tensors`` into a module's parameters and persistent buffers; all of them fit, or none is copied.

    Values are converted to the dtype and device of the module, but integers (such as quantised weights) are not taken for
    floating-point weights. Of parameters that the module ties, the checkpoint may
    hold one name, some or all; where it holds several they must be equal.

    Args:
        module: The module.
        tensors: Values by the names of ``module.state_dict()``.
        source: What the error calls the origin of the tensors.
        layout: Turns the module's tensors by name into those of another layout; they must share memory with what they come
            from, as renamed tensors and their ``chunk`` do. The tensors and all errors then go by that layout's names.

    Raises:
        CheckpointError: Names every missing, unexpected and misshapen key, keys that hold integers for floating-point weights,
            and tied keys with different values.
    """
    targets = require_fit(module, tensors, source=source, layout=layout)
    with torch.no_grad():
        for name, value in tensors.items():
            targets[name].copy_(value)


def require_fit(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str = "the checkpoint",
    layout: Callable[[dict[str, Tensor]], Mapping[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Check what :func:`load_strict` checks, also of a module on the device ``meta``, for which no memory is taken yet.

    Returns:
        The module's tensors by the names of the layout.

    Raises:
        CheckpointError: as :func:`load_strict`.
    """
    targets = {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    if layout is not None:
        with torch.no_grad():
            targets = dict(layout(targets))
    group: dict[int, list[str]] = defaultdict(list)
    for name, value in targets.items():
        group[id(value)].append(name)
    missing, misshapen, mistyped, untied = [], [], [], []
    for names in group.values():
        held = [name for name in names if name in tensors]
        if not held:
            missing.append(names[0])
        for name in held:
            if tensors[name].shape != targets[name].shape:
                misshapen.append(f"{name} {list(tensors[name].shape)} instead of {list(targets[name].shape)}")
            elif targets[name].is_floating_point() and not tensors[name].is_floating_point():
                mistyped.append(f"{name} ({str(tensors[name].dtype).removeprefix('torch.')})")
            elif name != held[0] and not torch.equal(tensors[name], tensors[held[0]]):
                untied.append(f"{held[0]} and {name}")
    unexpected = [name for name in tensors if name not in targets]
    faults = [
        f"it lacks {key_ranges(missing)}" if missing else "",
        f"it has {key_ranges(unexpected)}, which the model does not know" if unexpected else "",
        f"its shapes differ: {', '.join(misshapen)}" if misshapen else "",
        f"it has integers where the model has numbers with a fraction: {', '.join(mistyped)}" if mistyped else "",
        f"it has different values for tied weights: {', '.join(untied)}" if untied else "",
    ]
    if any(faults):
        raise CheckpointError(
            f"{source} does not fit the {type(module).__name__}: {'; '.join(filter(None, faults))}; "
            "load it with the configuration it was saved with"
        )
    return targets


def key_ranges(keys: Iterable[str]) -> str:
    """Name every key, writing keys that differ only in their first number as one: ``layers.{0-3,5}.weight``."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    plain = []
    for key in keys:
        match = re.search(r"(?<![^.])\d+(?![^.])", key)
        if match:
            numbers[key[: match.start()], key[match.end() :]].append(int(match.group()))
        else:
            plain.append(key)
    return ", ".join(plain + [f"{before}{_runs(found)}{after}" for (before, after), found in numbers.items()])


def _runs(found: list[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(found):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return text if len(found) == 1 else "{" + text + "}"
