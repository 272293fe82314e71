"""From what a run takes to how long it takes, on a device."""

from dataclasses import dataclass

from ..errors import ConfigError
from .hardware import Hardware
from .plan import RunPlan

__all__ = ["Timetable", "timetable"]


@dataclass(frozen=True)
class Timetable:
    """Arithmetic, no measurement: operations over what the device does at the stated utilisation, bytes over what it moves."""

    utilisation: float
    """Share of the device's operations a second that the step reaches."""
    product_seconds: float
    """Forward and backward passes of a step."""
    update_seconds: float
    """The optimiser's reading and writing."""
    exchange_seconds: float | None
    """Adding gradients up over devices by a ring; None where the link is not known."""
    step_seconds: float
    """Their sum: nothing is taken to overlap."""
    run_seconds: float
    """All steps, without evaluations, checkpoints and waiting for data."""
    fits: bool
    """The peak of tensors is below the memory of the device."""
    memory_share: float
    """The peak as a share of it."""


def timetable(plan: RunPlan, hardware: Hardware, *, utilisation: float = 0.4) -> Timetable:
    """Return how long a plan takes on a device.

    Args:
        plan: of :func:`plan_run`.
        hardware: each of its devices.
        utilisation: in (0, 1].

    Raises:
        ConfigError: the utilisation is out of range.
    """
    if not 0 < utilisation <= 1:
        raise ConfigError(f"utilisation is {utilisation} and must be in (0, 1], such as 0.4")
    speed = hardware.flops_per_second.get(plan.dtype, hardware.flops_per_second["float32"])
    products = plan.flops_per_step / (speed * utilisation)
    update = plan.update_bytes / hardware.bytes_per_second
    exchange: float | None = 0.0
    if plan.processes > 1:
        # A ring sends 2 (n - 1) / n of the gradient; half of the link's bytes go in each direction.
        sent = 2 * (plan.processes - 1) / plan.processes * plan.gradient_bytes
        link = hardware.link_bytes_per_second
        exchange = None if link is None else sent / (link / 2)
    step = products + update + (exchange or 0.0)
    return Timetable(
        utilisation=utilisation,
        product_seconds=products,
        update_seconds=update,
        exchange_seconds=exchange,
        step_seconds=step,
        run_seconds=step * plan.steps,
        fits=plan.peak_bytes < hardware.memory_bytes,
        memory_share=plan.peak_bytes / hardware.memory_bytes,
    )
