"""What a run will take, before it takes it: memory, operations, time."""

from .hardware import Hardware, named_hardware, present_hardware
from .plan import RunPlan, plan_run
from .samples import StepSamples, step_samples
from .timetable import Timetable, timetable

__all__ = [
    "Hardware",
    "RunPlan",
    "StepSamples",
    "Timetable",
    "named_hardware",
    "plan_run",
    "present_hardware",
    "step_samples",
    "timetable",
]
